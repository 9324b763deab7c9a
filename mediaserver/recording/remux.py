"""Recordings in other containers as a plain MP4, without coding anything anew: by a worker process of low priority."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from mediaserver.errors import EngineError
from mediaserver.worker.frames import Frame, Note
from mediaserver.worker.process import Worker

MODULE = "mediaserver.recording.remux_worker"
#: Seconds in which it must say something: it does so every few hundred packets, and when the tables go to the front, which means
#: that the whole file is copied once more, at this many bytes a second at the least.
PATIENCE, SLOWEST_DISK = 60.0, 10e6
#: Seconds that the process has for its end.
END_PATIENCE = 1.0
#: Bytes of memory for it: it keeps a table of all packets.
MEMORY = 2 << 30
_BACKLOG = 1 << 16


class RemuxError(EngineError):
    """The recording cannot be had as a plain MP4; it says why."""


async def remux(source: Path, target: Path) -> int:
    """Write the recording ``source`` (ts, flv, mkv) to ``target``, which appears when it is whole. Its size in bytes.

    Raises RemuxError, OSError.
    """
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    settings, size = await asyncio.to_thread(_prepare, source, part)
    try:
        await _write(settings, PATIENCE + size / SLOWEST_DISK)
        return await asyncio.to_thread(_publish, part, target)
    finally:
        await asyncio.to_thread(part.unlink, missing_ok=True)


def _prepare(source: Path, part: Path) -> tuple[dict[str, object], int]:
    """Make ``part``, which must not be there. What the worker is told, and the bytes of ``source``."""
    with source.open("rb") as recording, part.open("xb"):
        size = os.fstat(recording.fileno()).st_size
    # The worker has a folder of its own.
    return {"memory": MEMORY, "file": str(source.absolute()), "target": str(part.absolute())}, size


def _publish(part: Path, target: Path) -> int:
    with part.open("rb") as movie:
        os.fsync(movie.fileno())
        size = os.fstat(movie.fileno()).st_size
    part.replace(target)
    return size


async def _write(settings: Mapping[str, object], patience: float) -> None:
    job = _Job()
    worker = Worker(MODULE, settings, job, _BACKLOG)
    try:
        await worker.start()
    except OSError as error:
        raise RemuxError(f"no process for it: {error.strerror}") from None
    try:
        while not job.done.done():
            job.heard.clear()
            async with asyncio.timeout(patience):
                await job.heard.wait()
        job.done.result()
    except TimeoutError:
        worker.kill()
        raise RemuxError(f"nothing was heard of it for {patience:.0f} s") from None
    finally:
        job.done.cancel()
        await worker.close(END_PATIENCE)


class _Job:
    """The WorkerHandler of one worker."""

    def __init__(self) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heard = asyncio.Event()

    def on_frame(self, frame: Frame) -> None:
        self.heard.set()
        if self.done.done() or not isinstance(frame, Note):
            return
        match frame.values:
            case {"failure": reason}:
                self.done.set_exception(RemuxError(str(reason)))
            case {"done": True}:
                self.done.set_result(None)

    def on_exit(self, status: int, words: str) -> None:
        self.heard.set()
        if not self.done.done():
            self.done.set_exception(RemuxError(f"its process ended with status {status}: {words[-200:]}"))
