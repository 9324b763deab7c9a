"""How long a viewer counts, and how many are told apart."""

from mediaserver.delivery import audience
from mediaserver.delivery.audience import Audience
from mediaserver.ports import Wire


def test_a_viewer_of_long_segments_may_be_silent_for_three_of_them() -> None:
    subject = Audience(lambda name: 8.0)
    subject.note("show", "1.2.3.4", "agent", Wire.HLS, 100.0)
    subject.sweep(123.0)
    assert subject.counts == {"show": {Wire.HLS: 1}}
    subject.sweep(124.0)
    assert subject.counts == {}
    assert len(subject) == 0


def test_viewers_are_bounded_and_those_that_are_known_stay() -> None:
    subject = Audience(lambda name: 2.0)
    for number in range(audience.MAX_VIEWERS + 10):
        subject.note("show", str(number), "agent", Wire.DASH, 100.0)
    subject.note("show", "0", "agent", Wire.DASH, 109.0)
    subject.sweep(105.0)
    assert subject.counts == {"show": {Wire.DASH: audience.MAX_VIEWERS}}
    subject.sweep(112.0)
    assert subject.counts == {"show": {Wire.DASH: 1}}


def test_one_address_with_ever_new_agents_is_no_crowd() -> None:
    subject = Audience(lambda name: 2.0)
    for number in range(audience.MAX_OF_ADDRESS + 10):
        subject.note("show", "1.2.3.4", f"agent {number}" * 100, Wire.HLS, 100.0)
    subject.note("show", "5.6.7.8", "agent", Wire.HLS, 100.0)
    assert len(subject) == audience.MAX_OF_ADDRESS + 1
    subject.sweep(111.0)
    subject.note("show", "1.2.3.4", "a new one", Wire.HLS, 112.0)
    assert len(subject) == 1


def test_a_name_that_is_not_live_leaves_nothing() -> None:
    subject = Audience(lambda name: 0.0)
    subject.note("show", "1.2.3.4", "", Wire.HLS, 100.0)
    subject.sweep(100.0)
    assert len(subject) == 0
