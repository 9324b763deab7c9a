"""Sprite sheets of real recordings; the WebVTT file is read by FFmpeg, and each picture that it points at is looked at."""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast
from urllib.parse import unquote

import av
import numpy as np
import numpy.typing as npt
import psutil
import pytest

from mediaserver.recording import sprites, sprites_worker
from mediaserver.recording.file import SPRITES_SUFFIX
from mediaserver.recording.sprites import SpriteQueue, Sprites, SpritesError, make_sprites, sheet_file, vtt_file
from mediaserver.worker.child import Pipe
from mediaserver.worker.frames import Frame, Note
from tests.media import Clips, frame_number
from tests.peers import ROOT

#: Seconds to wait for what is sure to come.
PATIENCE = 60.0


@pytest.fixture
def record(clips: Clips, tmp_path: Path) -> "Recorder":
    return Recorder(clips, tmp_path)


class Recorder:
    """Copies of clips: what is made of a recording lies beside it."""

    def __init__(self, clips: Clips, folder: Path) -> None:
        self.clips, self.folder = clips, folder

    def __call__(self, name: str = "show-20260101-120000", **what: object) -> Path:
        clip = self.clips.get(**{"container": "mp4", "seconds": 12, **what})
        return Path(shutil.copyfile(clip, self.folder / f"{name}{clip.suffix}"))

    def remuxed(self, options: dict[str, str], **what: object) -> Path:
        """An MP4 file written with ``options`` of FFmpeg's muxer."""
        file = self.folder / "show-20260101-120000.mp4"
        with (
            av.open(str(self.clips.get(container="mp4", seconds=12, **what))) as source,
            av.open(str(file), "w", options=options) as output,
        ):
            streams = {stream.index: output.add_stream_from_template(stream) for stream in source.streams}
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream.index]
                    output.mux(packet)
        return file


def cues(vtt: Path) -> list[tuple[float, float, str]]:
    """Begin, end and payload of each cue, as FFmpeg reads them."""
    with av.open(str(vtt), format="webvtt") as container:
        unit = container.streams[0].time_base
        return [
            (float(packet.pts * unit), float((packet.pts + packet.duration) * unit), bytes(packet).decode())
            for packet in container.demux()
            if packet.pts is not None
        ]


def pictures(made: Sprites) -> Iterator[tuple[float, float, npt.NDArray[np.uint8]]]:
    """Begin, end and picture (grey) of each cue."""
    sheets: dict[str, npt.NDArray[np.uint8]] = {}
    for sheet in made.sheets:
        with av.open(str(sheet), format="image2") as container:
            sheets[sheet.name] = next(container.decode(video=0)).to_ndarray(format="gray")
    for begin, end, payload in cues(made.vtt):
        name, _, place = payload.partition("#xywh=")
        left, top, width, height = map(int, place.split(","))
        picture = sheets[unquote(name)][top : top + height, left : left + width]
        assert picture.shape == (height, width)
        yield begin, end, picture


async def numbers(file: Path) -> list[tuple[float, float, int]]:
    await make_sprites(file)
    return pictures_of(file)


def pictures_of(file: Path) -> list[tuple[float, float, int]]:
    """Begin, end and number of each picture beside ``file``, whose sprites are on one sheet."""
    made = Sprites(vtt_file(file), (sheet_file(file, 1),), 0)
    return [(begin, end, frame_number(picture)) for begin, end, picture in pictures(made)]


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9"])
async def test_each_cue_points_at_the_picture_of_its_time(record: Recorder, codec: str) -> None:
    file = record(video=codec, audio="")
    made = await make_sprites(file)
    assert made == Sprites(vtt_file(file), (sheet_file(file, 1),), 12)
    seen = list(pictures(made))
    assert [frame_number(picture) for _, _, picture in seen] == list(range(0, 300, 25))
    assert [begin for begin, _, _ in seen] == pytest.approx(range(12), abs=0.1)
    assert [end for _, end, _ in seen] == pytest.approx(range(1, 13), abs=0.1)
    assert {picture.shape for _, _, picture in seen} == {(96, 160)}
    assert {entry.name for entry in file.parent.iterdir()} == {file.name, made.vtt.name, made.sheets[0].name}


@pytest.mark.parametrize("container", ["ts", "flv", "mkv"])
async def test_all_formats_of_recordings(record: Recorder, container: str) -> None:
    seen = await numbers(record(container=container))
    assert [number for _, _, number in seen] == list(range(0, 300, 25))
    assert seen[0][0] == 0
    assert seen[-1][1] == pytest.approx(12, abs=0.2)


async def test_a_long_recording_has_pictures_further_apart_on_several_sheets(record: Recorder) -> None:
    made = await make_sprites(record(seconds=900, frame_rate=1, gop=1, b_frames=0, audio=""))
    seen = list(pictures(made))
    assert [(begin, end, frame_number(picture)) for begin, end, picture in seen] == [(t, t + 4, t) for t in range(0, 900, 4)]
    assert len(made.sheets) == 3
    with av.open(str(made.sheets[0]), format="image2") as first, av.open(str(made.sheets[2]), format="image2") as last:
        assert (first.streams.video[0].width, first.streams.video[0].height) == (1600, 960)
        assert (last.streams.video[0].width, last.streams.video[0].height) == (1600, 3 * 96)


async def test_keyframes_that_are_far_apart_stand_until_the_next(record: Recorder) -> None:
    seen = await numbers(record(gop=100))
    assert [number for _, _, number in seen] == [0, 100, 200]
    assert [end for _, end, _ in seen] == pytest.approx([4, 8, 12], abs=0.1)


async def test_a_recording_that_was_cut_off_gives_what_it_holds(record: Recorder) -> None:
    file = record.remuxed({"movflags": "frag_keyframe+empty_moov"})
    os.truncate(file, file.stat().st_size * 6 // 10)
    seen = await numbers(file)
    assert [number for _, _, number in seen] == list(range(0, 25 * len(seen), 25))
    assert 6 <= len(seen) <= 8


async def test_broken_keyframes_are_passed_over(record: Recorder) -> None:
    file = record(container="ts", audio="")
    data = bytearray(file.read_bytes())
    for at in range(len(data) * 4 // 10, len(data) * 6 // 10):
        if at % 188 > 30:
            data[at] = at * 7 & 255
    file.write_bytes(data)
    seen = await numbers(file)
    assert {0, 25, 50, 250, 275} <= {number for _, _, number in seen}
    for begin, _, number in seen[:3] + seen[-2:]:
        assert number == pytest.approx(begin * 25, abs=3)


async def test_made_again_the_new_ones_replace_the_old(record: Recorder) -> None:
    file = record(seconds=900, frame_rate=1, gop=1, b_frames=0, audio="")
    assert len((await make_sprites(file)).sheets) == 3
    shutil.copyfile(record.clips.get(container="mp4", seconds=12), file)
    made = await make_sprites(file)
    assert {entry.name for entry in file.parent.iterdir()} == {file.name, made.vtt.name, made.sheets[0].name}
    assert len(list(pictures(made))) == 12


async def test_a_name_that_has_to_be_escaped_is(record: Recorder) -> None:
    seen = await numbers(record(name="100% <b> & #1, 日本", seconds=2))
    assert [number for _, _, number in seen] == [0, 25]


async def test_pictures_of_another_shape_are_framed(record: Recorder, tmp_path: Path) -> None:
    file = tmp_path / "turned.ts"
    parts = [record.clips.get(container="ts", audio="", seconds=2, **size) for size in ({}, {"width": 160, "height": 320})]
    shift = 0
    with av.open(str(file), "w", format="mpegts") as output:
        with av.open(str(parts[0])) as source:
            stream = output.add_stream_from_template(source.streams.video[0])
        for part in parts:
            with av.open(str(part)) as source:
                for packet in source.demux(video=0):
                    if packet.dts is not None and packet.pts is not None:
                        packet.stream = stream
                        packet.dts, packet.pts = packet.dts + shift, packet.pts + shift
                        output.mux(packet)
            shift += 2 * 90_000
    shown = [picture for _, _, picture in pictures(await make_sprites(file))]
    assert {picture.shape for picture in shown} == {(96, 160)}
    assert len(shown) == 4
    assert shown[2][:, :50].max() < 20
    assert frame_number(shown[2][:, 56:104]) == 0
    assert frame_number(shown[3][:, 56:104]) == 25


async def test_what_has_no_picture_is_refused(record: Recorder, tmp_path: Path) -> None:
    with pytest.raises(SpritesError, match="no picture"):
        await make_sprites(record(video=""))
    (tmp_path / "noise.mp4").write_bytes(b"noise" * 1000)
    with pytest.raises(SpritesError, match=r"^Invalid data found"):
        await make_sprites(tmp_path / "noise.mp4")
    for nothing in ("nothing.mp4", "nothing"):
        with pytest.raises(SpritesError, match=r"^No such file or directory$"):
            await make_sprites(tmp_path / nothing)
    assert not [entry for entry in os.listdir(tmp_path) if entry.endswith(".vtt")]


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4", "list.ts", "list.txt"])
async def test_a_list_of_addresses_is_not_followed(record: Recorder, tmp_path: Path, name: str) -> None:
    target = record(container="ts")
    (tmp_path / name).write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:12\n#EXTINF:12,\n{target}\n#EXT-X-ENDLIST\n")
    with pytest.raises(SpritesError):
        await make_sprites(tmp_path / name)


async def test_a_folder_that_takes_nothing_is_told(record: Recorder) -> None:
    file = record()
    sheet_file(file, 1).mkdir()
    with pytest.raises(SpritesError, match=r"^Is a directory: show-20260101-120000\.sprites-1\.jpg"):
        await make_sprites(file)
    assert not vtt_file(file).exists()


async def test_it_does_not_write_through_a_link(record: Recorder, tmp_path: Path) -> None:
    file = record()
    treasure = tmp_path / "treasure"
    treasure.write_text("gold")
    sheet = sheet_file(file, 1)
    sheet.with_name(f"{sheet.name}.part").symlink_to(treasure)
    with pytest.raises(SpritesError):
        await make_sprites(file)
    assert treasure.read_text() == "gold"


class Said:
    """The server's end of a worker: what that said."""

    def __init__(self) -> None:
        self.notes: list[dict[str, object]] = []

    def send(self, frame: Frame) -> None:
        assert isinstance(frame, Note)
        self.notes.append(dict(frame.values))


@pytest.mark.parametrize("full_for", [".jpg.part", ".vtt.part"])
async def test_a_full_disk_keeps_nothing_of_them(record: Recorder, monkeypatch: pytest.MonkeyPatch, full_for: str) -> None:
    file, said = record(), Said()
    opened, fdopen = os.open, os.fdopen
    full: set[int] = set()

    def open_one(name: str | Path, *how: int) -> int:
        descriptor = opened(name, *how)
        full.update([descriptor] if str(name).endswith(full_for) else [])
        return descriptor

    def write_to(descriptor: int, mode: str) -> IO[bytes]:
        # As on a full disk: the file is there, nothing goes in.
        return fdopen(os.dup2(os.open("/dev/full", os.O_WRONLY), descriptor) if descriptor in full else descriptor, mode)

    monkeypatch.setattr(sprites_worker.os, "open", open_one)
    monkeypatch.setattr(sprites_worker.os, "fdopen", write_to)
    sprites_worker.work({"file": str(file)}, cast("Pipe", said), iter(()))
    assert said.notes[-1] == {"failure": "No space left on device", "again": True, "nothing": False}
    monkeypatch.undo()
    (file.parent / "other.sprites.vtt.part").touch()
    monkeypatch.setattr(sprites, "MODULE", "tests.mediaserver.worker.odd_jobs")  # which makes none, however long it takes
    with pytest.raises(SpritesError, match="not done within"):
        await make_sprites(file, patience=0.01)
    assert {entry.name for entry in file.parent.iterdir()} == {file.name, "other.sprites.vtt.part"}


async def test_what_takes_too_long_is_ended(tmp_path: Path) -> None:
    # A pipe that nobody writes to: the worker hangs in it.
    os.mkfifo(tmp_path / "endless.ts")
    with pytest.raises(SpritesError, match="not done within"):
        await make_sprites(tmp_path / "endless.ts", patience=0.01)
    await until_workers(0)


def workers() -> list[psutil.Process]:
    """Those that run now; one that ends while we look does not count."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [child] if sprites.MODULE in child.cmdline() else []
    return found


async def until_workers(count: int) -> list[psutil.Process]:
    """Wait until so many run."""
    async with asyncio.timeout(PATIENCE):
        while len(found := workers()) != count:  # noqa: ASYNC110 - their start announces nothing
            await asyncio.sleep(0.01)
    return found


async def test_a_worker_that_dies_is_told(record: Recorder, tmp_path: Path) -> None:
    # A pipe that nobody writes to: the worker hangs in it until it is killed.
    os.mkfifo(tmp_path / "endless.ts")
    making = asyncio.ensure_future(make_sprites(tmp_path / "endless.ts"))
    (worker,) = await until_workers(1)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(SpritesError, match="status -9"):
        await making


async def test_the_queue_makes_one_after_another_and_outlives_failures(record: Recorder, tmp_path: Path) -> None:
    queue = SpriteQueue(asyncio.get_running_loop().create_task)
    files = [record(name=f"show-{number}", seconds=2) for number in range(3)]
    most = 0
    for file in (files[0], tmp_path / "nothing.mp4", *files[1:]):
        queue.add(file)
    idle = asyncio.ensure_future(queue.idle())
    async with asyncio.timeout(PATIENCE):
        while not idle.done():
            most = max(most, len(workers()))
            await asyncio.sleep(0.005)
    assert most == 1
    assert all(vtt_file(file).exists() for file in files)
    await queue.close()


async def test_that_there_is_nothing_to_make_them_of_is_no_warning(
    record: Recorder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    queue = SpriteQueue(asyncio.get_running_loop().create_task)
    files = [record(name="sound", video=""), record(name="sound", video="", container="flv"), tmp_path / "noise.mp4"]
    files[-1].write_bytes(b"noise" * 1000)
    for file in files:
        file.with_name(file.name + SPRITES_SUFFIX).touch()
        queue.add(file)
    await queue.idle()
    (told,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert told.facts == {"path": str(files[-1]), "reason": "Invalid data found when processing input"}  # type: ignore[attr-defined]
    assert set(os.listdir(tmp_path)) == {file.name for file in files}, "and nobody tries again"
    await queue.close()


async def test_a_queue_that_is_closed_ends_its_worker(record: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sprites, "END_PATIENCE", 0.1)  # it hangs
    os.mkfifo(tmp_path / "endless.ts")
    queue = SpriteQueue(asyncio.get_running_loop().create_task)
    queue.add(tmp_path / "endless.ts")
    queue.add(record())
    await until_workers(1)
    await queue.close()
    await until_workers(0)
    queue.add(record())
    await queue.idle()
    assert not [entry for entry in os.listdir(tmp_path) if entry.endswith(".vtt")]


async def test_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch, record: Recorder, tmp_path: Path) -> None:
    monkeypatch.setattr(sprites, "MAX_WAITING", 1)
    queue = SpriteQueue(asyncio.get_running_loop().create_task)
    for number in range(2):
        queue.add(record(name=f"show-{number}", seconds=2))
    await queue.idle()
    assert not vtt_file(tmp_path / "show-1.mp4").exists()
    assert vtt_file(tmp_path / "show-0.mp4").exists()


def test_the_command_line_makes_them(record: Recorder, tmp_path: Path) -> None:
    file = record()
    command = [sys.executable, "-m", "mediaserver", "recording", "sprites", file.name]
    result = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{vtt_file(file)}: 12 pictures in 1 sheets\n"
    assert len(cues(vtt_file(file))) == 12
    command[-1] = "nothing.mp4"
    result = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == "nothing.mp4: No such file or directory\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "00:00:00.000"), (59.9996, "00:01:00.000"), (3661.5, "01:01:01.500"), (360_000, "100:00:00.000")]
)
def test_times_of_cues(seconds: float, text: str) -> None:
    assert sprites_worker._clock(seconds) == text
