"""From FFmpeg's packets to the engine's, without decoding: what other containers store is put into the form that FLV has.

Runs in a worker process.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, Protocol, TypeAlias

import av

from protocols import codec as codecs
from protocols import flv
from protocols.codec import av1, avc, hevc, hevc_sps, nal
from protocols.codec.names import from_ffmpeg
from protocols.media import Codec, MediaKind, Packet, Track

#: Codecs that are passed on as they are; others are encoded anew.
CARRIED = frozenset(
    {Codec.H264, Codec.HEVC, Codec.AV1, Codec.VP9, Codec.AAC, Codec.OPUS, Codec.MP3, Codec.FLAC, Codec.AC3, Codec.EAC3}
)
#: MPEG-2 TS counts 33 bits of 1/90000 s (ISO/IEC 13818-1, 2.4.3.7).
_TS_RATE, _TS_WRAP = 90_000, 1 << 33

#: Pictures that may stand before the first one that has a dts, and seconds between them where the container does not say.
_MOST_UNTIMED, _DEFAULT_STEP = 16, Fraction(1, 25)

_OPUS_HEAD = b"OpusHead\x01%c\x38\x01\x80\xbb\x00\x00\x00\x00\x00"  # RFC 7845, 5.1
_FLAC_MARKER, _STREAM_INFO = b"fLaC", slice(8, 42)
_H264_AUD, _HEVC_AUD = 9, 35
_HEVC_SETS = (hevc_sps.NAL_VPS, hevc_sps.NAL_SPS, hevc_sps.NAL_PPS)


AnyPacket: TypeAlias = "av.Packet[Any]"  # generic in its stub only


class Lane(Protocol):
    """What one stream of a container becomes. Timestamps in ms on the container's clock."""

    def feed(self, packet: AnyPacket) -> Iterator[Track | Packet]:
        """Its next packet. Raises RemoteProtocolError for what is none."""

    def finish(self) -> Iterator[Track | Packet]:
        """What is left when it has ended."""


class Clock:
    """A stream's timestamps in ms; one that wraps goes on."""

    def __init__(self, time_base: Fraction) -> None:
        self._base = time_base
        self._last: int | None = None
        self._wrapped = 0

    def stamps(self, packet: AnyPacket) -> tuple[int, int]:
        """dts and pts; of one that is missing the other is taken, and of both the moment after the last."""
        dts = packet.dts if packet.dts is not None else packet.pts
        if dts is None:
            dts = 0 if self._last is None else self._last + 1
        pts = packet.pts if packet.pts is not None else dts
        ahead = pts - dts
        if self._base == Fraction(1, _TS_RATE):
            dts += self._wrapped
            if self._last is not None and self._last - dts > _TS_WRAP // 2:
                self._wrapped += _TS_WRAP
                dts += _TS_WRAP
        self._last = dts
        return self.milliseconds(dts), self.milliseconds(dts + ahead)

    def milliseconds(self, ticks: int) -> int:
        """``ticks`` of the time base, rounded."""
        return round(ticks * 1000 * self._base)


# -- what FLV's form is ------------------------------------------------------------------------------------------------------


def track(codec: Codec, config: bytes) -> Track:
    """A track with the FLV body that declares it, where its codec has one."""
    if not config:
        return Track(codec, b"")
    header = flv.video_sequence_header if codec.kind is MediaKind.VIDEO else flv.audio_sequence_header
    return Track(codec, config, header(codec, config))


def packet(codec: Codec, dts: int, pts: int, keyframe: bool, data: bytes) -> Packet:
    """One access unit as FLV has it."""
    if codec.kind is MediaKind.AUDIO:
        body, cts, keyframe = flv.audio_frame(codec, data), 0, True
    else:
        cts = max(-(1 << 23), min(pts - dts, (1 << 23) - 1))
        body = flv.video_frame(codec, keyframe, cts, data)
    return Packet(codec.kind, dts, keyframe, body, len(body) - len(data), cts)


class Copied:
    """A stream that is passed on as it is."""

    def __init__(self, codec: Codec, stream: av.VideoStream | av.AudioStream) -> None:
        self._codec = codec
        self._clock = Clock(stream.time_base or Fraction(1, 1000))
        extradata = bytes(stream.codec_context.extradata or b"")
        channels = stream.codec_context.channels if isinstance(stream, av.AudioStream) else 0
        self._form = _form(codec, extradata, channels)
        self._declared: bytes | None = None
        # Pictures at the beginning whose dts nobody knows yet; None once one is known.
        self._untimed: list[AnyPacket] | None = [] if codec.kind is MediaKind.VIDEO else None

    def feed(self, packet_in: AnyPacket) -> Iterator[Track | Packet]:
        if self._untimed is None:
            yield from self._convert(packet_in)
        else:
            self._untimed.append(packet_in)
            if packet_in.dts is not None or len(self._untimed) > _MOST_UNTIMED:
                yield from self.finish()

    def finish(self) -> Iterator[Track | Packet]:
        held, self._untimed = self._untimed or [], None
        # Containers without dts (Matroska) tell it only once as many pictures have come as may be out of order.
        if held and held[-1].dts is not None:
            step = held[0].duration or _DEFAULT_STEP / (held[0].time_base or 1)
            for distance, packet_in in enumerate(reversed(held)):
                packet_in.dts = held[-1].dts - round(distance * step)
        for packet_in in held:
            yield from self._convert(packet_in)

    def _convert(self, packet_in: AnyPacket) -> Iterator[Track | Packet]:
        data = self._form.convert(bytes(packet_in), packet_in.is_keyframe)
        dts, pts = self._clock.stamps(packet_in)
        config = self._form.config
        if config is None or not data:
            return  # nobody could decode it yet
        if config != self._declared:
            self._declared = config
            yield track(self._codec, config)
        yield packet(self._codec, dts, pts, packet_in.is_keyframe, data)


class _Form(Protocol):
    """How one codec's data is put. ``config`` is None until it is known what Track.config shall be."""

    config: bytes | None

    def convert(self, data: bytes, keyframe: bool) -> bytes: ...


def _form(codec: Codec, extradata: bytes, channels: int) -> _Form:
    match codec:
        case Codec.H264 | Codec.HEVC:
            return _NalUnits(codec, extradata)
        case Codec.AAC:
            return _Aac(extradata)
        case Codec.AV1 | Codec.VP9:
            return _Pictures(codec, extradata)
        case Codec.OPUS:
            return _Plain(extradata if extradata.startswith(b"OpusHead") else _OPUS_HEAD % (min(channels, 2) or 2))
        case Codec.FLAC:
            return _Plain(extradata[_STREAM_INFO] if extradata.startswith(_FLAC_MARKER) else extradata)
        case _:
            return _Plain(b"")


class _Plain:
    """Data that is stored alike everywhere."""

    def __init__(self, config: bytes) -> None:
        self.config: bytes | None = config

    def convert(self, data: bytes, keyframe: bool) -> bytes:  # noqa: ARG002
        return data


class _Aac(_Plain):
    """AAC, raw or in ADTS (ISO/IEC 14496-3, 1.A.2.2)."""

    def convert(self, data: bytes, keyframe: bool) -> bytes:  # noqa: ARG002
        if len(data) > 7 and data[0] == 0xFF and data[1] & 0xF6 == 0xF0:
            profile, frequency = (data[2] >> 6) + 1, data[2] >> 2 & 15
            channels = (data[2] & 1) << 2 | data[3] >> 6
            self.config = (profile << 11 | frequency << 7 | channels << 3).to_bytes(2)
            return data[7 if data[1] & 1 else 9 :]
        self.config = self.config or None
        return data


class _Pictures:
    """AV1 and VP9: where the container does not say how to decode, a keyframe does."""

    def __init__(self, codec: Codec, extradata: bytes) -> None:
        self._codec = codec
        described = extradata[:1] == b"\x81" if codec is Codec.AV1 else bool(extradata)
        self.config: bytes | None = extradata if described else None

    def convert(self, data: bytes, keyframe: bool) -> bytes:
        if keyframe and self.config is None:
            if self._codec is Codec.AV1:
                header = av1.find_sequence_header(data)
                self.config = None if header is None else av1.configuration_record(header)
            else:
                # Without the size behind it, which is our own addition.
                self.config = codecs.complete(Track(Codec.VP9, b""), data).config[:12] or None
        return codecs.sample_data(self._codec, data)


class _NalUnits:
    """H.264 and HEVC, in Annex B or with lengths of any size: with lengths of 4 bytes, and the record that belongs to it."""

    def __init__(self, codec: Codec, extradata: bytes) -> None:
        self._hevc = codec is Codec.HEVC
        self._sets: dict[int, list[bytes]] = {}
        self._length = 0
        self.config: bytes | None = None
        if extradata[:3] in (b"\0\0\1", b"\0\0\0"):
            self._learn(nal.split_annexb(extradata))
        elif len(extradata) > 22 or (len(extradata) > 4 and extradata[:1] == b"\1" and not self._hevc):
            self._length = (extradata[21 if self._hevc else 4] & 3) + 1
            if self._hevc:
                units = [unit for members in hevc.read_record(extradata).values() for unit in members]
            else:
                units = [unit for members in avc.read_record(extradata) for unit in members]
            self._learn(units)
            if self._length == 4:
                self.config = extradata

    def convert(self, data: bytes, keyframe: bool) -> bytes:  # noqa: ARG002
        if self._length == 4:
            return data
        units = list(nal.split_length_prefixed(data, self._length)) if self._length else nal.split_annexb(data)
        if any(self._kind(unit) == (hevc_sps.NAL_SPS if self._hevc else avc.NAL_SPS) for unit in units if unit):
            self._learn(units)
        delimiter = _HEVC_AUD if self._hevc else _H264_AUD
        return nal.length_prefixed(unit for unit in units if unit and self._kind(unit) != delimiter)

    def _kind(self, unit: bytes) -> int:
        return unit[0] >> 1 & 0x3F if self._hevc else unit[0] & 0x1F

    def _learn(self, units: list[bytes]) -> None:
        """Take over the parameter sets among ``units``; a kind that none is of stays as it was."""
        kinds = _HEVC_SETS if self._hevc else (avc.NAL_SPS, avc.NAL_PPS)
        for kind in kinds:
            if found := [unit for unit in units if unit and self._kind(unit) == kind]:
                self._sets[kind] = list(dict.fromkeys(found))
        if self._sets.get(kinds[-2]):
            record: Callable[..., bytes] = hevc.configuration_record if self._hevc else avc.configuration_record
            self.config = record(*(self._sets.get(kind, []) for kind in kinds))


def codec_of(stream: av.stream.Stream) -> Codec | None:
    """The codec of ``stream``, if the engine knows it."""
    return from_ffmpeg(stream.codec.canonical_name)
