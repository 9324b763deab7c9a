"""People who ask the API: so many requests a second whatever the answers take, or each connection as fast as it is answered."""

import re
import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.load.process import Control, LoadError, Window

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_HEAD_LIMIT: Final = 65536
#: Connections at most where requests come at a rate: more wait than anybody would.
_MOST: Final = 256


@dataclass(frozen=True, slots=True)
class ApiSpec:
    """Whole requests, in turn. ``rate`` a second; 0: each of ``connections`` asks again as soon as it has its answer."""

    port: int
    requests: tuple[bytes, ...]
    connections: int
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class ApiReport:
    """What was answered within the window. Latencies in ms, from the moment when a request was due."""

    latencies: tuple[float, ...]
    bytes_received: int
    faults: tuple[str, ...]
    cpu_seconds: float


@dataclass(slots=True)
class _Link:
    """One connection, and since when (monotonic ns) it waits; 0: it does not."""

    socket: socket.socket
    due: int = 0
    buffer: bytearray = field(default_factory=bytearray)


class Askers:
    """All connections (Gauge)."""

    def __init__(self, spec: ApiSpec) -> None:
        self._spec = spec
        self.epoll = select.epoll()
        self._links: dict[int, _Link] = {}
        self._idle: deque[_Link] = deque()
        self._turn = 0
        self._window: Window | None = None
        self._next = 0
        self._clear()
        for _ in range(spec.connections):
            self._idle.append(self._dial())

    def _clear(self) -> None:
        self._latencies: list[float] = []
        self._bytes = 0
        self._faults: list[str] = []
        self._cpu = time.process_time()

    # -- the gauge -------------------------------------------------------------------------------------------------

    def begin(self, window: Window) -> None:
        self._clear()
        self._window, self._next = window, window.start

    def end(self) -> None:
        cpu = time.process_time() - self._cpu
        self._report = ApiReport(tuple(self._latencies), self._bytes, tuple(self._faults), cpu)

    def report(self) -> ApiReport:
        return self._report

    # -- the work --------------------------------------------------------------------------------------------------

    def _dial(self) -> _Link:
        link = _Link(socket.create_connection(("127.0.0.1", self._spec.port), timeout=10))
        link.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.socket.setblocking(False)
        self._links[link.socket.fileno()] = link
        self.epoll.register(link.socket, select.EPOLLIN)
        return link

    def go_on(self, now: int) -> None:
        """Ask what is due by ``now`` (monotonic, ns)."""
        window = self._window
        if window is None or now < window.start or now >= window.end:
            return
        if not self._spec.rate:
            while self._idle:
                self._ask(self._idle.popleft(), now)
            return
        while self._next <= now:
            due, self._next = self._next, self._next + round(1e9 / self._spec.rate)
            if not self._idle:
                if len(self._links) >= _MOST:
                    raise LoadError(f"{_MOST} requests wait for an answer")
                self._idle.append(self._dial())
            self._ask(self._idle.popleft(), due)

    def _ask(self, link: _Link, due: int) -> None:
        request = self._spec.requests[self._turn % len(self._spec.requests)]
        self._turn += 1
        link.due = due
        link.socket.send(request)

    def read(self, descriptor: int) -> None:
        """Something of an answer came."""
        link = self._links[descriptor]
        data = link.socket.recv(1 << 18)
        if not data:
            raise LoadError(f"the server hung up on somebody who asked: {bytes(link.buffer[:200])!r}")
        self._bytes += len(data)
        link.buffer += data
        end = link.buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(link.buffer) > _HEAD_LIMIT:
                raise LoadError("an answer's head does not end")
            return
        head = bytes(link.buffer[:end])
        length = _LENGTH.search(head)
        if length is None:
            raise LoadError(f"an answer without a length: {head!r}")
        if len(link.buffer) < end + 4 + int(length[1]):
            return
        if not head.startswith(b"HTTP/1.1 2"):
            self._faults.append(repr(bytes(link.buffer[:300])))
        self._latencies.append((time.monotonic_ns() - link.due) / 1e6)
        link.buffer.clear()
        link.due = 0
        self._idle.append(link)


def ask_api(spec: ApiSpec, control: Control) -> None:
    """Ask until told to stop. Runs in its own process."""
    askers = Askers(spec)
    control_fd = control.fileno()
    askers.epoll.register(control_fd, select.EPOLLIN)
    control.ready(askers)
    while not control.stopped:
        control.tick(time.monotonic_ns())
        askers.go_on(time.monotonic_ns())
        for descriptor, _ in askers.epoll.poll(0.001):
            if descriptor == control_fd:
                control.read()
            else:
                askers.read(descriptor)


def request(method: str, path: str, token: str = "", body: bytes = b"") -> bytes:
    """A whole request for a keep-alive connection."""
    head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    head += [f"Authorization: Bearer {token}"] if token else []
    head += ["Content-Type: application/json", f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([*head, "", ""]).encode() + body


def turns(*amounts: tuple[int, bytes]) -> Sequence[bytes]:
    """Requests in turn, each as often as it says, spread evenly."""
    whole = sum(amount for amount, _ in amounts)
    places = [((number + 0.5) / amount, each) for amount, each in amounts for number in range(amount)]
    assert len(places) == whole  # noqa: S101 - what it is made of
    return [each for _, each in sorted(places, key=lambda place: place[0])]
