"""The worker's side: ``main(work)`` in a module that is run as ``python -m MODULE DESCRIPTOR``."""

import os
import resource
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping

from mediaserver.worker.frames import Frame, FrameReader, Note, encode

#: Media comes first: the server's own process must not wait for a worker's.
NICENESS = 10

_READ_SIZE = 256 * 1024


class Pipe:
    """The socket to the server, read and written without a loop: a worker has nothing else to do. Any thread may send."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._reader = FrameReader()

    def __iter__(self) -> Iterator[Frame]:
        """Every frame that the server sends, until it closes the socket."""
        while data := self._receive():
            yield from self._reader.receive(data)

    def send(self, frame: Frame) -> None:
        """Give ``frame`` to the server; waits while that is busy. Raises BrokenPipeError when it is gone."""
        data = encode(frame)
        try:
            with self._sending:
                self._connection.sendall(data)
        except ConnectionResetError as error:
            # It closed before it had read everything.
            raise BrokenPipeError(error.errno, error.strerror) from None

    def _receive(self) -> bytes:
        try:
            return self._connection.recv(_READ_SIZE)
        except ConnectionResetError:
            return b""


def end_with_server(frames: Iterator[Frame]) -> None:
    """End this process when the server's end of the socket is closed, whatever it is at: for a worker that expects to be told
    nothing more. ``frames`` are what ``work`` is given."""

    def wait() -> None:
        for _ in frames:
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def main(work: Callable[[Mapping[str, object], Pipe, Iterator[Frame]], None]) -> None:
    """Run ``work(settings, pipe, frames)`` at a low priority, and within ``settings["memory"]`` bytes (absent: no limit)."""
    pipe = Pipe(socket.socket(fileno=int(sys.argv[1])))
    frames = iter(pipe)
    first = next(frames, None)
    if not isinstance(first, Note):
        return
    os.nice(NICENESS)
    memory = first.values.get("memory")
    if isinstance(memory, int) and memory:
        # Not the address space: drivers of graphics cards reserve far more of that than they use.
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    try:
        work(first.values, pipe, frames)
    except BrokenPipeError:
        return  # the server is gone, or wants us no more
