"""A transcoder's process: pictures to packets, by one of FFmpeg's encoders or one of somebody's own."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import av
from av.codec.context import Flags
from av.video.frame import PictureType

from mediaserver.encoders import picture_format
from mediaserver.transcode.decoding import MILLISECONDS
from mediaserver.transcode.plan import Lane
from mediaserver.worker.priority import stand_back
from protocols.codec import av1, avc, hevc, hevc_sps
from protocols.codec.nal import length_prefixed, split_annexb
from protocols.errors import ProtocolError
from protocols.media import Codec

#: Seconds after which an encoder sets a keyframe by itself, which is not wanted: keyframes are where the plan has them.
_LONGEST_GOP = 600
#: A peak may be so much above the mean, over so many seconds of it.
PEAK, PEAK_SECONDS = 1.25, 1.0
#: FFmpeg's name for "limited" range (AVColorRange), in which everybody expects pictures, and for "full".
_LIMITED, _FULL = 1, 2
#: Its names for matrices (AVColorSpace): that of RGB, and none that is told.
_RGB, _UNSPECIFIED = 0, 2
#: How SVT-AV1 names its presets.
_SVT_PRESETS = {"ultrafast": 12, "superfast": 11, "veryfast": 10, "faster": 9, "fast": 8, "medium": 7, "slow": 6}
_AVC_DELIMITER, _HEVC_DELIMITER = 9, 35


class EncoderFailed(Exception):
    """The encoder cannot go on, or not begin."""


@dataclass(frozen=True, slots=True)
class Coded:
    """One coded picture as FLV and ISO BMFF store it; times in ms."""

    pts: int
    dts: int
    keyframe: bool
    data: bytes


class Encoder(Protocol):
    """What makes packets of pictures of one size. ``config`` is the decoder configuration (Track.config), known with the first
    packet. Raises EncoderFailed where it cannot go on."""

    config: bytes

    def encode(self, frame: av.VideoFrame, *, key: bool) -> list[Coded]:
        """The packets that are ready after one more picture, whose pts is in ms; a keyframe where ``key``."""

    def drain(self) -> list[Coded]:
        """The packets that were not ready yet. Nothing can be encoded afterwards."""


def open_encoder(name: str, lane: Lane, like: av.VideoFrame) -> Encoder:
    """The encoder ``name`` for pictures with the colours of ``like``. Raises EncoderFailed."""
    module, _, factory = name.partition(":")
    if factory:
        make: Callable[[Lane, av.VideoFrame], Encoder] = getattr(importlib.import_module(module), factory)
        return make(lane, like)
    return FFmpegEncoder(name, lane, like)


class FFmpegEncoder:
    """One of FFmpeg's."""

    def __init__(self, name: str, lane: Lane, like: av.VideoFrame) -> None:
        self.config = b""
        self._codec = lane.codec
        try:
            self._context = _open(name, lane, like)
        except (av.FFmpegError, ValueError, TypeError) as error:
            raise EncoderFailed(_words(error)) from error
        self._header = self._context.extradata or b""
        # Apple's encoders give what ISO BMFF stores; all others give start codes.
        self._ready_made = lane.codec is not Codec.AV1 and self._header[:1] == b"\x01"

    def encode(self, frame: av.VideoFrame, *, key: bool) -> list[Coded]:
        frame.pict_type = PictureType.I if key else PictureType.NONE
        return self._coded(frame)

    def drain(self) -> list[Coded]:
        return self._coded(None)

    def _coded(self, frame: av.VideoFrame | None) -> list[Coded]:
        try:
            packets = self._context.encode(frame)
            return [self._stored(packet) for packet in packets if packet.pts is not None and packet.dts is not None]
        except (av.FFmpegError, ValueError, ProtocolError) as error:
            raise EncoderFailed(_words(error)) from error

    def _stored(self, packet: "av.Packet[Any]") -> Coded:
        data = bytes(packet)
        if self._codec is Codec.AV1:
            data = av1.strip_temporal_delimiters(data)
            header = av1.find_sequence_header(data) if packet.is_keyframe else None
            if header is not None:
                self.config = av1.configuration_record(header)
        elif self._ready_made:
            self.config = self._header
        else:
            data = self._from_start_codes(split_annexb(data), keyframe=packet.is_keyframe)
        return Coded(packet.pts or 0, packet.dts or 0, packet.is_keyframe, data)

    def _from_start_codes(self, units: Sequence[bytes], *, keyframe: bool) -> bytes:
        sort, sets, delimiter = _KINDS[self._codec]
        if keyframe:
            own = {kind: [unit for unit in units if sort(unit) == kind] for kind in sets}
            if not all(own.values()):
                header = split_annexb(self._header)
                own = {kind: [unit for unit in header if sort(unit) == kind] for kind in sets}
            record = avc.configuration_record if self._codec is Codec.H264 else hevc.configuration_record
            self.config = record(*own.values())
        return length_prefixed(unit for unit in units if sort(unit) not in (*sets, delimiter))


#: The type of a NAL unit, the types that make up a configuration record, in its order, and the type that only start codes need.
_KINDS: dict[Codec, tuple[Callable[[bytes], int], tuple[int, ...], int]] = {
    Codec.H264: (lambda unit: unit[0] & 0x1F, (avc.NAL_SPS, avc.NAL_PPS), _AVC_DELIMITER),
    Codec.HEVC: (lambda unit: unit[0] >> 1 & 0x3F, (hevc_sps.NAL_VPS, hevc_sps.NAL_SPS, hevc_sps.NAL_PPS), _HEVC_DELIMITER),
}


def _open(name: str, lane: Lane, like: av.VideoFrame) -> av.VideoCodecContext:
    context = av.CodecContext.create(name, "w")
    if not isinstance(context, av.VideoCodecContext):
        raise TypeError(f"{name} encodes no video")
    rate = Fraction(lane.frame_rate or lane.rate or 30.0).limit_denominator(1001)
    context.width, context.height, context.pix_fmt = lane.width, lane.height, picture_format(name)
    context.time_base, context.framerate = MILLISECONDS, rate
    context.bit_rate = lane.bitrate
    context.gop_size = max(1, int(rate * _LONGEST_GOP))
    context.thread_count = lane.threads
    context.flags |= Flags.global_header
    context.color_range = _FULL if like.color_range == _FULL else _LIMITED
    context.colorspace = _UNSPECIFIED if like.colorspace == _RGB else like.colorspace  # which some say of what is none
    context.color_primaries, context.color_trc = like.color_primaries, like.color_trc
    context.options = _options(name, lane)
    context.open()
    stand_back()
    return context


def _options(name: str, lane: Lane) -> dict[str, str]:
    """What keeps keyframes where they are forced, the rate where it is asked for, and pictures from being held back long."""
    constant = lane.constant_bitrate
    peak = lane.bitrate if constant else round(lane.bitrate * PEAK)
    options = {"maxrate": str(peak), "bufsize": str(round(lane.bitrate * PEAK_SECONDS))}
    if constant:
        options["minrate"] = options["maxrate"]
    if name == "libx264":
        options |= {"preset": lane.preset, "forced-idr": "1", "sc_threshold": "0", "x264-params": "log=-1"}
        return {**options, "nal-hrd": "cbr"} if constant else options
    if name == "libx265":
        pools = str(lane.threads) if lane.threads > 1 else "none"
        quiet = f"scenecut=0:open-gop=0:log-level=none:frame-threads=1:pools={pools}"
        return {**options, "preset": lane.preset, "forced-idr": "1", "x265-params": quiet}
    if name == "libsvtav1":
        # Low delay is there at a constant rate alone, and without a buffer's size from us.
        low_delay = f"lp={lane.threads}:scd=0:pred-struct=1:rc=2:force-key-frames=1"
        return {"preset": str(_SVT_PRESETS[lane.preset]), "svtav1-params": low_delay}
    if name.endswith("_nvenc"):
        rate = "cbr" if constant else "vbr"
        return {**options, "preset": "p4", "rc": rate, "forced-idr": "1", "no-scenecut": "1", "bf": "0", "delay": "0"}
    if name.endswith("_qsv"):
        return {**options, "preset": "veryfast", "forced_idr": "1", "async_depth": "1", "bf": "0", "look_ahead": "0"}
    if name.endswith("_amf"):
        rate = "cbr" if constant else "vbr_peak"
        return {**options, "usage": "transcoding", "quality": "balanced", "rc": rate, "forced_idr": "1", "bf": "0"}
    return {**options, "realtime": "1", "bf": "0"}


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"
