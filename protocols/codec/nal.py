"""NAL units of H.264 and HEVC in their two packagings: Annex B start codes, and length prefixes (ISO/IEC 14496-15)."""

from collections.abc import Iterable, Iterator

from protocols.codec.bits import BitReader
from protocols.codec.description import Colour
from protocols.errors import LimitExceeded, RemoteProtocolError

MAX_UNITS = 4096
"""NAL units in an access unit that we are willing to walk over. Real ones have a few dozen."""

# H.264 Table E-1, HEVC Table E.1: aspect_ratio_idc → sample aspect ratio
_PIXEL_ASPECTS = (
    (1, 1), (1, 1), (12, 11), (10, 11), (16, 11), (40, 33), (24, 11), (20, 11), (32, 11),
    (80, 33), (18, 11), (15, 11), (64, 33), (160, 99), (4, 3), (3, 2), (2, 1),
)  # fmt: skip
_EXTENDED_SAR = 255


def unescape(nal: bytes) -> bytes:
    """A NAL unit's payload without emulation prevention bytes (H.264, 7.4.1)."""
    return nal.replace(b"\0\0\3", b"\0\0")


def split_annexb(data: bytes) -> list[bytes]:
    """The NAL units of an Annex B byte stream, empty ones left out. What precedes the first start code is not one.

    LimitExceeded for more than MAX_UNITS.
    """
    units = data.split(b"\0\0\1", MAX_UNITS + 1)[1:]
    if len(units) > MAX_UNITS:
        raise LimitExceeded(f"an access unit of more than {MAX_UNITS} NAL units")
    # a NAL unit never ends in zero (rbsp_trailing_bits, cabac_zero_words escaped): zeros belong to the next start code
    stripped = (unit.rstrip(b"\0") for unit in units)
    return [unit for unit in stripped if unit]


def length_prefixed(units: Iterable[bytes]) -> bytes:
    """NAL units, each behind its length in 4 bytes."""
    return b"".join(part for unit in units for part in (len(unit).to_bytes(4, "big"), unit))


def annexb_to_length_prefixed(data: bytes) -> bytes:
    """An Annex B access unit as ISO BMFF and FLV store it, with 4-byte lengths."""
    return length_prefixed(split_annexb(data))


def split_length_prefixed(data: bytes, length_size: int = 4) -> Iterator[bytes]:
    """The NAL units of a length-prefixed access unit. A length beyond the data raises RemoteProtocolError."""
    position, end, count = 0, len(data), 0
    while position < end:
        count += 1
        if count > MAX_UNITS:
            raise LimitExceeded(f"an access unit of more than {MAX_UNITS} NAL units")
        start = position + length_size
        position = start + int.from_bytes(data[position:start], "big")
        if position > end:
            raise RemoteProtocolError("a NAL unit's length goes beyond its access unit")
        yield data[start:position]


def length_prefixed_to_annexb(data: bytes, length_size: int = 4) -> bytes:
    """A length-prefixed access unit as an Annex B byte stream with 4-byte start codes."""
    return b"".join(part for unit in split_length_prefixed(data, length_size) for part in (b"\0\0\0\1", unit))


def read_pixel_aspect(bits: BitReader) -> tuple[int, int]:
    """aspect_ratio_info of a VUI, the same in both codecs; (1, 1) when absent, unspecified or reserved."""
    if not bits.flag():
        return 1, 1
    idc = bits.read(8)
    if idc == _EXTENDED_SAR:
        horizontal, vertical = bits.read(16), bits.read(16)
        return (horizontal, vertical) if horizontal and vertical else (1, 1)
    return _PIXEL_ASPECTS[idc] if idc < len(_PIXEL_ASPECTS) else (1, 1)


def read_colour(bits: BitReader) -> Colour | None:
    """overscan_info, video_signal_type and chroma_loc_info of a VUI, the same in both codecs."""
    colour = None
    if bits.flag():  # overscan_info_present_flag
        bits.skip(1)
    if bits.flag():  # video_signal_type_present_flag
        bits.skip(3)
        full_range = bits.flag()
        if bits.flag():
            colour = Colour(bits.read(8), bits.read(8), bits.read(8), full_range)
        elif full_range:
            colour = Colour(2, 2, 2, full_range)
    if bits.flag():  # chroma_loc_info_present_flag
        bits.ue()
        bits.ue()
    return colour
