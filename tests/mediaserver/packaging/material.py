"""What the packaging tests feed and look with: real packets, a settings table, a hub of one stream, a decoder."""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import av

from mediaserver.hub.gop import GopCache
from mediaserver.hub.stream import LiveStream
from mediaserver.packaging import hls
from mediaserver.packaging.family import HOME, Family
from mediaserver.packaging.numbers import Numbers
from mediaserver.packaging.packager import Packager
from mediaserver.packaging.packagers import Packagers
from mediaserver.packaging.window import Window
from protocols.flv import FlvReader, TagReader
from protocols.media import MediaKind, Packet, Track

UNIX_TIME = 1_780_000_000.0
FIRST = Numbers(1000, 50)


@dataclass(frozen=True)
class Settings:
    always: bool = False
    segment_duration: float = 1.0
    part_duration: float = 0.2
    window: int = 7
    dvr: float = 0.0
    idle_timeout: float = 30.0


class Wall:
    """A wall clock that tests set."""

    def __init__(self, at: float = UNIX_TIME) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


def read_flv(file: Path) -> list[Track | Packet]:
    """Tracks and packets in the order in which an encoder would send them."""
    reader, tags = FlvReader(), TagReader()
    found = (tags.read(*tag) for tag in reader.receive_data(file.read_bytes()) if tag[0] in {8, 9})
    return [item for item in found if item is not None]


def shifted(items: list[Track | Packet], milliseconds: int, *, discontinuity: bool = False) -> list[Track | Packet]:
    """The packets again, later; the first marked, if wanted."""
    moved: list[Track | Packet] = []
    for item in items:
        if isinstance(item, Packet):
            item = replace(item, dts=item.dts + milliseconds, discontinuity=discontinuity)
            discontinuity = False
        moved.append(item)
    return moved


def only(items: list[Track | Packet], kind: MediaKind) -> list[Track | Packet]:
    return [item for item in items if item.kind is kind]


def feed(
    subscriber: Packager, items: list[Track | Packet], wall: Wall | None = None, after: Callable[[], None] | None = None
) -> None:
    """Push everything; ``wall`` goes along in real time."""
    begin = None if wall is None else wall.at
    first: int | None = None
    for item in items:
        if isinstance(item, Track):
            subscriber.on_track(item)
            continue
        first = item.dts if first is None else first
        if wall is not None and begin is not None:
            wall.at = max(wall.at, begin + (item.dts - first) / 1000)
        subscriber.on_packet(item)
        if after is not None:
            after()


def packager(settings: Settings | None = None, wall: Wall | None = None) -> Packager:
    return Packager("test", settings or Settings(), wall or Wall(), FIRST)


def family(subject: Packager) -> Family:
    """It alone, without renditions."""
    return Family(LiveStream(subject.name, GopCache(8 << 20, 10_000), 0.0), subject)


def media_playlist(subject: Packager, window: Window, *, delta: bool) -> str:
    """The playlist as a player in the stream's own folder gets it."""
    return hls.media_playlist(subject, window, hls.addresses(family(subject), HOME), delta=delta)


class OneStream:
    """A hub that knows one name."""

    def __init__(self, name: str = "test") -> None:
        self.name = name
        self.stream: LiveStream | None = LiveStream(name, GopCache(8 << 20, 10_000), 0.0)

    def find(self, name: str) -> LiveStream | None:
        return self.stream if name == self.name else None

    def write(self, items: list[Track | Packet], wall: Wall | None = None) -> None:
        stream = self.stream
        assert stream is not None
        for item in items:
            if isinstance(item, Track):
                stream.write_track(item)
            else:
                if wall is not None:
                    wall.at = max(wall.at, UNIX_TIME + item.dts / 1000)
                stream.write(replace(item))


def packagers(hub: OneStream, settings: Settings | None = None, wall: Wall | None = None) -> Packagers:
    return Packagers(hub, settings or Settings(), wall or Wall())


def media_bytes(subject: Packager, kind: MediaKind) -> bytes:
    """Init segment and all segments of one track, as a player would concatenate them."""
    window = subject.renditions[kind].window
    return window.segments[0].init.answer.body + b"".join(segment.body for segment in window.segments)


@dataclass
class Decoded:
    """What a real decoder made of it. Times in seconds."""

    frames: int
    dts: list[float]
    pts: list[float]
    durations: list[float]


def decode(data: bytes) -> Decoded:
    """Demux and decode with FFmpeg; any error is raised."""
    dts, pts, durations = [], [], []
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams[0]
        stream.codec_context.options = {"err_detect": "explode"}
        base = stream.time_base
        frames = 0
        for packet in container.demux(stream):
            if packet.dts is not None and packet.pts is not None and base is not None:
                dts.append(float(packet.dts * base))
                pts.append(float(packet.pts * base))
                durations.append(float((packet.duration or 0) * base))
            frames += len(packet.decode())
    return Decoded(frames, dts, pts, durations)
