"""AV1: OBUs and the sequence header (AV1 specification, 5.3 to 5.5), the av1C record and the RFC 6381 name (AV1 in ISO BMFF)."""

from collections.abc import Iterator
from dataclasses import dataclass

from protocols.codec.bits import BitReader
from protocols.codec.description import Colour, VideoParameters
from protocols.errors import LimitExceeded, RemoteProtocolError

OBU_SEQUENCE_HEADER, OBU_TEMPORAL_DELIMITER, OBU_FRAME_HEADER, OBU_FRAME = 1, 2, 3, 6

MAX_UNITS = 4096
"""OBUs in a temporal unit that we are willing to walk over. Real ones have a few."""

_MARKER_AND_VERSION = 0x81
_UNSPECIFIED = 2
_NO_COLOUR = Colour(_UNSPECIFIED, _UNSPECIFIED, _UNSPECIFIED)
_SRGB = (1, 13, 0)  # primaries, transfer, matrix of a picture coded as RGB
_MAX_LEB128 = 8


@dataclass(frozen=True, slots=True)
class Format:
    """color_config(), as much of it as av1C repeats. ``subsampling`` is x and y; ``position`` of chroma samples."""

    bit_depth: int = 8
    monochrome: bool = False
    subsampling: tuple[int, int] = (1, 1)
    position: int = 0
    colour: Colour = _NO_COLOUR


@dataclass(frozen=True, slots=True)
class SequenceHeader:
    """What we use of a sequence header OBU. ``frame_rate`` is 0.0 without timing information."""

    profile: int
    level: int
    tier: int
    width: int
    height: int
    frame_rate: float
    format: Format


def parameters(record: bytes) -> VideoParameters:
    """What an av1C record says; the size is 0 by 0 if it has no sequence header. RemoteProtocolError if malformed."""
    bits = BitReader(record)
    if bits.read(8) != _MARKER_AND_VERSION:
        raise RemoteProtocolError("an av1C record of a version that is not 1")
    profile, level, tier = bits.read(3), bits.read(5), bits.read(1)
    high, twelve, monochrome = bits.read(1), bits.read(1), bits.flag()
    subsampling, position = (bits.read(1), bits.read(1)), bits.read(2)
    bits.skip(8)  # initial presentation delay
    described = Format(8 + 2 * high * (1 + twelve), monochrome, subsampling, position)
    header = SequenceHeader(profile, level, tier, 0, 0, 0.0, described)
    unit = find_sequence_header(record[4:])
    if unit is not None:
        header = parse_sequence_header(unit)
    colour = header.format.colour
    return VideoParameters(
        width=header.width,
        height=header.height,
        frame_rate=header.frame_rate,
        rfc6381=_rfc6381(header),
        profile=header.profile,
        level=header.level,
        bit_depth=header.format.bit_depth,
        colour=None if colour == _NO_COLOUR else colour,
    )


def configuration_record(sequence_header: bytes) -> bytes:
    """An av1C record around a sequence header OBU (with its size field). RemoteProtocolError if that is malformed."""
    header = parse_sequence_header(sequence_header)
    described = header.format
    flags = header.tier << 7 | (described.bit_depth > 8) << 6 | (described.bit_depth > 10) << 5 | described.monochrome << 4
    flags |= described.subsampling[0] << 3 | described.subsampling[1] << 2 | described.position
    return bytes((_MARKER_AND_VERSION, header.profile << 5 | header.level, flags, 0)) + sequence_header


def complete_record(config: bytes, payload: bytes) -> bytes:
    """``config``, or a record made from the sequence header in ``payload`` if that describes another picture. (Encoders
    declare other coding tools than they use in the end: no reason for a new init segment.)
    """
    unit = find_sequence_header(payload)
    if unit is None:
        return config
    record = configuration_record(unit)
    return config if config and parameters(config) == parameters(record) else record


def strip_temporal_delimiters(payload: bytes) -> bytes:
    """A temporal unit as ISO BMFF stores it: without the temporal delimiter that starts it."""
    if payload and payload[0] >> 3 & 0xF == OBU_TEMPORAL_DELIMITER:
        return payload[_read_obu_header(payload, 0)[2] :]
    return payload


def split_obus(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """OBUs as (type, whole OBU, offset of its content). A size beyond the data raises RemoteProtocolError."""
    position = count = 0
    while position < len(data):
        count += 1
        if count > MAX_UNITS:
            raise LimitExceeded(f"a temporal unit of more than {MAX_UNITS} OBUs")
        kind, start, end = _read_obu_header(data, position)
        yield kind, data[position:end], start - position
        position = end


def find_sequence_header(data: bytes) -> bytes | None:
    """The first sequence header OBU, whole and with a size field."""
    for kind, unit, start in split_obus(data):
        if kind == OBU_SEQUENCE_HEADER:
            content = unit[start:]
            # behind av1C nothing tells where an OBU ends but its own size field; a sequence header is a few dozen bytes
            return unit if unit[0] & 2 else _with_size(unit[:start], content)
    return None


def is_keyframe(payload: bytes) -> bool:
    """Does a temporal unit start with a key frame that is shown or kept (not a repetition of an earlier one)?"""
    for kind, unit, start in split_obus(payload):
        if kind in {OBU_FRAME_HEADER, OBU_FRAME}:
            return start < len(unit) and unit[start] >> 5 == 0  # show_existing_frame 0, frame_type KEY_FRAME
    return False


def parse_sequence_header(obu: bytes) -> SequenceHeader:
    """A sequence header OBU, its header included. RemoteProtocolError if it is malformed."""
    kind, start, end = _read_obu_header(obu or b"\0", 0)
    if kind != OBU_SEQUENCE_HEADER:
        raise RemoteProtocolError("an OBU of another type where a sequence header belongs")
    bits = BitReader(obu[start:end])
    profile = bits.read(3)
    bits.skip(1)  # still_picture
    reduced = bits.flag()
    frame_rate = 0.0
    if reduced:
        level, tier = bits.read(5), 0
    else:
        frame_rate, delay_bits = _read_timing(bits)
        level, tier = _read_operating_points(bits, delay_bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    width, height = bits.read(width_bits) + 1, bits.read(height_bits) + 1
    if not reduced and bits.flag():  # frame_id_numbers_present_flag
        bits.skip(7)
    bits.skip(3)  # superblock size, intra filter and edge filter
    if not reduced:
        _skip_inter_tools(bits)
    bits.skip(3)  # super-resolution, CDEF, restoration
    return SequenceHeader(profile, level, tier, width, height, frame_rate, _read_format(bits, profile))


def _with_size(header: bytes, content: bytes) -> bytes:
    size, left = bytearray(), len(content)
    while left > 0x7F:
        size.append(0x80 | left & 0x7F)
        left >>= 7
    size.append(left)
    return bytes((header[0] | 2,)) + header[1:] + size + content


def _read_obu_header(data: bytes, position: int) -> tuple[int, int, int]:
    """→ OBU type, where its content starts, where it ends."""
    first = data[position]
    if first & 0x80:
        raise RemoteProtocolError("an OBU with its forbidden bit set")
    kind = first >> 3 & 0xF
    start = position + (2 if first & 4 else 1)
    if not first & 2:
        if start > len(data):
            raise RemoteProtocolError("an OBU ends in the middle of its header")
        return kind, start, len(data)
    size = 0
    for index, byte in enumerate(data[start : start + _MAX_LEB128]):
        size |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            start += index + 1
            break
    else:
        raise RemoteProtocolError("an OBU size does not end")
    if start + size > len(data):
        raise RemoteProtocolError("an OBU's size goes beyond its temporal unit")
    return kind, start, start + size


def _read_timing(bits: BitReader) -> tuple[float, int]:
    """timing_info() and decoder_model_info() → frame rate, bits of a buffer delay (0 without a decoder model)."""
    if not bits.flag():
        return 0.0, 0
    tick, time_scale = bits.read(32), bits.read(32)
    ticks_per_picture = bits.ue() + 1 if bits.flag() else 1
    frame_rate = time_scale / (tick * ticks_per_picture) if tick else 0.0
    if not bits.flag():  # decoder_model_info_present_flag
        return frame_rate, 0
    delay_bits = bits.read(5) + 1
    bits.skip(42)
    return frame_rate, delay_bits


def _read_operating_points(bits: BitReader, delay_bits: int) -> tuple[int, int]:
    """→ level and tier of the first operating point."""
    display_delay = bits.flag()
    points = []
    for _ in range(bits.read(5) + 1):
        bits.skip(12)  # operating_point_idc
        level = bits.read(5)
        points.append((level, bits.read(1) if level > 7 else 0))
        if delay_bits and bits.flag():
            bits.skip(2 * delay_bits + 1)
        if display_delay and bits.flag():
            bits.skip(4)
    return points[0]


def _skip_inter_tools(bits: BitReader) -> None:
    bits.skip(4)  # inter-intra, masked compound, warped motion, dual filter
    order_hint = bits.flag()
    if order_hint:
        bits.skip(2)
    forced = 2 if bits.flag() else bits.read(1)  # seq_force_screen_content_tools
    if forced and not bits.flag():  # seq_choose_integer_mv
        bits.skip(1)
    if order_hint:
        bits.skip(3)


def _read_format(bits: BitReader, profile: int) -> Format:
    depth = 10 if bits.flag() else 8
    if profile == 2 and depth == 10 and bits.flag():
        depth = 12
    monochrome = bits.flag() if profile != 1 else False
    points = (_UNSPECIFIED, _UNSPECIFIED, _UNSPECIFIED)
    if bits.flag():  # color_description_present_flag
        points = (bits.read(8), bits.read(8), bits.read(8))
    if not monochrome and points == _SRGB:
        return Format(depth, subsampling=(0, 0), colour=Colour(*points, full_range=True))
    colour = Colour(*points, bits.flag())
    if monochrome:
        return Format(depth, monochrome=True, colour=colour)
    subsampling = (1, 1) if profile == 0 else (0, 0) if profile == 1 else (1, 0)
    if depth == 12:
        horizontal = bits.read(1)
        subsampling = (horizontal, bits.read(1) if horizontal else 0)
    position = bits.read(2) if subsampling == (1, 1) else 0
    return Format(depth, subsampling=subsampling, position=position, colour=colour)


def _rfc6381(header: SequenceHeader) -> str:
    """``av01.0.04M.08``; the optional fields follow, all of them, where one is not what their absence means."""
    described = header.format
    name = f"av01.{header.profile}.{header.level:02}{'H' if header.tier else 'M'}.{described.bit_depth:02}"
    colour = described.colour
    points = (colour.primaries, colour.transfer, colour.matrix)
    plain = described.subsampling == (1, 1) and not described.monochrome and not colour.full_range
    if plain and points in {(1, 1, 1), (_UNSPECIFIED,) * 3}:
        return name
    chroma = f"{described.subsampling[0]}{described.subsampling[1]}{described.position}"
    shown = ".".join(f"{point:02}" for point in points)
    return f"{name}.{described.monochrome:d}.{chroma}.{shown}.{colour.full_range:d}"
