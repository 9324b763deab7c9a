"""The playing process: N players on one thread. A few read and verify everything; the others are only counted.

A counted player's socket is emptied in the kernel (recv with MSG_TRUNC copies nothing), every DRAIN_NS, a slice of the
sockets at a time, so that the load costs little and the verifying players, whose sockets are read at once, are not kept
waiting by it. Its receive buffer holds more than comes in between, so the server never finds it full.
"""

import enum
import errno
import select
import socket
import statistics
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

from bench.load.dialogue import Dialogue, FlvDialogue, RtmpDialogue
from bench.load.process import Control, LoadError, Window
from bench.load.verify import Findings, Verifier

DRAIN_NS: Final = 50_000_000
_SLICES: Final = 25
_DIALLING: Final = 32
RECEIVE_BUFFER: Final = 2 << 20


class Drain(enum.Enum):
    """When a counted player's socket is emptied."""

    READY = "ready"  # whenever something came, as a player does: every write of the server wakes somebody
    BEAT = "beat"  # every 50 ms: nobody waits for the data, so a server that writes often is not charged for wake-ups


@dataclass(frozen=True, slots=True)
class PlaySpec:
    """Who plays what: one player for every entry of ``names``; ``sampled`` of them, spread evenly, verify."""

    port: int
    app: str
    names: tuple[str, ...]
    sampled: int
    http: bool = False
    drain: Drain = Drain.READY


@dataclass(frozen=True, slots=True)
class PlayReport:
    """What the players received within the window."""

    bytes_received: int
    fewest: float  # the player that got the least, in relation to the median player of its process
    findings: Findings
    cpu_seconds: float


class _Player:
    """One connection."""

    __slots__ = ("dialogue", "link", "received", "verifier")

    def __init__(self, link: socket.socket, dialogue: Dialogue, verifier: Verifier | None) -> None:
        self.link = link
        self.dialogue = dialogue
        self.verifier = verifier
        self.received = 0


class _Players:
    """All connections: being dialled, counted, verified."""

    def __init__(self, spec: PlaySpec) -> None:
        self._spec = spec
        count = len(spec.names)
        every = max(1, count // max(1, min(spec.sampled, count)))
        self._to_dial = deque((name, number % every == every - 1) for number, name in enumerate(spec.names))
        self._total = count
        self.epoll = select.epoll()
        self._by_fd: dict[int, _Player] = {}
        self._dialling: set[int] = set()
        self.counted_by_fd: dict[int, _Player] = {}
        self._counted: list[_Player] = []
        self._all: list[_Player] = []
        self._slice = 0
        self._sink = memoryview(bytearray(1 << 20))
        self._bytes_at_start: list[int] = []
        self._bytes: list[int] = []
        self._cpu = 0.0
        self._measuring = False
        self._closed = 0

    # -- the gauge -------------------------------------------------------------------------------------------------

    def begin(self, window: Window) -> None:
        self._measuring = True
        for player in self._all:
            if player.verifier is not None:
                player.verifier.window = window
        self._bytes_at_start = [player.received for player in self._all]
        self._cpu = time.process_time()

    def end(self) -> None:
        self._bytes = [player.received - start for player, start in zip(self._all, self._bytes_at_start, strict=True)]
        self._cpu = time.process_time() - self._cpu

    def report(self) -> PlayReport:
        findings = Findings()
        for player in self._all:
            if player.verifier is not None:
                findings.merge(player.verifier.findings)
        if self._closed:
            findings.faults.append(f"{self._closed} players were hung up on")
        median = statistics.median(self._bytes) if self._bytes else 0
        fewest = min(self._bytes) / median if median else 0.0
        return PlayReport(sum(self._bytes), fewest, findings, self._cpu)

    # -- joining ---------------------------------------------------------------------------------------------------

    @property
    def joined(self) -> bool:
        return len(self._all) == self._total

    def dial(self) -> None:
        """Keep some connections in the making until all are there."""
        while self._to_dial and len(self._dialling) < _DIALLING:
            name, sampled = self._to_dial.popleft()
            link = socket.socket()
            link.setblocking(False)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if link.connect_ex(("127.0.0.1", self._spec.port)) not in (0, errno.EINPROGRESS):
                raise LoadError(f"nobody listens on port {self._spec.port}")
            player = self._player(link, name, Verifier() if sampled else None)
            self._by_fd[link.fileno()] = player
            self._dialling.add(link.fileno())
            self.epoll.register(link, select.EPOLLOUT)

    def _player(self, link: socket.socket, name: str, verifier: Verifier | None) -> _Player:
        listener = verifier.message if verifier is not None else None
        if self._spec.http:
            return _Player(link, FlvDialogue(name, listener), verifier)
        return _Player(link, RtmpDialogue(self._spec.app, name, self._spec.port, publish=False, listener=listener), verifier)

    def ready(self, fd: int, mask: int) -> None:
        """A socket that is being dialled, or a verifying player's, can be read or (once) written."""
        player = self._by_fd[fd]
        if mask & select.EPOLLOUT:
            self.epoll.modify(fd, select.EPOLLIN)
            player.link.send(player.dialogue.opening())
            return
        data = player.link.recv(1 << 18)
        if not data:
            self._lose(fd, player)
            return
        player.received += len(data)
        if reply := player.dialogue.receive(data):
            player.link.send(reply)
        if fd in self._dialling and player.dialogue.established:
            self._settle(fd, player)

    def _settle(self, fd: int, player: _Player) -> None:
        self._dialling.discard(fd)
        self._all.append(player)
        if player.verifier is not None:
            return
        if self._spec.drain is Drain.READY:
            self.counted_by_fd[fd] = player
        else:
            self.epoll.unregister(fd)
            self._counted.append(player)

    def _lose(self, fd: int, player: _Player) -> None:
        if fd in self._dialling:
            raise LoadError("the server hung up on a player before it played")
        self._closed += 1
        self.epoll.unregister(fd)
        player.link.close()

    # -- counting --------------------------------------------------------------------------------------------------

    def count(self, player: _Player) -> None:
        """Empty the socket of a counted player that has something."""
        count = player.link.recv_into(self._sink, 0, socket.MSG_TRUNC)
        if count:
            player.received += count
        else:
            self._lose(player.link.fileno(), player)

    def drain(self) -> None:
        """Empty one slice of the counted sockets."""
        sink = self._sink
        flags = socket.MSG_TRUNC | socket.MSG_DONTWAIT
        closed: list[_Player] = []
        for player in self._counted[self._slice :: _SLICES]:
            try:
                count = player.link.recv_into(sink, 0, flags)
            except BlockingIOError:
                continue
            if count:
                player.received += count
            else:
                closed.append(player)
        for player in closed:
            self._closed += 1
            self._counted.remove(player)
        self._slice = (self._slice + 1) % _SLICES


def play(spec: PlaySpec, control: Control) -> None:
    """Play until told to stop. Runs in its own process."""
    players = _Players(spec)
    control_fd = control.fileno()
    players.epoll.register(control_fd, select.EPOLLIN)
    announced = False
    step = DRAIN_NS // _SLICES if spec.drain is Drain.BEAT else DRAIN_NS
    counted = players.counted_by_fd
    next_slice = time.monotonic_ns()
    while not control.stopped:
        players.dial()
        if not announced and players.joined:
            control.ready(players)
            announced = True
        now = time.monotonic_ns()
        control.tick(now)
        if now >= next_slice:
            players.drain()
            next_slice = max(next_slice + step, now)
        for fd, mask in players.epoll.poll(max(0, next_slice - now) / 1e9):
            if (player := counted.get(fd)) is not None:
                players.count(player)
            elif fd == control_fd:
                control.read()
            else:
                players.ready(fd, mask)
