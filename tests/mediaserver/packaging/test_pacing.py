"""A stream's grant says how long its parts and segments are, and how many of them are listed."""

import m3u8  # type: ignore[import-untyped]
import pytest

from mediaserver.hub.gop import GopCache
from mediaserver.hub.stream import LiveStream
from mediaserver.packaging.answer import Ready
from mediaserver.ports import Pacing, PublishGrant
from tests.media import Clips
from tests.mediaserver.packaging.material import OneStream, Settings, Wall, packagers, read_flv


@pytest.mark.parametrize(
    "pacing", [None, Pacing(2.0, 0.5, 3), Pacing(1.0, 0.1, 4), Pacing(3.0, 1.0, 3)], ids=["config", "slow", "fast", "long"]
)
def test_durations_and_window_are_those_of_the_grant(clips: Clips, pacing: Pacing | None) -> None:
    hub, wall, settings = OneStream(), Wall(), Settings()
    hub.stream = LiveStream("test", GopCache(8 << 20, 10_000), 0.0, PublishGrant("test", pacing=pacing))
    subject = packagers(hub, settings, wall)
    assert subject.target_duration("test") == settings.segment_duration
    subject.start("test", wall.at)
    hub.write(read_flv(clips.get(seconds=10)), wall)
    answer = subject.answer("test", "video.m3u8", {}, wall.at)
    assert isinstance(answer, Ready)
    playlist = m3u8.loads(answer.body.decode())
    wanted = pacing or Pacing(settings.segment_duration, settings.part_duration, settings.window)
    assert playlist.part_inf.part_target == pytest.approx(wanted.part_duration, abs=0.045)
    assert all(segment.duration >= wanted.segment_duration - 0.01 for segment in playlist.segments if segment.uri)
    whole = [segment for segment in playlist.segments if segment.uri]
    assert 1 <= len(whole) <= wanted.window
    assert subject.target_duration("test") == playlist.target_duration == wanted.segment_duration
