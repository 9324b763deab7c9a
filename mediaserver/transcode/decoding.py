"""A transcoder's process: packets to pictures that stand upright, with whole frames, on the stream's clock."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.codec.hwaccel import HWAccel

from mediaserver.transcode.plan import Sight
from protocols import codec
from protocols.errors import ProtocolError
from protocols.media import Codec, Packet, Track

#: The stream's clock.
MILLISECONDS = Fraction(1, 1000)
#: FFmpeg's decoder where it is not called like the codec. Its own for AV1 works in hardware alone.
_DECODERS = {Codec.AV1: "libdav1d", Codec.H263: "flv"}
#: Codecs whose decoders take nothing from the container.
_BARE = frozenset({Codec.VP8, Codec.VP9, Codec.H263, Codec.VP6})
#: Pictures beyond so many pixels are decoded by several threads.
_ONE_THREAD, _THREADS = 1920 * 1088, 4
#: Packets in a row without a picture after which hardware is given up.
_PATIENCE = 30
_TURNS = {90: "transpose=clock", 180: "hflip,vflip", 270: "transpose=cclock"}


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded frame; ``pts`` in ms. ``key``: every rung has a keyframe here."""

    frame: av.VideoFrame
    pts: int
    key: bool


class Decoder:
    """One video track, in software or on the first of ``devices`` (FFmpeg's names) that takes it."""

    def __init__(self, track: Track, devices: Sequence[str]) -> None:
        self._track = track
        self._context, self._device = _open(track, devices)
        self._since_picture = 0
        self._keys: deque[int] = deque(maxlen=256)
        self._last = -1
        self._interlaced = False
        self._turn = 0  # degrees, clockwise, that make it upright
        self._graph: av.filter.Graph | None = None
        self._graph_for: tuple[object, ...] = ()
        self.sight: Sight | None = None

    def decode(self, packet: Packet) -> Iterator[Picture]:
        """The pictures that ``packet`` completes. What cannot be decoded gives none."""
        payload = packet.payload
        if not payload:
            return  # to a decoder that is the end
        if packet.keyframe:
            self._keys.append(packet.pts)
        coded = av.Packet(payload)
        coded.pts, coded.dts, coded.time_base = packet.pts, packet.dts, MILLISECONDS
        self._since_picture += 1
        if self._device and self._since_picture > _PATIENCE and packet.keyframe:
            self._context, self._device = _open(self._track, ())
        yield from self._straightened(self._decoded(coded))

    def drain(self) -> Iterator[Picture]:
        """The pictures that are still inside. Nothing can be decoded afterwards."""
        yield from self._straightened(self._decoded(None))
        if self._graph is not None:
            self._graph.push(None)
            yield from self._pulled(self._graph)

    def _decoded(self, coded: "av.Packet[Any] | None") -> list[av.VideoFrame]:
        try:
            return self._context.decode(coded)
        except av.FFmpegError:
            return []

    def _straightened(self, frames: Sequence[av.VideoFrame]) -> Iterator[Picture]:
        for frame in frames:
            if frame.pts is None:
                continue
            self._since_picture = 0
            self._interlaced |= frame.interlaced_frame
            if frame.key_frame:
                # Said with a keyframe, it holds until the next one; FFmpeg says it of that picture alone.
                self._turn = -round(frame.rotation / 90) * 90 % 360
            self.sight = self._see(frame)
            filters = [
                *(["bwdif=mode=send_frame:deint=interlaced"] if self._interlaced else ()),
                *_TURNS.get(self._turn, "").split(","),
            ]
            filters = [each for each in filters if each]
            if not filters:
                yield from self._placed(frame)
                continue
            shape = (frame.width, frame.height, frame.format.name, *filters)
            if self._graph is None or shape != self._graph_for:
                if self._graph is not None:
                    self._graph.push(None)
                    yield from self._pulled(self._graph)
                self._graph, self._graph_for = _graph(frame, filters), shape
            self._graph.push(frame)
            yield from self._pulled(self._graph)

    def _see(self, frame: av.VideoFrame) -> Sight:
        aspect, rate = self._context.sample_aspect_ratio, self._context.framerate
        return Sight(
            width=frame.width,
            height=frame.height,
            rotation=self._turn,
            interlaced=self._interlaced,
            pixel_aspect=(aspect.numerator, aspect.denominator) if aspect else (1, 1),
            frame_rate=float(rate) if rate and 1 <= rate <= 300 else 0.0,
            decoder=self._device or self._context.name,
        )

    def _pulled(self, graph: av.filter.Graph) -> Iterator[Picture]:
        while True:
            try:
                frame = graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            yield from self._placed(frame)

    def _placed(self, frame: av.VideoFrame) -> Iterator[Picture]:
        """``frame`` on the stream's clock, unless it comes twice."""
        if frame.pts is None:
            return
        pts = round(frame.pts * (frame.time_base or MILLISECONDS) * 1000)
        if pts <= self._last:
            return
        self._last = pts
        key = False
        while self._keys and self._keys[0] <= pts:
            self._keys.popleft()
            key = True
        frame.pts, frame.time_base = pts, MILLISECONDS
        yield Picture(frame, pts, key)


def _open(track: Track, devices: Sequence[str]) -> tuple[av.VideoCodecContext, str]:
    for device in devices:
        try:
            hardware = HWAccel(device, allow_software_fallback=False)
            return _context(track, track.codec.value, hardware), device
        except (av.FFmpegError, RuntimeError, ValueError):
            continue
    return _context(track, _DECODERS.get(track.codec, track.codec.value), None), ""


def _context(track: Track, name: str, hardware: HWAccel | None) -> av.VideoCodecContext:
    context = av.CodecContext.create(name, "r", hwaccel=hardware)
    if not isinstance(context, av.VideoCodecContext):
        raise TypeError(f"{name} decodes no video")
    if track.config and track.codec not in _BARE:
        context.extradata = track.config
    try:
        described = codec.parameters(track)
        large = isinstance(described, codec.VideoParameters) and described.width * described.height > _ONE_THREAD
    except ProtocolError:
        large = False
    context.thread_count = _THREADS if large else 1
    context.open()
    return context


def _graph(frame: av.VideoFrame, filters: Sequence[str]) -> av.filter.Graph:
    graph = av.filter.Graph()
    graph.threads = 1
    nodes = [graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=MILLISECONDS)]
    for each in filters:
        name, _, options = each.partition("=")
        nodes.append(graph.add(name, options or None))
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    return graph
