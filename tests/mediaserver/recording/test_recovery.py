"""Files that were cut off anywhere, and files that are no recordings of ours."""

import fcntl
import json
import os
from pathlib import Path

import pytest

from mediaserver.events import RecordingFinished
from mediaserver.ports import RecordingFormat, RecordingOrder
from mediaserver.recording.recovery import recover
from protocols import matroska
from protocols.media import Codec, MediaKind, Track
from tests.media import Clips
from tests.mediaserver.recording.material import decoded_by_ffmpeg, feed, house, numbers, read_flv
from tests.peers import ffprobe

NOTE = json.dumps({"recording_id": "r1", "name": "show"})


async def recorded(form: RecordingFormat, clips: Clips, root: Path) -> Path:
    """A finished recording of 100 pictures."""
    async with house(root, format=form.value) as town:
        feed(town.publish(RecordingOrder("r1")), read_flv(clips.get(b_frames=0)))
        town.hub.end("show", "done")
        (finished,) = await town.finished()
    return Path(finished.path)


def cut_off(whole: bytes, length: int, root: Path, suffix: str, tail: bytes = b"") -> Path:
    """A file that was being written, of which ``length`` bytes have reached the disk."""
    folder = root / "show"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"show-20260101-000000{suffix}"
    file.write_bytes(whole[:length] + tail)
    file.with_name(f"{file.name}.recording").write_text(NOTE)
    return file


@pytest.mark.parametrize("form", list(RecordingFormat))
async def test_a_file_that_was_cut_anywhere_plays_up_to_its_last_whole_part(
    form: RecordingFormat, clips: Clips, tmp_path: Path
) -> None:
    whole = (await recorded(form, clips, tmp_path / "whole")).read_bytes()
    for length in (len(whole) // 3, len(whole) * 3 // 4, len(whole) - 1):
        file = cut_off(whole, length, tmp_path / "cut", f".{form.value}")
        (found,) = recover(tmp_path / "cut")
        assert (found.name, found.recording_id, found.path) == ("show", "r1", file)
        assert found.bytes == os.stat(file).st_size <= length
        assert not file.with_name(f"{file.name}.recording").exists()
        seen = numbers(file)
        assert seen == list(range(len(seen)))
        # Parts are at most 0.75 s long.
        assert len(seen) >= 100 * length / len(whole) - 24
        assert decoded_by_ffmpeg(file) == ""
        assert abs(found.seconds - len(seen) / 25) < 0.15
        if form is not RecordingFormat.TS:
            assert abs(float(ffprobe(file)["format"]["duration"]) - found.seconds) < 0.1
        assert recover(tmp_path / "cut") == []


@pytest.mark.parametrize("form", list(RecordingFormat))
async def test_what_the_disk_never_got_is_cut_off(form: RecordingFormat, clips: Clips, tmp_path: Path) -> None:
    whole = (await recorded(form, clips, tmp_path / "whole")).read_bytes()
    file = cut_off(whole, len(whole), tmp_path / "cut", f".{form.value}", bytes(5000))
    (found,) = recover(tmp_path / "cut")
    assert found.bytes == len(whole)
    assert len(numbers(file)) == 100


@pytest.mark.parametrize("form", list(RecordingFormat))
async def test_every_length_is_survived(
    form: RecordingFormat, clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mediaserver.recording.recovery.os.fsync", int)
    whole = (await recorded(form, clips, tmp_path / "whole")).read_bytes()
    for length in (*range(0, 1500, 97), *range(1500, len(whole), 7919), len(whole)):
        file = cut_off(whole, length, tmp_path / "cut", f".{form.value}")
        found = recover(tmp_path / "cut")
        for one in found:
            assert 0 < one.bytes <= length
            assert 0 < one.seconds < 4.2
        assert bool(found) or length < 20_000
        file.unlink(missing_ok=True)


async def test_the_recovered_is_told_at_the_start(clips: Clips, tmp_path: Path) -> None:
    whole = (await recorded(RecordingFormat.MP4, clips, tmp_path / "whole")).read_bytes()
    file = cut_off(whole, 40_000, tmp_path / "cut", ".mp4")
    async with house(tmp_path / "cut") as town:
        await town.recordings.recover()
        (told,) = town.notes.of(RecordingFinished)
    assert isinstance(told, RecordingFinished)
    assert (told.name, told.recording_id, told.recovered, told.path) == ("show", "r1", True, str(file))
    assert told.bytes == os.stat(file).st_size


def test_a_marker_without_a_file_goes_away(tmp_path: Path) -> None:
    file = cut_off(b"", 0, tmp_path, ".mp4")
    file.unlink()
    assert recover(tmp_path) == []
    assert not list((tmp_path / "show").iterdir())


def test_what_another_server_writes_is_left_alone(tmp_path: Path) -> None:
    file = cut_off(b"x" * 100, 100, tmp_path, ".flv")
    marker = file.with_name(f"{file.name}.recording")
    with marker.open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert recover(tmp_path) == []
        assert marker.exists()
    assert file.read_bytes() == b"x" * 100


@pytest.mark.parametrize("suffix", [".mp4", ".flv", ".ts", ".mkv", ".txt"])
def test_a_file_that_is_none_of_ours_is_not_cut(suffix: str, tmp_path: Path) -> None:
    file = cut_off(b"\x7fELF" + bytes(range(256)) * 10, 2564, tmp_path, suffix)
    assert recover(tmp_path) == []
    assert suffix == ".ts" or len(file.read_bytes()) == 2564  # a transport stream has no beginning to be known by


@pytest.mark.parametrize(
    ("form", "number", "lie"),
    [
        # A decode time of 2**64 - 1, and a cluster's time of 60 bytes.
        (RecordingFormat.MP4, b"\0\0\0\x14tfdt\1\0\0\0", b"\xff" * 8),
        (RecordingFormat.MKV, b"\xe7\x81", b"\xff" * 4),
    ],
)
async def test_times_that_cannot_be_keep_no_server_from_its_start(
    form: RecordingFormat, number: bytes, lie: bytes, clips: Clips, tmp_path: Path
) -> None:
    whole = (await recorded(form, clips, tmp_path / "whole")).read_bytes()
    if form is RecordingFormat.MKV:
        place = whole.index(number) + len(number)
        whole = whole[: place - 1] + b"\xbc" + whole[place:]
    else:
        place = whole.rindex(number) + len(number)  # the last one counts
        whole = whole[:place] + lie + whole[place + len(lie) :]
    cut_off(whole, len(whole), tmp_path / "cut", f".{form.value}")
    (tmp_path / "cut" / "other").mkdir()
    assert all(found.seconds < 10.0 for found in recover(tmp_path / "cut"))


async def test_a_long_matroska_file_is_looked_into_at_its_end_alone(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (await recorded(RecordingFormat.MKV, clips, tmp_path / "whole")).read_bytes()
    looked: list[int] = []
    real = matroska.cluster_end
    monkeypatch.setattr(matroska, "cluster_end", lambda content: looked.append(len(content)) or real(content))
    file = cut_off(whole, len(whole) - 3000, tmp_path / "cut", ".mkv")
    (found,) = recover(tmp_path / "cut")
    assert sum(looked) < len(whole) * 0.95
    assert abs(found.seconds - len(numbers(file)) / 25) < 0.15
    # The disk never got what the last cluster of all has in it.
    begin = found.bytes - looked[-1]
    damaged = file.read_bytes()[:begin] + bytes(looked[-1])
    cut_off(damaged, len(damaged), tmp_path / "again", ".mkv")
    (less,) = recover(tmp_path / "again")
    assert 0 < less.bytes < begin
    assert 0 < less.seconds < found.seconds


def test_times_of_matroska_that_cannot_be_are_told(tmp_path: Path) -> None:
    head = matroska.head({MediaKind.AUDIO: Track(Codec.AAC, b"\x12\x10")}).data
    cluster = b"\x1f\x43\xb6\x75" + b"\x8a" + b"\xe7\x88" + b"\x7f" * 8
    file = cut_off(head + cluster, len(head + cluster), tmp_path, ".mkv")
    assert recover(tmp_path) == []
    assert file.read_bytes() == head + cluster, "not ours to cut"


def test_links_are_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    precious = elsewhere / "precious.ts"
    precious.write_bytes(b"G" * 1000)
    root = tmp_path / "root"
    (root / "show").mkdir(parents=True)
    (root / "show" / "show-20260101-000000.ts").symlink_to(precious)
    (root / "show" / "show-20260101-000000.ts.recording").write_text(NOTE)
    (root / "other").symlink_to(elsewhere)
    (elsewhere / "precious.ts.recording").write_text(NOTE)
    assert recover(root) == []
    assert precious.read_bytes() == b"G" * 1000


@pytest.mark.parametrize("note", ["", "[]", "{}", "\x00", '{"name": 1}'])
async def test_a_marker_that_says_nothing_is_no_obstacle(note: str, clips: Clips, tmp_path: Path) -> None:
    whole = (await recorded(RecordingFormat.MP4, clips, tmp_path / "whole")).read_bytes()
    file = cut_off(whole, len(whole), tmp_path / "cut", ".mp4")
    file.with_name(f"{file.name}.recording").write_text(note)
    (found,) = recover(tmp_path / "cut")
    assert (found.name, found.recording_id) == ("show", "")


def test_a_folder_that_is_not_there_has_nothing_to_recover(tmp_path: Path) -> None:
    assert recover(tmp_path / "nothing") == []
