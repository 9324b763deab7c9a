"""Who is one viewer and who are two, how long one counts, and how many are told apart."""

from dataclasses import replace

import pytest

from mediaserver.delivery import audience
from mediaserver.delivery.audience import Audience, Sighting
from mediaserver.events import PlayEnded, PlayStarted
from mediaserver.ports import Wire
from tests.mediaserver.delivery.conftest import Sink

HOUR = 1_900_000_000.0
NEWCOMERS = 100
ONE = Sighting("show", "show", Wire.HLS, "1.2.3.4", "agent")
TOKEN = replace(ONE, token="token-of-a-page")


def opened(pace: float = 2.0) -> tuple[Audience, Sink]:
    sink = Sink()
    return Audience(lambda name: pace, sink, NEWCOMERS, lambda: HOUR), sink


def watch(subject: Audience, *who: Sighting) -> None:
    """Each of them asks twice."""
    for at in (99.0, 100.0):
        for each in who:
            subject.note(each, at)


# -- how long, and how many ----------------------------------------------------------------------------------------------


def test_a_viewer_of_long_segments_may_be_silent_for_three_of_them() -> None:
    subject, _ = opened(pace=8.0)
    watch(subject, ONE)
    subject.sweep(123.0)
    assert subject.counts == {"show": {Wire.HLS: 1}}
    subject.sweep(124.0)
    assert subject.counts == {}
    assert len(subject) == 0


def test_viewers_are_bounded_and_those_that_are_known_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audience, "MAX_VIEWERS", 500)
    subject, _ = opened()
    for number in range(audience.MAX_VIEWERS + 10):
        watch(subject, replace(ONE, wire=Wire.DASH, address=str(number)))
    subject.note(replace(ONE, wire=Wire.DASH, address="0"), 109.0)
    subject.sweep(105.0)
    assert subject.counts == {"show": {Wire.DASH: audience.MAX_VIEWERS}}
    subject.sweep(112.0)
    assert subject.counts == {"show": {Wire.DASH: 1}}


def test_one_address_with_ever_new_agents_or_tokens_is_no_crowd() -> None:
    subject, sink = opened()
    for number in range(NEWCOMERS):
        subject.note(replace(ONE, agent=f"agent {number}" * 100), 100.0)
        subject.note(replace(ONE, token=f"token-{number}"), 100.0)
    assert len(subject) == NEWCOMERS
    subject.sweep(101.0)
    assert (subject.counts, sink.events) == ({}, [])
    watch(subject, replace(ONE, address="5.6.7.8"))
    subject.sweep(102.0)
    assert subject.counts == {"show": {Wire.HLS: 1}}
    subject.sweep(111.0)
    subject.note(replace(ONE, agent="a new one"), 112.0)
    assert len(subject) == 1


def test_many_who_watch_behind_one_address_are_a_crowd() -> None:
    subject, _ = opened()
    crowd = [replace(TOKEN, token=f"token-{number}") for number in range(2 * NEWCOMERS + 50)]
    for at in (100.0, 101.0, 102.0, 103.0):
        for who in crowd:
            subject.note(who, at)
    subject.sweep(104.0)
    assert subject.counts == {"show": {Wire.HLS: len(crowd)}}
    subject.sweep(120.0)
    assert not subject._newcomers


def test_a_name_that_is_not_live_leaves_nothing() -> None:
    subject, _ = opened(pace=0.0)
    subject.note(ONE, 100.0)
    subject.sweep(100.0)
    assert len(subject) == 0


# -- who is who ----------------------------------------------------------------------------------------------------------


def test_without_a_token_address_agent_and_protocol_tell_viewers_apart() -> None:
    subject, _ = opened()
    watch(subject, ONE, ONE, replace(ONE, address="5.6.7.8"), replace(ONE, agent="other"), replace(ONE, wire=Wire.DASH))
    subject.sweep(101.0)
    assert subject.counts == {"show": {Wire.HLS: 3, Wire.DASH: 1}}


def test_with_tokens_two_players_behind_one_address_with_one_agent_are_two() -> None:
    subject, _ = opened()
    watch(subject, TOKEN, TOKEN, replace(TOKEN, token="another-token"), ONE)
    subject.sweep(101.0)
    assert subject.counts == {"show": {Wire.HLS: 3}}


def test_a_token_is_one_viewer_whatever_else_about_it_changes() -> None:
    subject, sink = opened()
    subject.note(TOKEN, 100.0)
    subject.note(replace(TOKEN, wire=Wire.DASH), 102.0)
    subject.note(replace(TOKEN, wire=Wire.DASH, address="5.6.7.8", agent="another network, another agent"), 104.0)
    subject.sweep(105.0)
    assert subject.counts == {"show": {Wire.DASH: 1}}
    assert len(sink.events) == 1
    subject.sweep(114.0)
    assert not subject._newcomers


def test_one_token_for_two_streams_is_a_viewer_of_each() -> None:
    subject, _ = opened()
    watch(subject, TOKEN, replace(TOKEN, name="other", stream="other"))
    subject.sweep(101.0)
    assert subject.counts == {"show": {Wire.HLS: 1}, "other": {Wire.HLS: 1}}


def test_a_viewer_of_a_rendition_counts_there_and_its_sound_does_not_tell_otherwise() -> None:
    subject, _ = opened()
    for who in (ONE, TOKEN):
        for at in (99.0, 100.0):
            subject.note(replace(who, name="show@720p"), at)
            subject.note(replace(who, shared=True), at)
    subject.sweep(101.0)
    assert subject.counts == {"show@720p": {Wire.HLS: 2}}


# -- what is told --------------------------------------------------------------------------------------------------------


def test_a_session_is_told_with_its_beginning_and_its_last_playlist() -> None:
    subject, sink = opened()
    for at in (100.0, 101.0, 102.0, 107.0):
        subject.note(TOKEN, at)
    subject.sweep(116.0)
    (started,) = sink.events
    assert started == PlayStarted("show", started.session_id, HOUR - 1.0, Wire.HLS, "1.2.3.4", "agent", "token-of-a-page")
    assert "token-of-a-page" not in repr(started)
    subject.sweep(118.0)
    assert sink.events[1:] == [PlayEnded("show", started.session_id, HOUR - 11.0, "asks for nothing any more", None, 7.0)]


def test_who_looks_only_once_is_no_viewer_and_no_session() -> None:
    subject, sink = opened()
    for _ in range(3):
        subject.note(ONE, 100.0)
    subject.sweep(101.0)
    assert (subject.counts, len(subject)) == ({}, 1)
    subject.sweep(200.0)
    assert (sink.events, len(subject)) == ([], 0)


def test_who_comes_back_after_being_gone_is_another_session() -> None:
    subject, sink = opened()
    for at in (100.0, 101.0):
        subject.note(TOKEN, at)
    subject.sweep(150.0)
    for at in (160.0, 161.0):
        subject.note(TOKEN, at)
    assert [type(event) for event in sink.events] == [PlayStarted, PlayEnded, PlayStarted]
    assert len({event.session_id for event in sink.events}) == 2


def test_the_end_of_the_stream_and_of_the_server_end_sessions() -> None:
    live = {"show", "other"}
    sink = Sink()
    subject = Audience(lambda name: 2.0 if name in live else 0.0, sink, NEWCOMERS, lambda: HOUR)
    for at in (100.0, 101.0):
        for name in sorted(live):
            subject.note(replace(TOKEN, name=name, stream=name), at)
    live.discard("show")
    subject.sweep(102.0)
    subject.close(103.0, "the server is stopping")
    subject.close(103.0, "once more")
    ended = [(event.name, event.reason, event.at) for event in sink.events if isinstance(event, PlayEnded)]
    assert ended == [("show", "the stream has ended", HOUR - 1.0), ("other", "the server is stopping", HOUR - 2.0)]
    assert not subject.counts
    assert not subject._newcomers


def test_a_session_was_seen_when_it_asked_last_as_its_end_will_say() -> None:
    subject, sink = opened()
    subject.note(ONE, 99.0)
    subject.note(ONE, 100.0, 103.0)  # told of when there was time
    assert [event.at for event in sink.events] == [HOUR - 4.0]
    subject.note(replace(ONE, address="5.6.7.8"), 100.0)  # who looked but once is no session
    subject.note(ONE, 104.0)
    (session_id,) = [event.session_id for event in sink.events if isinstance(event, PlayStarted)]
    assert subject.seen(110.0) == {session_id: HOUR - 6.0}
    subject.sweep(120.0)
    assert subject.seen(120.0) == {}
    assert [event.at for event in sink.events if isinstance(event, PlayEnded)] == [HOUR - 16.0]
