"""Recordings through the engine's door."""

import os
from pathlib import Path

import pytest

from mediaserver.config import Config, RecordingConfig
from mediaserver.errors import Refused
from mediaserver.events import RecordingFailed, RecordingFinished, RecordingStarted
from mediaserver.ports import PublishGrant, PublishRequest, RecordingFormat, RecordingOrder
from mediaserver.recording.flv import FlvFile
from protocols.rtmp.message import VIDEO
from tests.e2e.rtmp import tags_of, until
from tests.media import Clips
from tests.mediaserver.recording.material import numbers
from tests.mediaserver.running import Doorkeeper, Running, running


def config(root: Path) -> Config:
    return Config(recording=RecordingConfig(directory=str(root), min_free_bytes=0))


async def arrived(town: Running, pictures: int) -> None:
    """Wait until the server has read so many pictures of ``show``: what was sent may still be on its way."""
    await town.until(lambda: "show" in town.names() and town.engine.snapshot().streams[0].frames == pictures)


async def test_a_recording_is_started_looked_at_and_stopped(clips: Clips, tmp_path: Path) -> None:
    tags = tags_of(clips.get(b_frames=0))
    async with running(config(tmp_path)) as town:
        with pytest.raises(Refused, match="not live"):
            town.engine.start_recording("show", RecordingOrder("mine"))
        async with town.client("show") as publisher:
            await publisher.publish()
            await publisher.send(*until(tags, 2500))
            await arrived(town, sum(tag[0] == VIDEO for tag in until(tags, 2500)) - 1)  # the first one is the header
            town.engine.start_recording("show", RecordingOrder("mine"))
            await publisher.send(*[tag for tag in tags if tag[1] >= 2500])
            await arrived(town, 100)
            assert town.engine.stop_recording("show", "mine")
            assert not town.engine.stop_recording("show", "mine")
            finished = await town.notes.wait_for(RecordingFinished)
            assert town.engine.snapshot().recordings == ()
    assert isinstance(finished, RecordingFinished)
    assert (finished.recording_id, finished.name) == ("mine", "show")
    assert numbers(finished.path) == list(range(50, 100)), "from the keyframe on that came last"


class Granting(Doorkeeper):
    """Every stream is recorded twice, as FLV and as Matroska."""

    async def may_publish(self, request: PublishRequest) -> PublishGrant:
        orders = (RecordingOrder("one", format=RecordingFormat.FLV), RecordingOrder("two", format=RecordingFormat.MKV))
        return PublishGrant(request.key, recordings=orders)


async def test_a_grant_s_recordings_begin_and_end_with_the_stream(clips: Clips, tmp_path: Path) -> None:
    async with running(config(tmp_path)) as town:
        town.door.__class__ = Granting
        async with town.client("show") as publisher:
            await publisher.publish()
            await publisher.send(*tags_of(clips.get()))
            await town.notes.wait_for(RecordingStarted, 2)
            await arrived(town, 100)
    finished = [event for event in town.notes.events if isinstance(event, RecordingFinished)]
    assert sorted(event.recording_id for event in finished) == ["one", "two"]
    assert sorted(os.path.splitext(event.path)[1] for event in finished) == [".flv", ".mkv"]
    assert [numbers(event.path) for event in finished] == [list(range(100))] * 2


async def test_a_bug_in_a_container_is_told_and_ends_nothing_else(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(FlvFile, "part", lambda *_, **__: 1 // 0)
    async with running(config(tmp_path)) as town:
        town.door.__class__ = Granting
        async with town.client("show") as publisher:
            await publisher.publish()
            await publisher.send(*tags_of(clips.get()))
            failed = await town.notes.wait_for(RecordingFailed)
            await arrived(town, 100)
    assert isinstance(failed, RecordingFailed)
    assert (failed.recording_id, failed.reason) == ("one", "an error of the server")
    assert "ZeroDivisionError" in caplog.text
    (finished,) = [event for event in town.notes.events if isinstance(event, RecordingFinished)]
    assert numbers(finished.path) == list(range(100))
