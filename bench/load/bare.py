"""What a server cannot do without, and nothing else: pictures written to sockets, connections taken.

What these cost is the kernel's, on this machine, under this load: no server that gives each picture to each player on its own
comes below the first, and beside a crowd that knocks at the second, good players wait for nothing that their server does.
"""

import select
import socket
import time
from dataclasses import dataclass
from typing import Final

from bench.load.clip import FRAME_RATE
from bench.load.play import RECEIVE_BUFFER
from bench.load.process import Control, Window

_FRAME_NS: Final = 1_000_000_000 // FRAME_RATE
_SINK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class BareSpec:
    """Whoever listens on ``port`` gets ``bitrate`` (bit/s) over ``players`` connections each, a write for each picture."""

    port: int
    players: int
    bitrate: float


@dataclass(frozen=True, slots=True)
class BareReport:
    """What the writes of the window took, and gave."""

    cpu_seconds: float
    bytes_sent: int


class _Writer:
    """All connections, written to one after the other (Gauge)."""

    def __init__(self, spec: BareSpec) -> None:
        self._links = [socket.create_connection(("127.0.0.1", spec.port)) for _ in range(spec.players)]
        for link in self._links:
            link.setblocking(False)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._picture = bytes(round(spec.bitrate / 8 / FRAME_RATE))
        self._cpu = 0.0
        self._sent = self._sent_before = 0

    def begin(self, window: Window) -> None:  # noqa: ARG002 - a gauge's signature
        self._cpu, self._sent_before = time.process_time(), self._sent

    def end(self) -> None:
        self._cpu, self._sent = time.process_time() - self._cpu, self._sent - self._sent_before

    def report(self) -> BareReport:
        return BareReport(self._cpu, self._sent)

    def write(self) -> None:
        """One picture to each. BlockingIOError where the other side does not read."""
        for link in self._links:
            self._sent += link.send(self._picture)


def write(spec: BareSpec, control: Control) -> None:
    """Write until told to stop. Runs in its own process."""
    writer = _Writer(spec)
    control.ready(writer)
    due = time.monotonic_ns()
    while not control.stopped:
        now = time.monotonic_ns()
        control.tick(now)
        if now >= due:
            writer.write()
            due = max(due + _FRAME_NS, now)
        elif select.select([control], [], [], (due - now) / 1e9)[0]:
            control.read()


class _Reader:
    """Nothing to count (Gauge): what the writer got rid of has been read."""

    def begin(self, window: Window) -> None:
        """Nothing changes."""

    def end(self) -> None:
        """Nothing changes."""

    def report(self) -> None:
        """Nothing was counted."""


def take(port: int, control: Control) -> None:
    """Listen on ``port``; take who comes, and read and forget what they say, until told to stop. Runs in its own process."""
    sink = memoryview(bytearray(_SINK_BYTES))
    links: dict[int, socket.socket] = {}
    with socket.socket() as listener, select.epoll() as poll:
        # Accepted sockets have it from their listener.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        listener.setblocking(False)
        listener.bind(("127.0.0.1", port))
        listener.listen(socket.SOMAXCONN)
        poll.register(listener, select.EPOLLIN)
        poll.register(control, select.EPOLLIN)
        control.ready(_Reader())
        while not control.stopped:
            control.tick(time.monotonic_ns())
            for descriptor, _ in poll.poll():
                if (link := links.get(descriptor)) is not None:
                    if not link.recv_into(sink, 0, socket.MSG_TRUNC):
                        links.pop(descriptor).close()
                elif descriptor == listener.fileno():
                    link = listener.accept()[0]
                    link.setblocking(False)
                    links[link.fileno()] = link
                    poll.register(link, select.EPOLLIN)
                else:
                    control.read()
        for link in links.values():
            link.close()
