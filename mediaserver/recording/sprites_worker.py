"""The worker that makes sprite sheets of one recording: ``python -m mediaserver.recording.sprites_worker``, see ``sprites``.

It is told the ``file`` in its settings, tells of each picture with a Note, and at last ``sheets`` and ``pictures``, or why not.
"""

import contextlib
import errno
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import av
import numpy as np
import numpy.typing as npt

from mediaserver.recording.sprites import FORMATS, PART_SUFFIX, sheet_file, vtt_file
from mediaserver.worker import jpeg
from mediaserver.worker.child import Pipe, main
from mediaserver.worker.frames import Frame, Note

#: The width of a picture in pixels; columns and rows of a sheet.
WIDTH, COLUMNS, ROWS = 160, 10, 10
#: Pictures of one recording: where there would be more, they lie twice as far apart.
MAX_PICTURES = 400
#: Seconds between pictures of a short recording, at the least.
INTERVAL = 1.0
#: The largest picture that is decoded.
_MAX_PIXELS = 8192 * 8192


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture and when it is shown (seconds): RGB, shape (height, width, 3)."""

    at: float
    pixels: npt.NDArray[np.uint8]


class NoPicture(ValueError):
    """A recording of sound alone."""


def work(settings: Mapping[str, object], pipe: Pipe, _frames: Iterator[Frame]) -> None:
    """Make the sheets, and say how it went."""
    av.logging.set_level(None)
    file = Path(str(settings["file"]))
    try:
        # A server that is gone is found out by telling it something.
        tiles, duration = read_tiles(file, lambda: pipe.send(Note({})))
        sheets = write(file, tiles, duration)
    except (av.FFmpegError, OSError, ValueError, MemoryError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        pipe.send(Note({"failure": _words(error, file), "again": full, "nothing": isinstance(error, NoPicture)}))
    else:
        pipe.send(Note({"sheets": sheets, "pictures": len(tiles)}))


def _words(error: Exception, file: Path) -> str:
    """What is wrong, for who knows that it is about ``file``."""
    if isinstance(error, MemoryError):
        return "there is not enough memory for it"
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    other = error.filename if isinstance(error, OSError) and not isinstance(error, av.FFmpegError) else None
    return words if other is None or Path(other) == file else f"{words}: {Path(other).name}"


def read_tiles(file: Path, progress: Callable[[], None]) -> tuple[list[Tile], float]:
    """Keyframes of ``file`` at even distances, and its duration in seconds. A file that was cut off gives what it holds.

    Raises:
        NoPicture: it is sound alone.
        ValueError: there is no whole picture in it.
        OSError: it cannot be read.
        av.FFmpegError: it is not what its name says.
    """
    file.stat()  # what is not there has the wrong name in no other way
    format_name = FORMATS.get(file.suffix.lower())
    if format_name is None:
        raise ValueError("its name does not end like a recording's")
    collected = _Collected()
    # Its own format and nothing but a file: a list of addresses under another name is not followed.
    with av.open(f"file:{file}", format=format_name, options={"protocol_whitelist": "file"}) as container:
        if not container.streams.video:
            raise NoPicture("there is no picture in it")
        context = container.streams.video[0].codec_context
        context.thread_count, context.skip_frame = 1, "NONKEY"
        context.options = {"max_pixels": str(_MAX_PIXELS)}
        begin = (container.start_time or 0) / av.time_base if format_name == "mpegts" else 0.0
        try:
            for packet in container.demux(container.streams.video[0]):
                if packet.pts is None or packet.time_base is None:
                    continue
                at = max(0.0, float(packet.pts * packet.time_base) - begin)
                collected.reach(at + float((packet.duration or 0) * packet.time_base))
                if packet.is_keyframe and collected.wants(at):
                    collected.take(at, context, packet)
                    progress()
        except av.FFmpegError:
            if not collected.tiles:
                raise
    if not collected.tiles:
        raise ValueError("there is no whole picture in it")
    return collected.tiles, collected.end


class _Collected:
    """Tiles so far: the first keyframe of each interval. All of a size: that of the first."""

    def __init__(self) -> None:
        self.tiles: list[Tile] = []
        self.end = 0.0
        self._interval = INTERVAL

    def reach(self, end: float) -> None:
        """The recording lasts until ``end`` at least."""
        self.end = max(self.end, end)

    def wants(self, at: float) -> bool:
        """Whether a keyframe at ``at`` is the first of its interval."""
        return not self.tiles or at // self._interval > self.tiles[-1].at // self._interval

    def take(self, at: float, context: av.VideoCodecContext, packet: "av.Packet[Any]") -> None:
        """Decode ``packet``; what gives no whole picture is passed over."""
        try:
            decoded = [*context.decode(packet), *context.decode(None)]
        except av.FFmpegError:
            decoded = []
        context.flush_buffers()
        if not decoded or decoded[0].is_corrupt:
            return
        aspect = context.sample_aspect_ratio
        if aspect and decoded[0].rotation % 180:
            aspect = 1 / aspect
        frame = jpeg.upright(decoded[0])
        small = jpeg.scaled(frame, WIDTH, aspect)
        pixels = small.to_ndarray(format="rgb24")
        if self.tiles and pixels.shape != self.tiles[0].pixels.shape:
            height, width, _ = self.tiles[0].pixels.shape
            if small.height > height or small.width > width:
                across = min(width, small.width * height // small.height)
                pixels = jpeg.scaled(frame, across, aspect).to_ndarray(format="rgb24")
            pixels = _framed(pixels[:height, :width], height, width)
        self.tiles.append(Tile(at, pixels.astype(np.uint8)))
        if len(self.tiles) > MAX_PICTURES:
            self._thin()

    def _thin(self) -> None:
        tiles, self.tiles = self.tiles, []
        self._interval *= 2
        for tile in tiles:
            if self.wants(tile.at):
                self.tiles.append(tile)


def _framed(pixels: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[Any]:
    """A picture of another shape, in the middle of a black one."""
    framed = np.zeros((height, width, 3), np.uint8)
    top, left = (height - pixels.shape[0]) // 2, (width - pixels.shape[1]) // 2
    framed[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return framed


def write(file: Path, tiles: Sequence[Tile], duration: float) -> int:
    """Write the sheets of ``file`` beside it, and the WebVTT file last, which names them. Returns how many sheets.

    Raises OSError, and leaves no sheet that no WebVTT file names.
    """
    per_sheet = COLUMNS * ROWS
    sheets = math.ceil(len(tiles) / per_sheet)
    try:
        for number in range(sheets):
            canvas = _canvas(tiles[number * per_sheet : (number + 1) * per_sheet])
            _replace(sheet_file(file, number + 1), jpeg.encode(av.VideoFrame.from_ndarray(canvas, "rgb24")))
        _replace(vtt_file(file), cues(file, tiles, duration).encode())
    except OSError:
        if not vtt_file(file).exists():
            for number in range(sheets):
                with contextlib.suppress(OSError):
                    sheet_file(file, number + 1).unlink()
        raise
    number = sheets + 1
    while (left_over := sheet_file(file, number)).exists():
        left_over.unlink()
        number += 1
    return sheets


def cues(file: Path, tiles: Sequence[Tile], duration: float) -> str:
    """The WebVTT text (W3C WebVTT, 4): from when to when each tile stands for the recording, and where it is (Media Fragments
    URI 1.0, 4.2.2)."""
    height, width, _ = tiles[0].pixels.shape
    lines = ["WEBVTT", ""]
    for index, tile in enumerate(tiles):
        begin = tile.at if index else 0.0
        end = tiles[index + 1].at if index + 1 < len(tiles) else max(duration, begin + 0.001)
        sheet, place = divmod(index, COLUMNS * ROWS)
        row, column = divmod(place, COLUMNS)
        name = quote(sheet_file(file, sheet + 1).name)
        lines += [f"{_clock(begin)} --> {_clock(end)}", f"{name}#xywh={column * width},{row * height},{width},{height}", ""]
    return "\n".join(lines)


def _canvas(tiles: Sequence[Tile]) -> npt.NDArray[np.uint8]:
    height, width, _ = tiles[0].pixels.shape
    rows, columns = math.ceil(len(tiles) / COLUMNS), min(COLUMNS, len(tiles))
    canvas = np.zeros((rows * height, columns * width, 3), np.uint8)
    for place, tile in enumerate(tiles):
        row, column = divmod(place, COLUMNS)
        canvas[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile.pixels
    return canvas


def _clock(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02}.{milliseconds % 1000:03}"


def _replace(file: Path, data: bytes) -> None:
    """Whole or not at all: who reads it meanwhile sees the old one."""
    part = file.with_name(f"{file.name}{PART_SUFFIX}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb") as output:
        output.write(data)
    part.replace(file)


if __name__ == "__main__":
    main(work)
