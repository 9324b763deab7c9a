"""Matroska (RFC 9559) of one picture and one sound track, written once from front to back: clusters of known size in a segment of
unknown size, so that a file that was cut off plays up to its last whole cluster.
"""

import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from protocols.codec import AudioParameters, VideoParameters, flac, parameters
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.media import Codec, MediaKind, Track

_EBML, _SEGMENT, _INFO, _TRACKS, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1549A966, 0x1654AE6B, 0x1F43B675
_VOID, _DURATION, _TIMESTAMP, _SIMPLE_BLOCK = 0xEC, 0x4489, 0xE7, 0xA3
_UNKNOWN_SIZE = b"\x01" + b"\xff" * 7
_NANOSECONDS = 1_000_000  # of a tick: timestamps are in milliseconds
_KEYFRAME = 0x80
_LONGEST_NUMBER = 8  # bytes of an unsigned integer (RFC 8794, 7.2)

TRACK_NUMBERS = {MediaKind.VIDEO: 1, MediaKind.AUDIO: 2}
_NAMES = {
    Codec.H264: "V_MPEG4/ISO/AVC",
    Codec.HEVC: "V_MPEGH/ISO/HEVC",
    Codec.AV1: "V_AV1",
    Codec.VP9: "V_VP9",
    Codec.AAC: "A_AAC",
    Codec.OPUS: "A_OPUS",
    Codec.FLAC: "A_FLAC",
    Codec.AC3: "A_AC3",
    Codec.EAC3: "A_EAC3",
    Codec.MP3: "A_MPEG/L3",
}
_WITHOUT_PRIVATE = frozenset({Codec.VP9, Codec.AC3, Codec.EAC3, Codec.MP3})
_OPUS_SEEK = 80_000_000  # nanoseconds that a decoder needs before sound is right (RFC 7845, 4.6)


class Block(NamedTuple):
    """One access unit: ``time`` (ms) is when it is shown."""

    kind: MediaKind
    time: int
    keyframe: bool
    data: bytes


class Head(NamedTuple):
    """What a file begins with, and where in it (bytes) room is kept for the duration."""

    data: bytes
    room: int


def head(tracks: Mapping[MediaKind, Track]) -> Head:
    """Everything before the first cluster. RemoteProtocolError for a track that has no form here."""
    ebml = _master(
        _EBML,
        _number(0x4286, 1),
        _number(0x42F7, 1),
        _number(0x42F2, 4),
        _number(0x42F3, 8),
        _element(0x4282, b"matroska"),
        _number(0x4287, 4),
        _number(0x4285, 2),
    )
    entries = _master(_TRACKS, *(_track_entry(tracks[kind]) for kind in MediaKind if kind in tracks))
    # A duration as it will be: an element of 2 + 1 + 8 bytes. The segment's header has 12, that of what describes it 5.
    room = _element(_VOID, bytes(9))
    name = b"mediaserver"
    before = ebml + _SEGMENT.to_bytes(4) + _UNKNOWN_SIZE
    content = room + _number(0x2AD7B1, _NANOSECONDS) + _element(0x4D80, name) + _element(0x5741, name)
    information = _INFO.to_bytes(4) + _size(len(content))
    return Head(before + information + content + entries, len(before) + len(information))


def duration(seconds: float) -> bytes:
    """What goes where ``Head.room`` is."""
    return _element(_DURATION, struct.pack(">d", seconds * 1000))


def cluster(blocks: Iterable[Block]) -> bytes:
    """Blocks that are within half a minute of the earliest. LocalProtocolError if they are not, or there are none."""
    blocks = list(blocks)
    if not blocks:
        raise LocalProtocolError("a cluster of no blocks")
    begin = min(block.time for block in blocks)
    try:
        content = [_number(_TIMESTAMP, begin)]
        for block in blocks:
            track, flags = 0x80 | TRACK_NUMBERS[block.kind], _KEYFRAME if block.keyframe else 0
            start = struct.pack(">BhB", track, block.time - begin, flags)
            content += (b"\xa3", _size(len(start) + len(block.data)), start, block.data)
    except (struct.error, OverflowError) as error:
        raise LocalProtocolError(f"a block's time does not fit its cluster: {error}") from None
    return _master(_CLUSTER, *content)


def _track_entry(track: Track) -> bytes:
    name = _NAMES.get(track.codec)
    if name is None:
        raise RemoteProtocolError(f"{track.codec.value} has no form in Matroska here")
    described = parameters(track)
    number = TRACK_NUMBERS[track.kind]
    is_video = isinstance(described, VideoParameters)
    parts = [
        _number(0xD7, number),
        _number(0x73C5, number),
        _number(0x83, 1 if is_video else 2),
        _number(0x9C, 0),
        _element(0x22B59C, b"und"),
        _element(0x86, name.encode()),
    ]
    if track.codec not in _WITHOUT_PRIVATE:
        private = b"fLaC\x80\x00\x00\x22" + flac.stream_info(track.config) if track.codec is Codec.FLAC else track.config
        parts.append(_element(0x63A2, private))
    if track.codec is Codec.OPUS:
        skip = int.from_bytes(track.config[10:12], "little")
        parts += (_number(0x56AA, skip * 1_000_000_000 // 48_000), _number(0x56BB, _OPUS_SEEK))
    parts.append(_video(described) if isinstance(described, VideoParameters) else _audio(described))
    return _master(0xAE, *parts)


def _video(video: VideoParameters) -> bytes:
    if not (video.width and video.height):
        raise RemoteProtocolError("the picture size is not known before the first keyframe")
    sizes = [_number(0xB0, video.width), _number(0xBA, video.height)]
    if video.display_width != video.width:
        sizes += (_number(0x54B0, video.display_width), _number(0x54BA, video.height))
    return _master(0xE0, *sizes)


def _audio(audio: AudioParameters) -> bytes:
    if not audio.sample_rate:
        raise RemoteProtocolError("the sample rate is not known before the first packet")
    return _master(0xE1, _element(0xB5, struct.pack(">d", audio.sample_rate)), _number(0x9F, audio.channels or 2))


# -- elements (EBML, RFC 8794) ---------------------------------------------------------------------------------------------


def _element(identifier: int, content: bytes) -> bytes:
    return identifier.to_bytes((identifier.bit_length() + 7) // 8) + _size(len(content)) + content


def _master(identifier: int, *parts: bytes) -> bytes:
    return _element(identifier, b"".join(parts))


def _number(identifier: int, value: int) -> bytes:
    return _element(identifier, value.to_bytes(max((value.bit_length() + 7) // 8, 1)))


def _size(value: int) -> bytes:
    """A data size in as few bytes as hold it; all ones would mean that it is unknown."""
    width = next(width for width in range(1, 9) if value < (1 << 7 * width) - 1)
    return (value | 1 << 7 * width).to_bytes(width)


def read_element(data: bytes) -> tuple[int, int, int]:
    """Identifier, header size and content size (-1: unknown) of the element that ``data`` (12 bytes will do) begins with.

    RemoteProtocolError if it is none.
    """
    if not data or not data[0] >> 4:
        raise RemoteProtocolError("not an EBML element")
    width = 9 - data[0].bit_length()
    length = 9 - data[width].bit_length() if len(data) > width and data[width] else 0
    if not length or len(data) < width + length:
        raise RemoteProtocolError("an EBML element that ends within its header")
    field = int.from_bytes(data[width : width + length])
    size = field & (1 << 7 * length) - 1
    return int.from_bytes(data[:width]), width + length, -1 if size == (1 << 7 * length) - 1 else size


def read_head(data: bytes) -> tuple[int, int]:
    """Where the first cluster begins in a file that ``head`` began (``data``: as much of it as there is), and where the room for
    the duration is. RemoteProtocolError if it is no such file."""
    position, room = 0, -1
    while True:
        identifier, header, size = read_element(data[position : position + 12])
        if identifier == _CLUSTER:
            return position, room
        if identifier == _INFO:
            room = position + header
        position += header if identifier == _SEGMENT else header + size
        if size < 0 and identifier != _SEGMENT:
            raise RemoteProtocolError("an element of unknown size where none may be")


def cluster_end(content: bytes) -> int:
    """The latest time (ms) in a cluster's content. RemoteProtocolError if it is malformed."""
    begin = latest = 0
    position = 0
    while position < len(content):
        identifier, header, size = read_element(content[position : position + 12])
        start = position + header
        if identifier == _TIMESTAMP:
            if not 0 <= size <= _LONGEST_NUMBER:
                raise RemoteProtocolError(f"a timestamp of {size} bytes")
            begin = latest = int.from_bytes(content[start : start + size])
        elif identifier == _SIMPLE_BLOCK:
            if size < 4:
                raise RemoteProtocolError("a block of fewer than 4 bytes")
            latest = max(latest, begin + int.from_bytes(content[start + 1 : start + 3], signed=True))
        position = start + max(size, 0)
    return latest


def is_cluster(identifier: int) -> bool:
    """Whether an element is a cluster."""
    return identifier == _CLUSTER
