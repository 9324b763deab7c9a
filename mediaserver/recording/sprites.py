"""Sprite sheets of recordings: small pictures in a grid, and a WebVTT file that says when each stands for the recording, so
that a player can show where its seek bar leads. Made by a worker process of low priority, one for each recording.
"""

import asyncio
import contextlib
import glob
import logging
import re
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mediaserver.errors import EngineError
from mediaserver.events import Event, RecordingFinished
from mediaserver.ports import EventSink
from mediaserver.recording.file import SPRITES_SUFFIX, find_marked
from mediaserver.worker.frames import Frame, Note
from mediaserver.worker.process import Worker

log = logging.getLogger(__name__)

MODULE = "mediaserver.recording.sprites_worker"
#: FFmpeg's demuxer for each kind of file.
FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".ts": "mpegts", ".flv": "flv", ".mkv": "matroska", ".webm": "matroska"}
#: Seconds that one recording may take: hours of video are read from a disk in less.
PATIENCE = 1800.0
#: Seconds that the process has for its end.
END_PATIENCE = 1.0
#: Bytes of memory for it.
MEMORY = 1 << 30
#: What is being written has this behind its name.
PART_SUFFIX = ".part"
_PART = re.compile(rf"(.+)\.sprites(?:-\d+\.jpg|\.vtt){re.escape(PART_SUFFIX)}")
#: Recordings that may wait for their turn.
MAX_WAITING = 1000
_BACKLOG = 1 << 16


class SpritesError(EngineError):
    """No sprite sheets could be made; it says why. ``again``: not of this file's making, so another try may do. ``nothing``:
    there is nothing to make them of, for the recording is sound alone."""

    def __init__(self, reason: str, *, again: bool = False, nothing: bool = False) -> None:
        super().__init__(reason)
        self.again, self.nothing = again, nothing


@dataclass(frozen=True, slots=True)
class Sprites:
    """What was made: the WebVTT file, the sheets that it names, and how many pictures are in them."""

    vtt: Path
    sheets: tuple[Path, ...]
    pictures: int


def vtt_file(file: Path) -> Path:
    """The WebVTT file of the recording ``file``: beside it."""
    return file.with_name(f"{file.stem}.sprites.vtt")


def sheet_file(file: Path, number: int) -> Path:
    """Sheet ``number`` (from 1) of the recording ``file``."""
    return file.with_name(f"{file.stem}.sprites-{number}.jpg")


async def make_sprites(file: Path, patience: float = PATIENCE) -> Sprites:
    """Make the sheets of ``file``, a finished recording, in a process of its own; those of before are replaced.

    Raises:
        SpritesError: no picture in it, no room on the disk, not done within ``patience`` seconds.
    """
    job = _Job(file)
    worker = Worker(MODULE, {"memory": MEMORY, "file": str(job.file)}, job, _BACKLOG)
    try:
        await worker.start()
    except OSError as error:
        raise SpritesError(f"no process for it: {error.strerror}", again=True) from None
    try:
        async with asyncio.timeout(patience):
            return await job.done
    except TimeoutError:
        worker.kill()
        raise SpritesError(f"not done within {patience:g} s") from None
    finally:
        await worker.close(END_PATIENCE)
        await asyncio.to_thread(_discard, file.parent.glob(f"{glob.escape(file.stem)}.sprites*{PART_SUFFIX}"))


def _discard(files: Iterable[Path]) -> None:
    """Remove what was begun and is no use to anybody."""
    for file in files:
        with contextlib.suppress(OSError):
            file.unlink()


class _Job:
    """The WorkerHandler of one worker."""

    def __init__(self, file: Path) -> None:
        self.done: asyncio.Future[Sprites] = asyncio.get_running_loop().create_future()
        # The worker has a folder of its own.
        self.file = file.absolute()

    def on_frame(self, frame: Frame) -> None:
        if self.done.done() or not isinstance(frame, Note):
            return
        match frame.values:
            case {"failure": reason, "again": again, "nothing": nothing}:
                self.done.set_exception(SpritesError(str(reason), again=bool(again), nothing=bool(nothing)))
            case {"sheets": int(sheets), "pictures": int(pictures)}:
                files = tuple(sheet_file(self.file, number + 1) for number in range(sheets))
                self.done.set_result(Sprites(vtt_file(self.file), files, pictures))

    def on_exit(self, status: int, words: str) -> None:
        if not self.done.done():
            self.done.set_exception(SpritesError(f"its process ended with status {status}: {words[-200:]}"))


class SpriteQueue:
    """Makes the sprites of one recording after another. What could not be made is logged. What is left when the server stops, or
    is beyond MAX_WAITING, keeps its wish (see ``file``), and is found by ``resume`` of the next one."""

    def __init__(self, spawn: Callable[[Coroutine[None, None, None]], "asyncio.Task[None]"]) -> None:
        self._spawn = spawn
        self._waiting: deque[Path] = deque()
        self._making: Path | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def resume(self, root: Path) -> None:
        """Make what was wished for below ``root`` and has not been made; remove what nobody goes on with."""
        for file in await asyncio.to_thread(_wished, root):
            self.add(file)

    def add(self, file: Path) -> None:
        """Make the sprites of ``file`` when its turn comes. Harmless twice."""
        if file == self._making or file in self._waiting:
            return
        if self._closed or len(self._waiting) >= MAX_WAITING:
            log.info("sprites_left_for_the_next_start", extra={"facts": {"path": str(file)}})
            return
        self._waiting.append(file)
        if self._task is None:
            self._task = self._spawn(self._work())

    async def idle(self) -> None:
        """Return when nothing is being made and nothing waits."""
        if self._task is not None:
            await asyncio.wait((self._task,))

    def shut(self) -> None:
        """Begin no more."""
        self._closed = True

    async def close(self) -> None:
        """Begin no more, and break off what is being made."""
        self.shut()
        if self._task is not None:
            self._task.cancel()
            await self.idle()

    async def _work(self) -> None:
        try:
            while self._waiting and not self._closed:
                self._making = self._waiting.popleft()
                await self._make(self._making)
        finally:
            self._task = self._making = None

    @staticmethod
    async def _make(file: Path) -> None:
        try:
            made = await make_sprites(file)
        except SpritesError as error:
            if not error.nothing:
                log.warning("sprites_failed", extra={"facts": {"path": str(file), "reason": str(error)}})
            if error.again:
                return
        else:
            log.info("sprites_made", extra={"facts": {"path": str(file), "pictures": made.pictures}})
        await asyncio.to_thread(_fulfil, file)


def _wished(root: Path) -> list[Path]:
    """The recordings below ``root`` whose sprites are to be made. What was begun of others is removed: its maker was cut off."""
    files = sorted(wish.with_name(wish.name.removesuffix(SPRITES_SUFFIX)) for wish in find_marked(root, SPRITES_SUFFIX))
    wished = {file.with_suffix("") for file in files}
    begun = ((part, _PART.fullmatch(part.name)) for part in find_marked(root, PART_SUFFIX))
    _discard(part for part, match in begun if match is not None and part.with_name(match[1]) not in wished)
    return files


def _fulfil(file: Path) -> None:
    """The wish of ``file`` is done with."""
    with contextlib.suppress(OSError):
        file.with_name(file.name + SPRITES_SUFFIX).unlink()


class SpritesOnFinish:
    """An EventSink that passes everything on to ``sink``, and each recording that is finished to ``queue`` as well."""

    def __init__(self, sink: EventSink, queue: SpriteQueue) -> None:
        self._sink, self._queue = sink, queue

    def emit(self, event: Event) -> None:
        """Never awaits and never raises."""
        self._sink.emit(event)
        if isinstance(event, RecordingFinished):
            self._queue.add(Path(event.path))


def main(files: Sequence[Path]) -> int:
    """The command line's: make the sprites of ``files``, print what was made. The exit status: 1 if one could not be made."""
    status = 0
    for file in files:
        try:
            made = asyncio.run(make_sprites(file))
        except SpritesError as error:
            sys.stderr.write(f"{file}: {error}\n")
            status = 1
        else:
            sys.stdout.write(f"{made.vtt}: {made.pictures} pictures in {len(made.sheets)} sheets\n")
    return status
