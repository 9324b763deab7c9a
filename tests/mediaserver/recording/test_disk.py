"""Disks that are full, slow or broken: the recording pauses and says so, the stream does not notice."""

import errno
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mediaserver.events import RecordingFailed, RecordingFinished
from mediaserver.ports import RecordingOrder
from mediaserver.recording import file as recording_file
from mediaserver.recording import recording, recordings
from mediaserver.recording.file import RecordingFile, in_words
from protocols.media import Packet, Track
from tests.media import Clips
from tests.mediaserver.packaging.material import shifted
from tests.mediaserver.recording.material import House, decoded_by_ffmpeg, feed, house, numbers, read_flv

ORDER = RecordingOrder("r1")


class Disk:
    """What ``os.fstatvfs`` and ``os.statvfs`` say, and how many bytes are taken before the disk is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = 1 << 40
        self.looks = 0
        self.error: OSError | None = None
        monkeypatch.setattr(recording_file.os, "fstatvfs", self._status)
        monkeypatch.setattr(recording_file.os, "statvfs", self._status)
        self._write = os.write
        monkeypatch.setattr(recording_file.os, "write", self.write)

    def _status(self, _: Any) -> Any:
        self.looks += 1
        return type("Status", (), {"f_bavail": self.room, "f_frsize": 1})

    def write(self, descriptor: int, data: bytes) -> int:
        if self.error is not None:
            # Half of it, as a disk does on which there is a little room.
            if len(data) > 1:
                return self._write(descriptor, data[: len(data) // 2])
            raise self.error
        return self._write(descriptor, data)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    monkeypatch.setattr(recording, "FIRST_RETRY", 0.05)
    return Disk(monkeypatch)


async def pause_and_go_on(town: House, disk: Disk, items: list[Track | Packet], harm: Any, heal: Any) -> list[list[int]]:
    """Two GOPs, the harm, two GOPs, the cure, and the clip once more: what is in the files."""
    publisher = town.publish(ORDER)
    media = [item for item in items if isinstance(item, Packet)]
    feed(publisher, [item for item in items if isinstance(item, Track)])
    feed(publisher, [packet for packet in media if packet.dts < 2000])
    await town.until(lambda: town.recordings.snapshots()[0].seconds > 1.4)
    harm()
    feed(publisher, [packet for packet in media if packet.dts >= 2000])
    await town.notes.wait_for(RecordingFailed)
    (shot,) = town.recordings.snapshots()
    assert not shot.writing
    heal()
    await town.until(lambda: town.recordings.snapshots()[0].writing)
    feed(publisher, shifted(items, 4000))
    town.hub.end("show", "done")
    finished = await town.finished(2)
    assert [decoded_by_ffmpeg(event.path) for event in finished] == ["", ""]
    return [numbers(event.path) for event in finished]


async def test_a_full_disk_pauses_the_recording_until_there_is_room(disk: Disk, clips: Clips, tmp_path: Path) -> None:
    def harm() -> None:
        disk.error = OSError(errno.ENOSPC, "No space left on device")
        disk.room = 0

    def heal() -> None:
        disk.error = None
        disk.room = 1 << 30

    async with house(tmp_path) as town:
        before, after = await pause_and_go_on(town, disk, read_flv(clips.get(b_frames=0)), harm, heal)
        (failed,) = town.notes.of(RecordingFailed)
    assert before == list(range(len(before)))
    assert 37 <= len(before) <= 50
    assert after == list(range(100))
    assert isinstance(failed, RecordingFailed)
    assert failed.reason == "the disk is full"


async def test_min_free_bytes_stay_free(disk: Disk, clips: Clips, tmp_path: Path) -> None:
    def harm() -> None:
        disk.room = 5_000_000

    def heal() -> None:
        disk.room = 5_000_000 + (2 << 20)

    async with house(tmp_path, min_free_bytes=5_000_000) as town:
        before, after = await pause_and_go_on(town, disk, read_flv(clips.get(b_frames=0)), harm, heal)
        (failed,) = town.notes.of(RecordingFailed)
    assert before == list(range(len(before)))
    assert after == list(range(100))
    assert isinstance(failed, RecordingFailed)
    assert failed.reason == "fewer than 5000000 bytes would stay free"


async def test_a_disk_that_is_full_from_the_start_is_told_once(disk: Disk, clips: Clips, tmp_path: Path) -> None:
    disk.room = 0
    items = read_flv(clips.get())
    async with house(tmp_path, min_free_bytes=1) as town:
        publisher = town.publish(ORDER)
        feed(publisher, items)
        await town.notes.wait_for(RecordingFailed)
        looks = disk.looks
        await town.until(lambda: disk.looks > looks + 2)
        feed(publisher, shifted(items, 4000))
        assert len(town.notes.of(RecordingFailed)) == 1
        assert not town.files()
        disk.room = 1 << 30
        await town.until(lambda: town.recordings.snapshots()[0].writing)
        feed(publisher, shifted(items, 8000))
        town.hub.end("show", "done")
        (finished,) = await town.finished()
    assert numbers(finished.path) == list(range(100))


async def test_a_stream_that_ends_while_its_disk_is_full_ends_its_recording(disk: Disk, clips: Clips, tmp_path: Path) -> None:
    disk.room = 0
    async with house(tmp_path, min_free_bytes=1) as town:
        feed(town.publish(ORDER), read_flv(clips.get()))
        await town.notes.wait_for(RecordingFailed)
        town.hub.end("show", "done")
        await town.until(lambda: not town.recordings.snapshots())


async def test_a_folder_that_cannot_be_made_is_told(clips: Clips, tmp_path: Path) -> None:
    (tmp_path / "show").symlink_to(tmp_path)
    async with house(tmp_path) as town:
        feed(town.publish(ORDER), read_flv(clips.get()))
        failed = await town.notes.wait_for(RecordingFailed)
    assert isinstance(failed, RecordingFailed)
    assert failed.reason.startswith("the disk does not take it: ")
    assert str(tmp_path) not in failed.reason
    assert [entry.name for entry in tmp_path.iterdir()] == ["show"]  # noqa: ASYNC240 - a test has nothing else to do


async def test_a_disk_that_is_too_slow_costs_pictures_up_to_a_keyframe(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, append = threading.Event(), RecordingFile.append
    waiting = threading.Event()

    def slow(self: RecordingFile, data: bytes) -> None:
        waiting.set()
        gate.wait(20)
        append(self, data)

    monkeypatch.setattr(RecordingFile, "append", slow)
    monkeypatch.setattr(recording, "MAX_BACKLOG", 20_000)
    items = read_flv(clips.get(b_frames=0))
    async with house(tmp_path) as town:
        publisher = town.publish(ORDER)
        feed(publisher, items)
        await town.notes.wait_for(RecordingFailed)
        (shot,) = town.recordings.snapshots()
        assert not shot.writing
        gate.set()
        await town.until(lambda: town.recordings.snapshots()[0].seconds > 0.7)
        await town.until(lambda: _idle(town))
        monkeypatch.setattr(recording, "MAX_BACKLOG", 1 << 20)
        feed(publisher, shifted(items, 4000))
        town.hub.end("show", "done")
        (finished,) = await town.finished()
        (failed,) = town.notes.of(RecordingFailed)
    assert isinstance(failed, RecordingFailed)
    assert failed.reason.startswith("the disk is too slow: ")
    seen = numbers(finished.path)
    kept = seen.index(0, 1)
    assert seen == [*range(kept), *range(100)]
    assert 18 <= kept < 99
    assert decoded_by_ffmpeg(finished.path) == ""


async def test_many_recordings_on_a_slow_disk_share_what_may_wait(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, append = threading.Event(), RecordingFile.append

    def slow(self: RecordingFile, data: bytes) -> None:
        gate.wait(20)
        append(self, data)

    monkeypatch.setattr(RecordingFile, "append", slow)
    monkeypatch.setattr(recordings, "MOST_WAITING", 100_000)
    monkeypatch.setattr(recording, "CROWDED_BACKLOG", 50_000)
    items = read_flv(clips.get(b_frames=0))
    async with house(tmp_path) as town:
        publishers = [town.publish(ORDER, name=name) for name in ("one", "two")]
        for publisher in publishers:
            feed(publisher, items)
        assert town.notes.of(RecordingFailed) == [], "alone each may have much more"
        town.recordings.sweep(0.0)
        for turn in (1, 2):
            for publisher in publishers:
                feed(publisher, shifted(items, 4000 * turn))
        assert len(town.notes.of(RecordingFailed)) == 2
        assert sum(each.backlog for each in town.recordings._running.values()) < 700_000
        gate.set()
        await town.until(lambda: _idle(town))
        town.recordings.sweep(0.0)
        for publisher in publishers:
            feed(publisher, shifted(items, 12_000))
        town.hub.end_all("done")
        finished = await town.finished(2)
    for event in finished:
        assert numbers(event.path)[-100:] == list(range(100))


def _idle(town: House) -> bool:
    return all(each._writer.backlog == 0 for each in town.recordings._running.values())


def test_reasons_have_no_paths() -> None:
    assert in_words(OSError(errno.EIO, "Input/output error", "/secret")) == "the disk does not take it: Input/output error"
    assert in_words(OSError(errno.EDQUOT, "Disk quota exceeded")) == "the disk is full"


def test_a_part_that_does_not_fit_leaves_no_trace(disk: Disk, tmp_path: Path) -> None:
    made = RecordingFile.create(tmp_path / "show", "show-1", "mp4", {}, "never", 0)
    made.append(b"whole")
    disk.error = OSError(errno.ENOSPC, "full")
    with pytest.raises(OSError, match="full"):
        made.append(b"part" * 100)
    disk.error = None
    made.append(b"!")
    made.finish((0, b"W"))
    assert made.path.read_bytes() == b"Whole!"


def test_twins_get_numbers(tmp_path: Path) -> None:
    made = [RecordingFile.create(tmp_path, "show-1", "mp4", {}, "file", 0) for _ in range(3)]
    for each in made:
        each.append(b"x")
        each.finish(None)
    (tmp_path / "show-1-4.mp4").write_text("somebody else's")
    later = RecordingFile.create(tmp_path, "show-1", "mp4", {}, "file", 0)
    later.finish(None)
    assert [each.path.name for each in made] == ["show-1.mp4", "show-1-2.mp4", "show-1-3.mp4"]
    assert later.path.name == "show-1-5.mp4"
    assert not later.path.exists()


def test_a_thousand_twins_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_file, "_MOST_TWINS", 2)
    RecordingFile.create(tmp_path, "show-1", "mp4", {}, "never", 0).finish(None)
    first = RecordingFile.create(tmp_path, "show-1", "mp4", {}, "never", 0)
    with pytest.raises(FileExistsError):
        RecordingFile.create(tmp_path, "show-1", "mp4", {}, "never", 0)
    first.finish(None)


async def test_events_of_a_pause_come_in_their_order(disk: Disk, clips: Clips, tmp_path: Path) -> None:
    items = read_flv(clips.get(b_frames=0))
    async with house(tmp_path) as town:
        publisher = town.publish(replace(ORDER))
        feed(publisher, items)
        await town.until(lambda: town.recordings.snapshots()[0].seconds > 3)
        disk.error = OSError(errno.ENOSPC, "full")
        feed(publisher, shifted(items, 4000))
        await town.notes.wait_for(RecordingFailed)
        disk.error = None
    kinds = [type(event).__name__ for event in town.notes.events if type(event).__name__.startswith("Recording")]
    assert kinds == ["RecordingStarted", "RecordingFinished", "RecordingFailed"]
    assert isinstance(town.notes.of(RecordingFinished)[0], RecordingFinished)
