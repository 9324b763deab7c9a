"""Connections that begin RTMP and never go on: how long the server keeps them."""

import os
import select
import socket
import time
from dataclasses import dataclass
from typing import Final

from bench.load.process import Control, Window, raise_descriptor_limit
from protocols.rtmp.client import ClientSession
from protocols.rtmp.session import ServerSession, SessionLimits

#: Descriptors of a load process beside its connections.
_OWN_DESCRIPTORS: Final = 64
#: Seconds after the window in which all must be gone.
_PATIENCE: Final = 30.0
_NICENESS: Final = 19


@dataclass(frozen=True, slots=True)
class AttackSpec:
    """``connections`` to ``port``, opened evenly over the window."""

    port: int
    connections: int


@dataclass(frozen=True, slots=True)
class AttackReport:
    """How many were opened, how many the server had closed in the end, and when the last of these went: seconds after the
    last one was opened."""

    opened: int
    closed: int
    gone_seconds: float


def openings() -> tuple[bytes, ...]:
    """What each says before it falls silent: nothing, half a handshake, a first half, a whole one, a connect with it."""
    client, server = ClientSession("live", "rtmp://127.0.0.1/live"), ServerSession(SessionLimits())
    client.start()
    hello = client.data_to_send()
    server.receive_data(hello)
    client.receive_data(server.data_to_send())
    answer = client.data_to_send()
    return b"", hello[:700], hello, hello + answer[:1536], hello + answer


class Attack:
    """The connections (Gauge)."""

    def __init__(self, spec: AttackSpec) -> None:
        self._port = spec.port
        self._wanted = min(spec.connections, raise_descriptor_limit() - _OWN_DESCRIPTORS)
        self._openings = openings()
        self._links: dict[int, socket.socket] = {}
        self._poll = select.epoll()
        self._window: Window | None = None
        self._opened = 0
        self._last_opened = self._last_closed = 0.0

    def begin(self, window: Window) -> None:
        self._window = window

    def end(self) -> None:
        self._open(self._wanted)

    def go_on(self, now: int) -> None:
        """Open what is due by ``now`` (monotonic, ns)."""
        window = self._window
        if window is not None:
            self._open(min(self._wanted, self._wanted * (now - window.start) // (window.end - window.start)))

    def _open(self, upto: int) -> None:
        while self._opened < upto:
            link = socket.create_connection(("127.0.0.1", self._port), timeout=10)
            link.sendall(self._openings[self._opened % len(self._openings)])
            link.setblocking(False)
            self._links[link.fileno()] = link
            self._poll.register(link, select.EPOLLIN)
            self._opened += 1
            self._last_opened = time.monotonic()
            if self._opened % 16 == 0:
                self.read(0.0)

    def read(self, timeout: float) -> None:
        """Take what the server says, and note who was sent away."""
        for descriptor, _ in self._poll.poll(timeout):
            link = self._links[descriptor]
            try:
                gone = not link.recv(65536)
            except OSError:
                gone = True
            if gone:
                self._poll.unregister(descriptor)
                del self._links[descriptor]
                link.close()
                self._last_closed = time.monotonic()

    def report(self) -> AttackReport:
        until = time.monotonic() + _PATIENCE
        while self._links and time.monotonic() < until:
            self.read(0.2)
        return AttackReport(self._opened, self._opened - len(self._links), self._last_closed - self._last_opened)


def attack(spec: AttackSpec, control: Control) -> None:
    """The work of a LoadProcess."""
    # The good players are measured on this very core: what they wait for must be the server, not whoever opens connections.
    os.nice(_NICENESS)
    crowd = Attack(spec)
    control.ready(crowd)
    while not control.stopped:
        if select.select([control], [], [], 0.002)[0]:
            control.read()
        now = time.monotonic_ns()
        crowd.go_on(now)
        control.tick(now)
        crowd.read(0.0)
