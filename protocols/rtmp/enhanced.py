"""Enhanced RTMP and FLV, versions 1 and 2 (Veovera): FourCC codecs, multitrack, ModEx, capabilities of the server."""

import enum
from typing import NamedTuple

from protocols.errors import LocalProtocolError
from protocols.media import Codec, MediaKind

VIDEO_FOURCC = {
    b"avc1": Codec.H264,
    b"hvc1": Codec.HEVC,
    b"av01": Codec.AV1,
    b"vp09": Codec.VP9,
    b"vp08": Codec.VP8,
}
AUDIO_FOURCC = {
    b"mp4a": Codec.AAC,
    b"Opus": Codec.OPUS,
    b"fLaC": Codec.FLAC,
    b"ac-3": Codec.AC3,
    b"ec-3": Codec.EAC3,
    b".mp3": Codec.MP3,
}
FOURCC = {codec: fourcc for fourcc, codec in (VIDEO_FOURCC | AUDIO_FOURCC).items()}


class PacketType(enum.Enum):
    """VideoPacketType and AudioPacketType in one: their numbers differ, their meanings do not."""

    SEQUENCE_START = "sequence start"
    CODED_FRAMES = "coded frames"
    SEQUENCE_END = "sequence end"
    CODED_FRAMES_X = "coded frames without composition time"
    METADATA = "metadata"
    MPEG2_TS_SEQUENCE_START = "MPEG-2 TS sequence start"
    MULTICHANNEL_CONFIG = "multichannel configuration"
    MULTITRACK = "multitrack"
    MOD_EX = "modifier extension"


_VIDEO_TYPES = {
    0: PacketType.SEQUENCE_START,
    1: PacketType.CODED_FRAMES,
    2: PacketType.SEQUENCE_END,
    3: PacketType.CODED_FRAMES_X,
    4: PacketType.METADATA,
    5: PacketType.MPEG2_TS_SEQUENCE_START,
    6: PacketType.MULTITRACK,
    7: PacketType.MOD_EX,
}
_AUDIO_TYPES = {
    0: PacketType.SEQUENCE_START,
    1: PacketType.CODED_FRAMES,
    2: PacketType.SEQUENCE_END,
    4: PacketType.MULTICHANNEL_CONFIG,
    5: PacketType.MULTITRACK,
    7: PacketType.MOD_EX,
}
_VIDEO_NUMBERS = {packet_type: number for number, packet_type in _VIDEO_TYPES.items()}
_AUDIO_NUMBERS = {packet_type: number for number, packet_type in _AUDIO_TYPES.items()}
KEY_FRAME, INTER_FRAME, DISPOSABLE_INTER_FRAME, GENERATED_KEY_FRAME, COMMAND_FRAME = 1, 2, 3, 4, 5
_ONE_TRACK, _MANY_TRACKS, _MANY_TRACKS_MANY_CODECS = 0, 1, 2
_EX_AUDIO = 9
_CAN_FORWARD = 4  # of FourCcInfoMask


class TrackSlice(NamedTuple):
    """Where one track's share of a message lies: ``body[start:end]``. ``codec`` is None for a FourCC that we do not know."""

    track_id: int
    codec: Codec | None
    start: int
    end: int


class ExTag(NamedTuple):
    """An extended tag body, taken apart. ``multitrack`` says that its tracks are numbered, even if there is but one."""

    packet_type: PacketType
    frame_type: int
    multitrack: bool
    tracks: tuple[TrackSlice, ...]


def parse(kind: MediaKind, body: bytes) -> ExTag | None:
    """Take an ExVideoTagHeader or ExAudioTagHeader apart. None if it is cut short or says what no version defines.

    Modifiers (ModEx) are passed over: the one that is defined moves the timestamp by a fraction of the millisecond that FLV
    counts in. A command frame has no tracks.
    """
    try:
        return _parse(kind, body)
    except (IndexError, KeyError):
        return None


def _parse(kind: MediaKind, body: bytes) -> ExTag | None:
    video = kind is MediaKind.VIDEO
    types = _VIDEO_TYPES if video else _AUDIO_TYPES
    frame_type = body[0] >> 4 & 7 if video else 0
    packet_type = types[body[0] & 15]
    offset = 1
    while packet_type is PacketType.MOD_EX:
        size = body[offset] + 1
        offset += 1
        if size == 256:
            size = (body[offset] << 8 | body[offset + 1]) + 1
            offset += 2
        offset += size + 1
        packet_type = types[body[offset - 1] & 15]
    if video and frame_type == COMMAND_FRAME and packet_type is not PacketType.METADATA:
        return ExTag(packet_type, frame_type, False, ())
    fourccs = VIDEO_FOURCC if video else AUDIO_FOURCC
    if packet_type is not PacketType.MULTITRACK:
        tracks = (_slice(body, 0, _fourcc(body, offset, fourccs), offset + 4, len(body)),)
        return ExTag(packet_type, frame_type, False, tracks)
    layout, packet_type = body[offset] >> 4, types[body[offset] & 15]
    if layout > _MANY_TRACKS_MANY_CODECS or packet_type in (PacketType.MULTITRACK, PacketType.MOD_EX):
        return None
    return ExTag(packet_type, frame_type, True, _tracks(body, offset + 1, layout, fourccs))


def _tracks(body: bytes, offset: int, layout: int, fourccs: dict[bytes, Codec]) -> tuple[TrackSlice, ...]:
    codec = None
    if layout != _MANY_TRACKS_MANY_CODECS:
        codec = _fourcc(body, offset, fourccs)
        offset += 4
    if layout == _ONE_TRACK:
        return (_slice(body, body[offset], codec, offset + 1, len(body)),)
    tracks = []
    while offset < len(body):
        if layout == _MANY_TRACKS_MANY_CODECS:
            codec = _fourcc(body, offset, fourccs)
            offset += 4
        start = offset + 4
        end = start + (body[offset + 1] << 16 | body[offset + 2] << 8 | body[offset + 3])
        tracks.append(_slice(body, body[offset], codec, start, end))
        offset = end
    return tuple(tracks)


def _fourcc(body: bytes, offset: int, fourccs: dict[bytes, Codec]) -> Codec | None:
    fourcc = body[offset : offset + 4]
    if len(fourcc) < 4:
        raise IndexError
    return fourccs.get(fourcc)


def _slice(body: bytes, track_id: int, codec: Codec | None, start: int, end: int) -> TrackSlice:
    if not start <= end <= len(body):
        raise IndexError
    return TrackSlice(track_id, codec, start, end)


def header(packet_type: PacketType, codec: Codec, frame_type: int = KEY_FRAME) -> bytes:
    """The five bytes before the coded data of one track. ``frame_type`` is for video. LocalProtocolError without FourCC."""
    fourcc = FOURCC.get(codec)
    if fourcc is None:
        raise LocalProtocolError(f"{codec.value} has no FourCC in FLV")
    video = codec.kind is MediaKind.VIDEO
    number = (_VIDEO_NUMBERS if video else _AUDIO_NUMBERS)[packet_type]
    return bytes((0x80 | frame_type << 4 | number if video else _EX_AUDIO << 4 | number,)) + fourcc


class Capability(enum.IntFlag):
    """CapsExMask: what an end understands beyond codecs. The fourth, nanoseconds in timestamps, we do not: see ``parse``."""

    RECONNECT = 1
    MULTITRACK = 2
    MOD_EX = 4


def server_capabilities() -> dict[str, object]:
    """The properties to merge into the reply to ``connect``, as AMF values: we forward every codec in the tables above."""
    forward = float(_CAN_FORWARD)
    caps = Capability.RECONNECT | Capability.MULTITRACK | Capability.MOD_EX
    return {
        "fourCcList": [fourcc.decode() for fourcc in (*VIDEO_FOURCC, *AUDIO_FOURCC)],
        "videoFourCcInfoMap": {fourcc.decode(): forward for fourcc in VIDEO_FOURCC},
        "audioFourCcInfoMap": {fourcc.decode(): forward for fourcc in AUDIO_FOURCC},
        "capsEx": float(caps),
    }
