"""The server's side of the worker that makes still images of keyframes. Orders go one at a time."""

import asyncio
from collections.abc import Sequence

from mediaserver.errors import EngineError
from mediaserver.worker.frames import Blob, Frame, Note, PacketFrame, TrackFrame
from mediaserver.worker.process import Worker
from protocols.media import Packet, Track

MODULE = "mediaserver.packaging.stills_worker"
#: Seconds that the process has for its start: a machine that is short of time takes long to read its libraries.
START_PATIENCE = 30.0
#: Seconds that an order may take; a second is much.
ORDER_PATIENCE = 5.0
#: Seconds that the process has for its end once it is told.
END_PATIENCE = 1.0
#: Bytes of memory for it: a keyframe of 8192x8192 pixels and its decoder.
MEMORY = 1 << 30
#: Bytes that may wait for it. Only one order is on its way at a time.
_BACKLOG = 1 << 20


class UndecodableError(EngineError):
    """The keyframe gives no picture."""


class WorkerLostError(EngineError):
    """The worker ended, or had to be ended, over an order."""


class Stills:
    """One worker process, from ``start`` to ``close`` or its own end (``gone``)."""

    def __init__(self, module: str = MODULE) -> None:
        self.gone = False
        self._worker = Worker(module, {"memory": MEMORY}, self, _BACKLOG)
        self._images: dict[int, bytes] = {}
        self._done: asyncio.Future[dict[int, bytes]] | None = None

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._worker.pid

    async def start(self) -> None:
        """Start the process, and wait until it takes orders. Raises OSError, or WorkerLostError where it never does."""
        self._done = asyncio.get_running_loop().create_future()
        await self._worker.start()
        await self._wait(self._done, START_PATIENCE)

    async def make(self, track: Track, keyframe: Packet, widths: Sequence[int]) -> dict[int, bytes]:
        """JPEG images of ``keyframe``, one for each of ``widths`` (pixels; never upscaled).

        Raises:
            UndecodableError: the keyframe's fault.
            WorkerLostError: the process died, or took too long and was killed.
        """
        self._images = {}
        order: tuple[Frame, ...] = (Note({"widths": list(widths)}), TrackFrame(0, track), PacketFrame(0, keyframe))
        if not all(self._worker.send(frame) for frame in order):
            await self.close(0.0)
            raise WorkerLostError("it is gone")
        self._done = asyncio.get_running_loop().create_future()
        return await self._wait(self._done, ORDER_PATIENCE)

    async def _wait(self, done: asyncio.Future[dict[int, bytes]], patience: float) -> dict[int, bytes]:
        try:
            async with asyncio.timeout(patience):
                return await done
        except TimeoutError:
            await self.close(0.0)
            raise WorkerLostError("it took too long") from None
        finally:
            self._done = None

    async def close(self, patience: float = END_PATIENCE) -> None:
        """End the process. Harmless twice."""
        await self._worker.close(patience)

    # -- WorkerHandler --------------------------------------------------------------------------------------------------

    def on_frame(self, frame: Frame) -> None:
        match frame:
            case Blob(width, image):
                self._images[width] = image
            case Note(values) if self._done is not None and not self._done.done():
                failure = values.get("failure")
                if failure:
                    self._done.set_exception(UndecodableError(str(failure)))
                else:
                    self._done.set_result(self._images)
            case _:
                self._worker.kill()

    def on_exit(self, status: int, words: str) -> None:
        self.gone = True
        if self._done is not None and not self._done.done():
            self._done.set_exception(WorkerLostError(f"it ended with status {status}: {words[-200:]}"))
