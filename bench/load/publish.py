"""The publishing process: N encoders on one thread, each frame sent at its own moment, as an encoder would."""

import heapq
import select
import socket
import time
from dataclasses import dataclass
from typing import Final

from bench.load.clip import (
    AUDIO,
    AUDIO_HEADER,
    AUDIO_STAMP_AT,
    DATA,
    VIDEO,
    VIDEO_HEADER,
    VIDEO_STAMP_AT,
    Clip,
    make_clip,
    seconds,
    stamp_bytes,
    timestamp,
)
from bench.load.dialogue import RtmpDialogue
from bench.load.process import Control, LoadError, Window
from protocols.rtmp import amf0
from protocols.rtmp.endpoint import CHUNK_SIZE as SESSION_CHUNK_SIZE

#: what OBS and librtmp set
CHUNK_SIZE: Final = 4096
_CSID: Final = {AUDIO: 4, VIDEO: 6, DATA: 5}
_DIAL_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class PublishSpec:
    """Who publishes where. ``bitrate`` in bit/s, each."""

    port: int
    app: str
    names: tuple[str, ...]
    bitrate: float


@dataclass(frozen=True, slots=True)
class PublishReport:
    """What was sent within the window. ``late_ms``: how far behind its moment the worst frame left."""

    bytes_sent: int
    frames_sent: int
    late_ms: float
    stalls: int
    cpu_seconds: float


def chunked(type_id: int, at: int, body: bytes, *, absolute: bool) -> bytearray:
    """One RTMP message in chunks of CHUNK_SIZE; type 0 with a timestamp, or type 1 with a delta (RTMP 1.0, 5.3.1)."""
    csid = _CSID[type_id]
    head = at.to_bytes(3, "big") + len(body).to_bytes(3, "big") + bytes([type_id])
    first = bytes([csid]) + head + (1).to_bytes(4, "little") if absolute else bytes([0x40 | csid]) + head
    pieces = [body[start : start + CHUNK_SIZE] for start in range(0, len(body), CHUNK_SIZE)]
    return bytearray(first + bytes([0xC0 | csid]).join(pieces))


def templates(clip: Clip) -> dict[int, list[bytearray]]:
    """Every frame of the clip as it goes out; delta, stamp and tail are written over just before it does."""
    bodies = {VIDEO: (clip.video, VIDEO_STAMP_AT), AUDIO: (clip.audio, AUDIO_STAMP_AT)}
    made: dict[int, list[bytearray]] = {}
    for type_id, (frames, at) in bodies.items():
        made[type_id] = []
        for body in frames:
            stamped = body[:at] + stamp_bytes(0, 0, len(body)) + body[at + 32 :]
            made[type_id].append(chunked(type_id, 0, stamped, absolute=False))
    return made


def set_chunk_size(size: int) -> bytes:
    """The message that says so (RTMP 1.0, 5.4.1)."""
    return b"\x02" + bytes(3) + b"\0\0\x04\x01" + bytes(4) + size.to_bytes(4, "big")


def in_our_chunks(words: bytes) -> bytes:
    """What the session says on its way to where media flow, but for the size of the chunks that it announces.

    To announce another one behind it would not do: nginx-rtmp, told of smaller chunks in one read with more than such a chunk
    holds, writes that behind its buffer.
    """
    return words.replace(set_chunk_size(SESSION_CHUNK_SIZE), set_chunk_size(CHUNK_SIZE))


def opening_messages(bitrate: float) -> bytes:
    """onMetaData and both sequence headers."""
    values = {"width": 1280.0, "height": 720.0, "framerate": 30.0, "videocodecid": 7.0, "audiocodecid": 10.0}
    values |= {"videodatarate": bitrate / 1000, "audiosamplerate": 44100.0, "stereo": True}
    metadata = amf0.encode("@setDataFrame", "onMetaData", values)
    return b"".join(
        bytes(chunked(type_id, 0, body, absolute=True))
        for type_id, body in ((DATA, metadata), (VIDEO, VIDEO_HEADER), (AUDIO, AUDIO_HEADER))
    )


class _Publishers:
    """The sockets and the timetable."""

    def __init__(self, spec: PublishSpec) -> None:
        self._spec = spec
        self._templates = templates(make_clip(spec.bitrate, chunk_size=CHUNK_SIZE))
        self._links: list[socket.socket] = []
        self._pending: dict[int, bytearray] = {}
        self.epoll = select.epoll()
        self._index_by_fd: dict[int, int] = {}
        self._bytes = self._frames = self._late = self._stalls = 0
        self._cpu = 0.0

    # -- the gauge -------------------------------------------------------------------------------------------------

    def begin(self, window: Window) -> None:  # noqa: ARG002 - the gauge's signature
        self._bytes = self._frames = self._late = self._stalls = 0
        self._cpu = time.process_time()

    def end(self) -> None:
        cpu = time.process_time() - self._cpu
        self._report = PublishReport(self._bytes, self._frames, self._late / 1e6, self._stalls, cpu)

    def report(self) -> PublishReport:
        return self._report

    # -- the work --------------------------------------------------------------------------------------------------

    def dial(self) -> None:
        for index, name in enumerate(self._spec.names):
            link = socket.create_connection(("127.0.0.1", self._spec.port), timeout=_DIAL_SECONDS)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            dialogue = RtmpDialogue(self._spec.app, name, self._spec.port, publish=True)
            link.sendall(dialogue.opening())
            while not dialogue.established:
                data = link.recv(65536)
                if not data:
                    raise LoadError(f"the server hung up on publisher {name}")
                link.sendall(in_our_chunks(dialogue.receive(data)))
            link.sendall(opening_messages(self._spec.bitrate))
            link.setblocking(False)
            self._links.append(link)
            self._index_by_fd[link.fileno()] = index
            self.epoll.register(link, select.EPOLLIN)

    def timetable(self) -> list[tuple[int, int, int, int]]:
        """Everyone's first frames: (when due in ns, who, type id, number), a heap.

        The streams' keyframes are spread evenly over a GOP, as those of unrelated encoders are.
        """
        start = time.monotonic_ns() + 20_000_000
        step = 2_000_000_000 // max(1, len(self._links))
        heap = [(start + index * step, index, kind, 0) for index in range(len(self._links)) for kind in (AUDIO, VIDEO)]
        heapq.heapify(heap)
        return heap

    def send(self, index: int, type_id: int, number: int, due: int, now: int) -> None:
        frames = self._templates[type_id]
        wire = frames[number % len(frames)]
        delta = timestamp(type_id, number) - timestamp(type_id, number - 1) if number else 0
        stamp_at = 8 + (VIDEO_STAMP_AT if type_id == VIDEO else AUDIO_STAMP_AT)
        wire[1:4] = delta.to_bytes(3, "big")
        wire[stamp_at : stamp_at + 24] = b"%016x%08x" % (now, number)
        wire[-8:] = b"%08x" % number
        self._bytes += len(wire)
        self._frames += 1
        self._late = max(self._late, now - due)
        waiting = self._pending.get(index)
        if waiting is not None:
            waiting += wire
            return
        try:
            sent = self._links[index].send(wire)
        except BlockingIOError:
            sent = 0
        if sent < len(wire):
            self._stalls += 1
            self._pending[index] = bytearray(memoryview(wire)[sent:])
            self.epoll.modify(self._links[index], select.EPOLLIN | select.EPOLLOUT)

    def serve(self, fd: int, mask: int) -> None:
        """A publisher's socket has something to read (acknowledgements) or takes bytes again."""
        index = self._index_by_fd[fd]
        link = self._links[index]
        if mask & ~select.EPOLLOUT and not link.recv(65536):
            raise LoadError(f"the server hung up on publisher {self._spec.names[index]}")
        if mask & select.EPOLLOUT:
            waiting = self._pending[index]
            del waiting[: link.send(waiting)]
            if not waiting:
                del self._pending[index]
                self.epoll.modify(link, select.EPOLLIN)


def publish(spec: PublishSpec, control: Control) -> None:
    """Publish until told to stop. Runs in its own process."""
    publishers = _Publishers(spec)
    publishers.dial()
    heap = publishers.timetable()
    period_ns = {kind: seconds(kind, 1) * 1e9 for kind in (AUDIO, VIDEO)}
    control_fd = control.fileno()
    publishers.epoll.register(control_fd, select.EPOLLIN)
    control.ready(publishers)
    poll_at = 0
    while not control.stopped:
        due, index, type_id, number = heap[0]
        now = time.monotonic_ns()
        if due <= now:
            following = due + period_ns[type_id]
            heapq.heapreplace(heap, (round(following), index, type_id, number + 1))
            publishers.send(index, type_id, number, due, now)
            if now < poll_at:
                continue
        control.tick(now)
        poll_at = now + 2_000_000
        for fd, mask in publishers.epoll.poll(max(0, due - now) / 1e9):
            if fd == control_fd:
                control.read()
            else:
                publishers.serve(fd, mask)
