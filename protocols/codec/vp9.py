"""VP9: the vpcC record and the RFC 6381 name (VP Codec ISO Media File Format Binding, version 1), and a frame's header.

The record has no picture size; only a keyframe's header has. ``complete_record`` puts it behind the record, two bytes a side,
where ``parameters`` finds it and ``record_body`` leaves it out again.
"""

from dataclasses import dataclass

from protocols.codec.bits import BitReader
from protocols.codec.description import Colour, VideoParameters
from protocols.errors import RemoteProtocolError

_VERSION_AND_FLAGS = b"\1\0\0\0"
_BODY = 8  # bytes of a record without codec initialization data, which VP9 does not have
_SIZE = 4  # bytes of a width and a height
_COMPLETE = len(_VERSION_AND_FLAGS) + _BODY + _SIZE
_SYNC_CODE = 0x498342
_RGB = 7
_FRAME_MARKER = 2
_LOWEST_LEVEL = 10
_MATRICES = (2, 6, 1, 6, 7, 9, 2, 0)  # color_space → matrix coefficients
_CHROMA_420, _CHROMA_422, _CHROMA_444, _CHROMA_440 = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class KeyframeHeader:
    """What we use of a keyframe's uncompressed header. ``chroma`` is vpcC's chromaSubsampling."""

    profile: int
    bit_depth: int
    chroma: int
    full_range: bool
    matrix: int
    width: int
    height: int


def parameters(config: bytes) -> VideoParameters:
    """What a vpcC record says; the size is 0 by 0 until ``complete_record`` has seen a keyframe."""
    bits = BitReader(record_body(config))
    size = config[-_SIZE:] if len(config) == _COMPLETE else bytes(_SIZE)
    width, height = int.from_bytes(size[:2], "big"), int.from_bytes(size[2:], "big")
    profile, level = bits.read(8), bits.read(8)
    depth, chroma, full_range = bits.read(4), bits.read(3), bits.flag()
    colour = Colour(bits.read(8), bits.read(8), bits.read(8), full_range)
    # level 0 is "unknown" in encoders' records, but no level of the codec, and players refuse the name
    name = f"vp09.{profile:02}.{level or _LOWEST_LEVEL:02}.{depth:02}"
    points = (colour.primaries, colour.transfer, colour.matrix)
    plain = points in {(1, 1, 1), (2, 2, 2), (0, 0, 0)} and not full_range
    if not plain or chroma > _CHROMA_420:
        name += f".{chroma:02}.{points[0]:02}.{points[1]:02}.{points[2]:02}.{full_range:02d}"
    return VideoParameters(
        width=width,
        height=height,
        frame_rate=0.0,
        rfc6381=name,
        profile=profile,
        level=level,
        bit_depth=depth,
        colour=None if plain else colour,
    )


def record_body(config: bytes) -> bytes:
    """The vpcC record behind its version and flags. Encoders' FLV has them or leaves them out: both are read."""
    behind_version = config.startswith(_VERSION_AND_FLAGS) and len(config) >= len(_VERSION_AND_FLAGS) + _BODY
    record = config[len(_VERSION_AND_FLAGS) if behind_version else 0 :][:_BODY]
    if len(record) < _BODY:
        raise RemoteProtocolError("a vpcC record that ends early")
    return record[:6] + b"\0\0"


def complete_record(config: bytes, keyframe: bytes) -> bytes:
    """``config`` with the size of a keyframe behind it; without one, a record made from the keyframe alone."""
    header = parse_keyframe(keyframe)
    if header is None:
        return config
    if config:
        record = record_body(config)
    else:
        chroma = header.bit_depth << 4 | header.chroma << 1 | header.full_range
        record = bytes((header.profile, 0, chroma, 2, 2, header.matrix, 0, 0))
    return _VERSION_AND_FLAGS + record + header.width.to_bytes(2, "big") + header.height.to_bytes(2, "big")


def parse_keyframe(payload: bytes) -> KeyframeHeader | None:
    """A frame's uncompressed header (VP9 specification, 6.2); None for a frame that is not a keyframe."""
    bits = BitReader(payload)
    if bits.read(2) != _FRAME_MARKER:
        raise RemoteProtocolError("a VP9 frame without its frame marker")
    profile = bits.read(1) | bits.read(1) << 1
    if profile == 3:
        bits.skip(1)
    if bits.flag() or bits.flag():  # show_existing_frame, frame_type
        return None
    bits.skip(2)  # show_frame, error_resilient_mode
    if bits.read(24) != _SYNC_CODE:
        raise RemoteProtocolError("a VP9 keyframe without its sync code")
    depth = (12 if bits.flag() else 10) if profile >= 2 else 8
    space = bits.read(3)
    if space == _RGB:
        full_range, chroma = True, _CHROMA_444
        bits.skip(profile & 1)
    else:
        full_range, chroma = bits.flag(), _CHROMA_420
        if profile & 1:
            chroma = {(0, 0): _CHROMA_444, (1, 0): _CHROMA_422, (0, 1): _CHROMA_440}.get((bits.read(1), bits.read(1)), chroma)
            bits.skip(1)
    width, height = bits.read(16) + 1, bits.read(16) + 1
    if max(width, height) > 0xFFFF:
        raise RemoteProtocolError("a VP9 picture of 65536 pixels a side")
    return KeyframeHeader(profile, depth, chroma, full_range, _MATRICES[space], width, height)


def is_keyframe(payload: bytes) -> bool:
    """Does a frame decode without any other? An empty one does not."""
    return bool(payload) and parse_keyframe(payload) is not None
