"""The words that every floor shares: Codec, Track, Packet, Metadata. FFmpeg's words, FLV's clock."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class MediaKind(enum.Enum):
    """What a track carries."""

    VIDEO = "video"
    AUDIO = "audio"


_VIDEO_NAMES = frozenset({"h264", "hevc", "av1", "vp9", "vp8", "flv1", "vp6f"})


class Codec(enum.Enum):
    """A codec by FFmpeg's name for it."""

    H264 = "h264"
    HEVC = "hevc"
    AV1 = "av1"
    VP9 = "vp9"
    VP8 = "vp8"
    H263 = "flv1"
    VP6 = "vp6f"
    AAC = "aac"
    OPUS = "opus"
    MP3 = "mp3"
    FLAC = "flac"
    AC3 = "ac3"
    EAC3 = "eac3"
    SPEEX = "speex"
    NELLYMOSER = "nellymoser"
    PCM_ALAW = "pcm_alaw"
    PCM_MULAW = "pcm_mulaw"
    PCM_S16LE = "pcm_s16le"
    ADPCM_SWF = "adpcm_swf"

    kind: MediaKind

    def __init__(self, name: str) -> None:
        self.kind = MediaKind.VIDEO if name in _VIDEO_NAMES else MediaKind.AUDIO


@dataclass(frozen=True, slots=True)
class Track:
    """One elementary stream's decoder parameters, as the publisher last declared them.

    ``config`` is the decoder configuration in the form that ISO BMFF stores: the body of avcC, hvcC, av1C or vpcC, an
    AudioSpecificConfig (ISO/IEC 14496-3), the whole ``OpusHead`` packet (RFC 7845, 5.1), FLAC's STREAMINFO block.
    Empty for codecs that need none (MP3, AC-3) until ``codec.complete`` has looked into a packet.
    ``body`` is the FLV tag body that carried it, so that RTMP and HTTP-FLV can repeat it unchanged; empty where the
    codec has no sequence header.
    """

    codec: Codec
    config: bytes
    body: bytes = b""
    track_id: int = 0

    @property
    def kind(self) -> MediaKind:
        return self.codec.kind


@dataclass(slots=True)
class Packet:
    """One coded access unit. Immutable by agreement; not frozen because a frozen one costs three times as much to make.

    ``dts`` is in milliseconds on the stream's own unwrapped clock and never goes back within a kind; ``cts`` is the
    composition offset (pts - dts) in milliseconds. ``body`` is the FLV tag body as it came from the wire and
    ``body[offset:]`` is the coded access unit (length-prefixed NAL units for H.264 and HEVC, a raw AAC frame …).
    ``discontinuity`` says that the clock or the source jumped just before this packet.
    """

    kind: MediaKind
    dts: int
    keyframe: bool
    body: bytes
    offset: int
    cts: int = 0
    discontinuity: bool = False

    @property
    def pts(self) -> int:
        return self.dts + self.cts

    @property
    def payload(self) -> bytes:
        """The coded access unit (a copy: the packager's and the transcoder's business, not the fan-out's)."""
        return self.body[self.offset :]


@dataclass(frozen=True, slots=True)
class Metadata:
    """An onMetaData message: its values, and the AMF0 body ``"onMetaData", {…}`` as players are sent it."""

    body: bytes
    values: Mapping[str, object] = field(default_factory=dict)
