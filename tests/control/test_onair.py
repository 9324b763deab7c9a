"""What is on air, as one look sees it: who watched at most, and which stream that was."""

import pytest

from control.streams.onair import FRESH, OnAir
from mediaserver.ports import Wire
from tests.control.engine import FakeEngine, stream
from tests.control.panel import Clock


@pytest.fixture
def ticks() -> Clock:
    return Clock(0.0)


@pytest.fixture
def on_air(engine: FakeEngine, ticks: Clock) -> OnAir:
    return OnAir(engine, ticks)


def test_the_peak_is_that_of_all_renditions_and_stays(on_air: OnAir, engine: FakeEngine, ticks: Clock) -> None:
    for viewers in (2, 5, 1):
        rendition = stream("stream_7@360p", source="stream_7", since=1500.0, players={Wire.HLS: 2})
        engine.show(stream("stream_7", players={Wire.RTMP: viewers}), rendition)
        ticks.now += FRESH
        assert on_air.viewers(7) == viewers + 2
    assert on_air.peak(7) == 7
    assert on_air.counts() == {7: (3, 7, 1000.0)}


def test_a_stream_that_follows_within_one_look_begins_at_nought(on_air: OnAir, engine: FakeEngine, ticks: Clock) -> None:
    for since, viewers, peak in ((1000.0, 50, 50), (1010.0, 0, 0), (1010.0, 2, 2)):
        engine.show(stream("stream_7", since=since, players={Wire.RTMP: viewers}))
        ticks.now += FRESH
        assert (on_air.peak(7), on_air.counts()) == (peak, {7: (viewers, peak, since)})
    engine.show()
    ticks.now += FRESH
    assert (on_air.peak(7), on_air.counts()) == (0, {})
