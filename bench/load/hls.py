"""LL-HLS players: N keep-alive connections, each asking for the playlist with the next part in it (the server holds the request
until that part is there), then for the part itself, and so on, as hls.js does. A few keep the parts and look at the stamps.
"""

import re
import select
import socket
import time
from dataclasses import dataclass
from typing import Final

from bench.load.clip import last_stamp
from bench.load.process import Control, LoadError, Window
from bench.load.verify import Findings

_HINT: Final = re.compile(rb'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="((?:[^"]*/)?)(\d+)\.(\d+)\.m4s"')
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_HEAD_LIMIT: Final = 65536


@dataclass(frozen=True, slots=True)
class HlsSpec:
    """``players`` connections to one stream's media playlist, ``/live/NAME/video.m3u8``."""

    port: int
    name: str
    players: int
    sampled: int


@dataclass(frozen=True, slots=True)
class HlsReport:
    """What was answered within the window."""

    playlists: int
    parts: int
    bytes_received: int
    findings: Findings
    cpu_seconds: float


@dataclass(slots=True)
class _Viewer:
    """One connection: what it waits for, and how much of the answer's body is still to come."""

    link: socket.socket
    sampled: bool
    wants_part: bool = False
    part: bytes = b""  # what to ask for when the playlist has come
    buffer: bytes = b""
    remaining: int = 0  # of a body that is only counted


class _Viewers:
    """All connections and what they counted."""

    def __init__(self, spec: HlsSpec) -> None:
        self._spec = spec
        self.epoll = select.epoll()
        self.by_fd: dict[int, _Viewer] = {}
        self._sink = memoryview(bytearray(1 << 20))
        self._window: Window | None = None
        self._clear()

    def _clear(self) -> None:
        self._playlists = self._parts = self._bytes = 0
        self._findings = Findings()
        self._cpu = time.process_time()

    # -- the gauge -------------------------------------------------------------------------------------------------

    def begin(self, window: Window) -> None:
        self._clear()
        self._window = window

    def end(self) -> None:
        cpu = time.process_time() - self._cpu
        self._report = HlsReport(self._playlists, self._parts, self._bytes, self._findings, cpu)

    def report(self) -> HlsReport:
        return self._report

    # -- the work --------------------------------------------------------------------------------------------------

    def dial(self) -> None:
        for number in range(self._spec.players):
            link = socket.create_connection(("127.0.0.1", self._spec.port), timeout=10)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.setblocking(False)
            viewer = _Viewer(link, sampled=number < self._spec.sampled)
            self.by_fd[link.fileno()] = viewer
            self.epoll.register(link, select.EPOLLIN)
            self._ask(viewer, b"video.m3u8")

    def _ask(self, viewer: _Viewer, resource: bytes) -> None:
        viewer.link.send(b"GET /live/%s/%s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % (self._spec.name.encode(), resource))

    def read(self, viewer: _Viewer) -> None:
        """Something of an answer came."""
        if viewer.remaining:
            count = viewer.link.recv_into(self._sink, min(viewer.remaining, len(self._sink)), socket.MSG_TRUNC)
            self._bytes += count
            viewer.remaining -= count
            if not viewer.remaining:
                self._part_done(viewer, b"")
            return
        data = viewer.link.recv(1 << 18 if viewer.sampled or not viewer.wants_part else 512)
        if not data:
            raise LoadError("the server hung up on an HLS player")
        self._bytes += len(data)
        viewer.buffer += data
        head, end, body = viewer.buffer.partition(b"\r\n\r\n")
        if not end:
            if len(viewer.buffer) > _HEAD_LIMIT:
                raise LoadError("an answer's head does not end")
            return
        length = _LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 200 ") or length is None:
            raise LoadError(f"asked for {viewer.part!r}: {head[:200]!r}")
        missing = int(length[1]) - len(body)
        if missing and viewer.wants_part and not viewer.sampled:
            viewer.buffer, viewer.remaining = b"", missing
        elif not missing:
            viewer.buffer = b""
            if viewer.wants_part:
                self._part_done(viewer, body)
            else:
                self._playlist_done(viewer, body)

    def _playlist_done(self, viewer: _Viewer, body: bytes) -> None:
        self._playlists += 1
        hint = _HINT.search(body)
        if hint is None:
            raise LoadError(f"the playlist hints at no part: {body[-300:]!r}")
        wanted = viewer.part
        viewer.part = b"%s%s.%s.m4s" % hint.groups()
        if wanted:
            viewer.wants_part = True
            self._ask(viewer, wanted)
        else:
            self._ask_playlist(viewer)

    def _part_done(self, viewer: _Viewer, body: bytes) -> None:
        self._parts += 1
        viewer.wants_part = False
        if body and self._window is not None:
            stamp = last_stamp(body)
            if stamp is None:
                self._findings.faults.append("a part without a stamped frame")
            elif stamp.sent_ns >= self._window.start:
                self._findings.frames += 1
                self._findings.latencies.append((time.monotonic_ns() - stamp.sent_ns) / 1e6)
        self._ask_playlist(viewer)

    def _ask_playlist(self, viewer: _Viewer) -> None:
        segment, part = viewer.part.rpartition(b"/")[2].split(b".")[:2]
        self._ask(viewer, b"video.m3u8?_HLS_msn=%s&_HLS_part=%s" % (segment, part))


def watch_hls(spec: HlsSpec, control: Control) -> None:
    """Watch until told to stop. Runs in its own process."""
    viewers = _Viewers(spec)
    viewers.dial()
    control_fd = control.fileno()
    viewers.epoll.register(control_fd, select.EPOLLIN)
    control.ready(viewers)
    while not control.stopped:
        control.tick(time.monotonic_ns())
        for fd, _ in viewers.epoll.poll(0.02):
            if fd == control_fd:
                control.read()
            else:
                viewers.read(viewers.by_fd[fd])
