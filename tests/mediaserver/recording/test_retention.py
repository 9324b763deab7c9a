"""What is removed, and what is not."""

import os
from pathlib import Path

import pytest

from mediaserver.events import RecordingRemoved
from mediaserver.ports import RecordingOrder
from mediaserver.recording.retention import expire
from tests.media import Clips
from tests.mediaserver.recording.material import feed, house, read_flv

NOW = 1_780_000_000.0
DAY = 86_400.0


def recording(root: Path, name: str, day: int, *, bytes_: int = 100, suffix: str = "mp4") -> Path:
    """A recording of ``name``, finished so many days ago."""
    folder = root / name.partition("@")[0]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-202601{day:02}-120000.{suffix}"
    file.write_bytes(bytes(bytes_))
    os.utime(file, (NOW - day * DAY, NOW - day * DAY))
    return file


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    old, young = recording(tmp_path, "show", 8), recording(tmp_path, "show", 6)
    (removed,) = expire(tmp_path, NOW, 7 * DAY, 0)
    assert (removed.name, removed.path, removed.reason) == ("show", old, "too old")
    assert young.exists()
    assert not old.exists()


def test_the_oldest_go_until_the_rest_fits(tmp_path: Path) -> None:
    files = [recording(tmp_path, name, day) for name, day in (("b", 4), ("a.b", 3), ("b@360p", 2), ("a.b", 1))]
    removed = expire(tmp_path, NOW, 0, 250)
    assert [one.path for one in removed] == files[:2]
    assert {one.reason for one in removed} == {"too many bytes of recordings"}
    assert files[2].exists()
    assert files[3].exists()


def test_nothing_goes_without_a_limit(tmp_path: Path) -> None:
    file = recording(tmp_path, "show", 30)
    assert expire(tmp_path, NOW, 0, 0) == []
    assert file.exists()


def test_an_empty_folder_goes_with_its_last_recording_and_its_pictures(tmp_path: Path) -> None:
    file = recording(tmp_path, "show", 8)
    for beside in (".sprites.vtt", ".sprites-1.jpg"):
        file.with_name(file.stem + beside).write_text("x")
    assert len(expire(tmp_path, NOW, 7 * DAY, 0)) == 1
    assert not list(tmp_path.iterdir())


def test_a_wish_for_pictures_goes_with_its_recording(tmp_path: Path) -> None:
    file = recording(tmp_path, "show", 30)
    file.with_name(f"{file.name}.sprites").touch()
    assert [one.path for one in expire(tmp_path, NOW, 7 * DAY, 0)] == [file]
    assert list(tmp_path.iterdir()) == []


def test_pictures_of_two_recordings_stay_with_the_other(tmp_path: Path) -> None:
    file = recording(tmp_path, "show", 8)
    twin = recording(tmp_path, "show", 8, suffix="flv")
    os.utime(twin, (NOW, NOW))
    shared = file.with_name(f"{file.stem}.sprites.vtt")
    shared.write_text("x")
    assert len(expire(tmp_path, NOW, 7 * DAY, 0)) == 1
    assert twin.exists()
    assert shared.exists()


def test_what_is_being_written_stays(tmp_path: Path) -> None:
    file = recording(tmp_path, "show", 8)
    file.with_name(f"{file.name}.recording").write_text("{}")
    assert expire(tmp_path, NOW, 7 * DAY, 1) == []
    assert file.exists()


def test_a_marker_that_came_since_the_look_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = recording(tmp_path, "show", 8)
    listed = os.listdir

    def look(folder: int) -> list[str]:
        names = listed(folder)
        file.with_name(f"{file.name}.recording").write_text("{}")
        return names

    monkeypatch.setattr("mediaserver.recording.retention.os.listdir", look)
    assert expire(tmp_path, NOW, 7 * DAY, 1) == []
    assert file.exists()


def test_what_is_none_of_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "show").mkdir()
    others = [
        tmp_path / "show-20260101-000000.mp4",
        tmp_path / "show" / "holiday.mp4",
        tmp_path / "show" / "show-20260101-000000.mp4.bak",
        tmp_path / "show" / "show-20260101.mp4",
    ]
    for other in others:
        other.write_bytes(bytes(100))
        os.utime(other, (0, 0))
    (tmp_path / "show" / "show-20260101-000000.mp4").mkdir()
    assert expire(tmp_path, NOW, DAY, 1) == []
    assert all(other.exists() for other in others)


def test_links_lead_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    precious = recording(outside, "show", 30)
    root = tmp_path / "root"
    (root / "show").mkdir(parents=True)
    (root / "linked").symlink_to(outside / "show")
    link = root / "show" / "show-20260101-120000.mp4"
    link.symlink_to(precious)
    assert expire(root, NOW, DAY, 1) == []
    assert precious.exists()
    assert link.is_symlink()


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert expire(tmp_path / "nothing", NOW, DAY, 1) == []


async def test_finished_recordings_are_removed_while_others_run(clips: Clips, tmp_path: Path) -> None:
    old = recording(tmp_path, "old", 1, bytes_=50_000)
    os.utime(old, (1, 1))  # older than any that this machine's clock dates now
    async with house(tmp_path, retention_bytes=30_000, split_duration=1.0) as town:
        feed(town.publish(RecordingOrder("r1")), read_flv(clips.get()))
        await town.until(lambda: town.recordings.snapshots()[0].files == 4 and len(town.notes.of(RecordingRemoved)) >= 2)
        removed = [event for event in town.notes.events if isinstance(event, RecordingRemoved)]
        running = [shot.path for shot in town.recordings.snapshots()]
    assert removed[0].path == str(old)
    assert removed[0].name == "old"
    assert not old.exists()
    assert Path(running[0]) in town.files()
