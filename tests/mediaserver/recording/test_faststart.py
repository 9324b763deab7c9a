"""Plain MP4 from ours: the same packets, the tables first."""

import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mediaserver.ports import RecordingOrder
from mediaserver.recording import faststart
from protocols.errors import RemoteProtocolError
from protocols.mp4.reader import LONG_HEADER_SIZE, box_header
from tests.media import Clips
from tests.mediaserver.packaging.material import shifted
from tests.mediaserver.recording.material import decoded_by_ffmpeg, feed, house, numbers, read_flv
from tests.peers import ffprobe, program


async def recorded(file: Path, root: Path, *, gap: int = 0) -> Path:
    """A finished recording of a clip; with a ``gap`` (ms) twice."""
    async with house(root) as town:
        publisher = town.publish(RecordingOrder("r1"))
        feed(publisher, read_flv(file))
        if gap:
            feed(publisher, shifted(read_flv(file), gap))
        town.hub.end("show", "done")
        (finished,) = await town.finished()
    return Path(finished.path)


def packets(file: Path) -> list[tuple[Any, ...]]:
    """Stream, times, flags, size and the bytes' hash of every packet, as ffprobe reads them."""
    command = [program("ffprobe"), "-v", "error", "-show_packets", "-show_data_hash", "md5", "-of", "json", str(file)]
    found = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)["packets"]
    keys = ("stream_index", "pts", "dts", "size", "data_hash", "flags")
    return sorted(tuple(packet[key] for key in keys) for packet in found)


def kinds(file: Path) -> list[bytes]:
    """The boxes of the outermost level."""
    data, position, found = file.read_bytes(), 0, []
    while position < len(data):
        box = box_header(data[position : position + LONG_HEADER_SIZE])
        found.append(box.kind)
        position += box.size
    return found


@pytest.mark.parametrize(
    "clip",
    [
        {},
        {"b_frames": 0, "gop": 100},
        {"audio": "", "seconds": 2.0},
        {"video": "", "seconds": 2.0},
        {"video": "hevc", "audio": "opus", "seconds": 1.0},
        {"video": "av1", "audio": "flac", "seconds": 1.0},
    ],
)
async def test_the_same_packets_with_the_tables_first(clip: dict[str, Any], clips: Clips, tmp_path: Path) -> None:
    source = await recorded(clips.get(**clip), tmp_path)
    target = tmp_path / "plain.mp4"
    assert faststart.write(source, target) == os.stat(target).st_size
    assert kinds(target) == [b"ftyp", b"moov", b"mdat"]
    assert packets(target) == packets(source)
    assert decoded_by_ffmpeg(target) == ""
    fragmented, plain = ffprobe(source), ffprobe(target)
    assert plain["format"]["start_time"] == fragmented["format"]["start_time"]
    assert abs(float(plain["format"]["duration"]) - float(fragmented["format"]["duration"])) < 0.002
    assert sorted(os.listdir(tmp_path)) == ["plain.mp4", "show"]


async def test_a_gap_stays_a_gap(clips: Clips, tmp_path: Path) -> None:
    source = await recorded(clips.get(b_frames=0), tmp_path, gap=9000)
    target = tmp_path / "plain.mp4"
    faststart.write(source, target)
    assert numbers(target) == [*range(100), *range(100)]
    assert packets(target) == packets(source)
    assert abs(float(ffprobe(target)["format"]["duration"]) - 13.0) < 0.1


async def test_a_recording_that_is_being_written_will_do(clips: Clips, tmp_path: Path) -> None:
    async with house(tmp_path) as town:
        feed(town.publish(RecordingOrder("r1")), read_flv(clips.get()))
        await town.until(lambda: town.recordings.snapshots()[0].seconds > 2)
        (source,) = town.files()
        target = tmp_path / "plain.mp4"
        faststart.write(source, target)
        assert len(numbers(target)) > 45


async def test_it_is_streamed_as_it_is_written(clips: Clips, tmp_path: Path) -> None:
    source = await recorded(clips.get(), tmp_path)
    target = tmp_path / "plain.mp4"
    faststart.write(source, target)
    with source.open("rb") as movie:
        made = faststart.plan(movie)
        data = b"".join([piece async for piece in faststart.stream(movie, made)])
    assert data == target.read_bytes()
    assert len(data) == made.size


async def test_a_source_that_was_cut_meanwhile_is_an_error(clips: Clips, tmp_path: Path) -> None:
    source = await recorded(clips.get(), tmp_path)
    with source.open("r+b") as movie:
        made = faststart.plan(movie)
        movie.truncate(os.stat(source).st_size // 2)
        with pytest.raises(EOFError):
            list(made.pieces(movie))


def test_what_is_no_recording_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("nothing of the kind")
    with pytest.raises(RemoteProtocolError):
        faststart.write(tmp_path / "text.mp4", tmp_path / "out.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["text.mp4"]


async def test_the_command_says_what_it_did(clips: Clips, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = await recorded(clips.get(), tmp_path), tmp_path / "out.mp4"
    assert faststart.main(source, target) == 0
    assert capsys.readouterr().out == f"{target}: {os.stat(target).st_size} bytes\n"
    assert faststart.main(source, target) == 1
    assert capsys.readouterr().err == f"{target}: exists already, and is not written over\n"
    target.unlink()
    assert faststart.main(tmp_path / "none.mp4", target) == 1
    assert capsys.readouterr().err == f"{tmp_path / 'none.mp4'}: No such file or directory\n"
    (tmp_path / "text.mp4").write_text("text")
    assert faststart.main(tmp_path / "text.mp4", target) == 1
    assert "not a fragmented MP4" in capsys.readouterr().err


async def test_samples_outside_of_their_fragment_are_no_movie(clips: Clips, tmp_path: Path) -> None:
    file = await recorded(clips.get(), tmp_path / "recorded")
    whole = bytearray(file.read_bytes())
    run = whole.index(b"trun")
    for lie in (-1, 0, 0x7FFFFFFF):
        whole[run + 12 : run + 16] = lie.to_bytes(4, signed=True)
        with pytest.raises(RemoteProtocolError, match="not in their fragment"):
            faststart.plan(io.BytesIO(whole))
