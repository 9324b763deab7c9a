"""A transcoder's process without the process: frames in, what it says out, and the pictures in that."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from mediaserver import encoders
from mediaserver.ports import Ladder, Rung
from mediaserver.transcode.encoding import EncoderFailed, FFmpegEncoder
from mediaserver.transcode.ladder import Source, fit
from mediaserver.transcode.plan import AUDIO_LANE, Lane, Plan, Sight, read_sight, sounds_as_values
from mediaserver.transcode.worker import Transcoding
from mediaserver.worker.frames import Frame, Note, PacketFrame, TrackFrame
from protocols.flv import FlvReader, TagReader
from protocols.media import Codec, MediaKind, Packet, Track
from tests.media import frame_number

LADDER = Ladder((Rung("240p", 240), Rung("144p", 144)))
SOUNDS = {AUDIO_LANE: 0}


def source(file: Path) -> list[Frame]:
    """An FLV file as the server hands it to the process."""
    reader = TagReader()
    words = (reader.read(*tag) for tag in FlvReader().receive_data(file.read_bytes()))
    return [TrackFrame(0, word) if isinstance(word, Track) else PacketFrame(0, word) for word in words if word is not None]


def pictures(frames: Iterable[Frame]) -> list[Packet]:
    """The video packets among ``frames``."""
    return [frame.packet for frame in frames if isinstance(frame, PacketFrame) and frame.packet.kind is MediaKind.VIDEO]


def sound(frames: Iterable[Frame]) -> list[Packet]:
    """The audio packets among ``frames``."""
    return [frame.packet for frame in frames if isinstance(frame, PacketFrame) and frame.packet.kind is MediaKind.AUDIO]


def changed(frames: Sequence[Frame], **what: Any) -> list[Frame]:
    """The same with other values in every packet: ``changed(frames, dts=lambda packet: packet.dts + 1000)``."""
    return [
        PacketFrame(frame.lane, replace(frame.packet, **{name: give(frame.packet) for name, give in what.items()}))
        if isinstance(frame, PacketFrame)
        else frame
        for frame in frames
    ]


@dataclass
class Made:
    """What the process said."""

    frames: list[Frame] = field(default_factory=list)
    sights: list[Sight] = field(default_factory=list)
    plan: Plan | None = None

    def send(self, frame: Frame) -> None:
        self.frames.append(frame)

    @property
    def failures(self) -> list[dict[str, Any]]:
        return [dict(frame.values) for frame in self.frames if isinstance(frame, Note) and "failed" in frame.values]

    def lane(self, rung: str) -> list[Frame]:
        """Everything of one rung."""
        assert self.plan is not None
        number = next(lane.number for lane in self.plan.lanes if lane.rung == rung)
        return [frame for frame in self.frames if isinstance(frame, (PacketFrame, TrackFrame)) and frame.lane == number]

    def packets(self, rung: str) -> list[Packet]:
        return pictures(self.lane(rung))

    def tracks(self, rung: str) -> list[Track]:
        return [frame.track for frame in self.lane(rung) if isinstance(frame, TrackFrame)]

    def decoded(self, rung: str) -> list[av.VideoFrame]:
        """The pictures of one rung."""
        return decoded(self.lane(rung))

    def numbers(self, rung: str) -> list[int]:
        """What is written in them."""
        return [number_of(frame) for frame in self.decoded(rung)]

    def sound(self, lane: int = AUDIO_LANE) -> list[Frame]:
        return [frame for frame in self.frames if isinstance(frame, (PacketFrame, TrackFrame)) and frame.lane == lane]


def number_of(frame: av.VideoFrame) -> int:
    return frame_number(np.asarray(frame.to_ndarray(format="gray"), np.uint8)[: frame.height, : frame.width])


_DECODERS = {Codec.AV1: "libdav1d"}


def decoded(frames: Iterable[Frame]) -> list[Any]:
    """Frames of a track and its packets, decoded; a new track is a new decoder."""
    found: list[Any] = []
    context: Any = None
    for frame in frames:
        if isinstance(frame, TrackFrame):
            found += context.decode(None) if context is not None else []
            context = av.CodecContext.create(_DECODERS.get(frame.track.codec, frame.track.codec.value), "r")
            context.extradata = frame.track.config
        elif isinstance(frame, PacketFrame):
            packet = av.Packet(frame.packet.payload)
            packet.pts, packet.dts, packet.time_base = frame.packet.pts, frame.packet.dts, Fraction(1, 1000)
            found += context.decode(packet)
    return found + (context.decode(None) if context is not None else [])


def transcode(
    frames: Iterable[Frame],
    ladder: Ladder = LADDER,
    *,
    encoder: str = "libx264",
    fallback: str = "libx264",
    sounds: Mapping[int, int] = SOUNDS,
) -> Made:
    """Everything that a process makes of ``frames``, its encoders' last words included."""
    made = Made()

    def fed() -> Iterator[Frame]:
        asked = 0
        yield Note(sounds_as_values(sounds))
        for frame in frames:
            notes = [read_sight(said.values) for said in made.frames[-1:] if isinstance(said, Note)]
            for sight in filter(None, notes):
                if sight[0] > asked:
                    asked = sight[0]
                    made.sights.append(sight[1])
                    made.plan = plan(asked, sight[1], ladder, encoder, fallback)
                    yield Note(made.plan.as_values())
            yield frame

    work = Transcoding({}, made, fed())  # type: ignore[arg-type]
    work.run()
    work._end_decoder()
    work._end_lanes()
    work._sound.drain()
    return made


def plan(number: int, sight: Sight, ladder: Ladder, encoder: str, fallback: str) -> Plan:
    seen = Source(
        Codec.H264, sight.width, sight.height, None, sight.frame_rate, sight.pixel_aspect, sight.rotation, sight.interlaced
    )
    lanes = tuple(
        Lane(
            number=index,
            rung=each.rung.name,
            codec=each.rung.codec,
            encoder=encoders.OWN.get(encoder, encoder),
            fallback=fallback,
            width=each.width,
            height=each.height,
            bitrate=each.bitrate,
            rate=sight.frame_rate,
            frame_rate=each.frame_rate,
            constant_bitrate=each.rung.constant_bitrate,
            preset="ultrafast",
        )
        for index, each in enumerate(fit(ladder, seen), start=1)
        if each.encoded
    )
    return Plan(number, lanes, ladder.keyframe_interval)


class FailsAt100(FFmpegEncoder):
    """Opens, encodes, and fails with its 100th picture."""

    def __init__(self, lane: Lane, like: av.VideoFrame) -> None:
        super().__init__("libx264", lane, like)
        self.taken = 0

    def encode(self, frame: av.VideoFrame, *, key: bool) -> Any:
        self.taken += 1
        if self.taken == 100:
            raise EncoderFailed("out of order")
        return super().encode(frame, key=key)


class NeverOpens:
    """Fails at once."""

    def __init__(self, lane: Lane, like: av.VideoFrame) -> None:
        raise EncoderFailed("no session left")


encoders.register("fails_at_100", f"{__name__}:FailsAt100")
encoders.register("never_opens", f"{__name__}:NeverOpens")
