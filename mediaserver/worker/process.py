"""The server's side of a worker: its process, and a bounded queue to it. Runs on the event loop and never waits."""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from mediaserver.worker.environment import environment
from mediaserver.worker.frames import Frame, FrameReader, Note, TrackFrame, encode
from protocols.errors import RemoteProtocolError

#: Lines of what a worker wrote to its standard error that are kept for the log.
LAST_WORDS = 20
#: The longest line of it, in bytes.
LONGEST_LINE = 1000

#: Bytes of orders that may wait for a process beyond its backlog: one that reads none of so many hangs.
ORDER_ROOM = 16 << 20

#: Seconds that a process may take to end when it is killed.
KILL_PATIENCE = 2.0

_ROOT = Path(__file__).parents[2]


class WorkerHandler(Protocol):
    """Who is told what a worker says."""

    def on_frame(self, frame: Frame) -> None:
        """One frame came."""

    def on_exit(self, status: int, words: str) -> None:
        """The process is gone: its exit status (negative: the signal that ended it) and the last lines that it wrote. Once."""


class _Child(asyncio.SubprocessProtocol):
    """The process itself: what it writes to its standard error, and its end."""

    def __init__(self) -> None:
        self.words: deque[str] = deque(maxlen=LAST_WORDS)
        self.silent = asyncio.Event()
        self.exited = asyncio.Event()
        self._rest = b""

    def pipe_data_received(self, fd: int, data: bytes) -> None:  # noqa: ARG002  there is only the one
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:LONGEST_LINE]
        self._keep(lines)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002
        self._keep([self._rest] if self._rest else [])
        self.silent.set()

    def process_exited(self) -> None:
        self.exited.set()

    def _keep(self, lines: list[bytes]) -> None:
        self.words.extend(line[:LONGEST_LINE].decode("utf-8", "replace").rstrip() for line in lines[-LAST_WORDS:])


def _reap(process: asyncio.SubprocessTransport) -> None:
    """Wait for a process that was killed, without a loop."""
    popen: subprocess.Popen[bytes] | None = process.get_extra_info("subprocess")
    if popen is not None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            popen.wait(KILL_PATIENCE)


class Worker(asyncio.Protocol):
    """One child process that runs ``module`` (see ``worker.child``), told ``settings`` first.

    ``max_backlog`` is how many bytes may wait for it. It ends when its socket closes: with the server, whatever ends that.
    """

    def __init__(self, module: str, settings: Mapping[str, object], handler: WorkerHandler, max_backlog: int) -> None:
        self.max_backlog = max_backlog
        self._module = module
        self._settings = settings
        self._handler = handler
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._process: asyncio.SubprocessTransport | None = None
        self._task: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()

    async def start(self) -> None:
        """Start the process. Raises OSError."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        try:
            self._process, child = await loop.subprocess_exec(
                _Child,
                sys.executable,
                "-m",
                self._module,
                str(theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                cwd=_ROOT,
                env=environment(),
                start_new_session=True,  # Ctrl-C is the server's; workers end with their sockets
            )
            ours.setblocking(False)
            await loop.create_unix_connection(lambda: self, sock=ours)
        except BaseException:
            ours.close()
            if self._process is not None:
                self._process.close()
                _reap(self._process)
            raise
        finally:
            theirs.close()
        self.send(Note(self._settings))
        self._task = loop.create_task(self._watch(self._process, child))

    @property
    def pid(self) -> int:
        """The process's id, 0 before it is started."""
        return 0 if self._process is None else self._process.get_pid()

    @property
    def backlog(self) -> int:
        """Bytes that wait for the process to read them."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def send(self, frame: Frame) -> bool:
        """Give ``frame`` to the process. False if it is gone, or too much waits for it: ``frame`` is dropped then. Orders wait
        all the same, up to ORDER_ROOM bytes; with one beyond that the process is ended."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        beyond = transport.get_write_buffer_size() - self.max_backlog
        if beyond > 0 and not isinstance(frame, Note | TrackFrame):
            return False
        if beyond > ORDER_ROOM:
            self.kill()
            return False
        transport.write(encode(frame))
        return True

    async def close(self, patience: float) -> None:
        """Tell the process to end by closing its socket; kill it if it has not after ``patience`` seconds. Harmless twice."""
        if self._transport is not None:
            self._transport.close()
        if self._process is None or self._task is None:
            return
        done, _ = await asyncio.wait((self._task,), timeout=patience)
        if not done:
            self.kill()
            # One that hangs in a driver cannot even be killed: nobody waits for that.
            await asyncio.wait((self._task,), timeout=KILL_PATIENCE)

    def kill(self) -> None:
        """End the process at once; ``on_exit`` follows."""
        if self._process is not None and self._process.get_returncode() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _watch(self, process: asyncio.SubprocessTransport, child: _Child) -> None:
        try:
            await child.silent.wait()
            await child.exited.wait()
            # What it said last may still be in the socket, which ends behind it.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KILL_PATIENCE):
                    await self._lost.wait()
        except asyncio.CancelledError:
            # The loop ends before the process has: nobody else would wait for it.
            process.close()
            _reap(process)
            raise
        finally:
            process.close()
            if self._transport is not None:
                self._transport.close()
        self._handler.on_exit(process.get_returncode() or 0, "\n".join(child.words))

    # -- asyncio.Protocol -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._reader.receive(data)
        except RemoteProtocolError:
            self.kill()
            return
        for frame in frames:
            self._handler.on_frame(frame)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The process closed its end: it is about to end."""
        self._lost.set()
