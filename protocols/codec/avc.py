"""H.264: the avcC record (ISO/IEC 14496-15, 5.3.3) and the sequence parameter set (ITU-T H.264, 7.3.2.1.1 and E.1.1)."""

from dataclasses import dataclass

from protocols.codec.bits import BitReader
from protocols.codec.description import Colour, VideoParameters, visible_size
from protocols.codec.nal import read_colour, read_pixel_aspect, split_length_prefixed, unescape
from protocols.errors import RemoteProtocolError

NAL_IDR, NAL_SPS, NAL_PPS = 5, 7, 8

_CHROMA_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_RECORD_EXTENSION_PROFILES = frozenset({100, 110, 122, 144})


@dataclass(frozen=True, slots=True)
class Sps:
    """What we use of a sequence parameter set. ``frame_rate`` is 0.0 without timing information."""

    profile: int
    level: int
    width: int
    height: int
    chroma_format: int
    bit_depth_luma: int
    bit_depth_chroma: int
    pixel_aspect: tuple[int, int]
    colour: Colour | None
    frame_rate: float


def parameters(record: bytes) -> VideoParameters:
    """What an avcC record says. RemoteProtocolError if it is malformed or has no SPS."""
    parameter_sets = read_record(record)
    if not parameter_sets[0]:
        raise RemoteProtocolError("an avcC record without a sequence parameter set")
    sps = parse_sps(parameter_sets[0][0])
    return VideoParameters(
        width=sps.width,
        height=sps.height,
        frame_rate=sps.frame_rate,
        rfc6381="avc1." + record[1:4].hex(),
        profile=sps.profile,
        level=sps.level,
        bit_depth=sps.bit_depth_luma,
        pixel_aspect=sps.pixel_aspect,
        colour=sps.colour,
    )


def read_record(record: bytes) -> tuple[list[bytes], list[bytes]]:
    """The sequence and the picture parameter sets in an avcC record."""
    bits = BitReader(record)
    if bits.read(8) != 1:
        raise RemoteProtocolError("an avcC record of a version that is not 1")
    bits.skip(32)  # profile, compatibility, level, length size
    sequence_sets = [bits.read_bytes(bits.read(16)) for _ in range(bits.read(8) & 0x1F)]
    picture_sets = [bits.read_bytes(bits.read(16)) for _ in range(bits.read(8))]
    return sequence_sets, picture_sets


def configuration_record(sequence_sets: list[bytes], picture_sets: list[bytes]) -> bytes:
    """An avcC record with 4-byte lengths. RemoteProtocolError if the first SPS is malformed or a set is over 64 KiB."""
    if not sequence_sets or len(sequence_sets) > 31 or len(picture_sets) > 255:
        raise RemoteProtocolError("an avcC record holds 1 to 31 sequence and up to 255 picture parameter sets")
    if any(len(unit) > 0xFFFF for unit in (*sequence_sets, *picture_sets)):
        raise RemoteProtocolError("a parameter set of more than 64 KiB")
    sps = parse_sps(sequence_sets[0])
    parts = [b"\x01", sequence_sets[0][1:4], b"\xff", bytes((0xE0 | len(sequence_sets),))]
    for unit in sequence_sets:
        parts += (len(unit).to_bytes(2, "big"), unit)
    parts.append(bytes((len(picture_sets),)))
    for unit in picture_sets:
        parts += (len(unit).to_bytes(2, "big"), unit)
    if sps.profile in _RECORD_EXTENSION_PROFILES:
        depths = (0xF8 | sps.bit_depth_luma - 8, 0xF8 | sps.bit_depth_chroma - 8)
        parts.append(bytes((0xFC | sps.chroma_format, *depths, 0)))
    return b"".join(parts)


def is_keyframe(payload: bytes, length_size: int = 4) -> bool:
    """Does a length-prefixed access unit hold an IDR picture?"""
    return any(unit[0] & 0x1F == NAL_IDR for unit in split_length_prefixed(payload, length_size) if unit)


def parse_sps(nal: bytes) -> Sps:
    """A sequence parameter set's NAL unit, header included. RemoteProtocolError if it is malformed."""
    bits = BitReader(unescape(nal))
    if bits.read(8) & 0x1F != NAL_SPS:
        raise RemoteProtocolError("a NAL unit of another type where an H.264 SPS belongs")
    profile, _, level = bits.read(8), bits.read(8), bits.read(8)
    bits.ue()  # seq_parameter_set_id
    chroma_format, separate_planes, depth_luma, depth_chroma = _read_chroma(bits) if profile in _CHROMA_PROFILES else (1, 0, 8, 8)
    bits.ue()  # log2_max_frame_num_minus4
    _skip_picture_order_count(bits)
    bits.ue()  # max_num_ref_frames
    bits.skip(1)
    width, height = _read_size(bits, 0 if separate_planes else chroma_format)
    pixel_aspect, colour, frame_rate = _read_vui(bits) if bits.flag() else ((1, 1), None, 0.0)
    return Sps(profile, level, width, height, chroma_format, depth_luma, depth_chroma, pixel_aspect, colour, frame_rate)


def _read_chroma(bits: BitReader) -> tuple[int, int, int, int]:
    chroma_format = bits.ue_up_to(3, "chroma_format_idc")
    separate_planes = bits.read(1) if chroma_format == 3 else 0
    depth_luma = 8 + bits.ue_up_to(6, "bit_depth_luma_minus8")
    depth_chroma = 8 + bits.ue_up_to(6, "bit_depth_chroma_minus8")
    bits.skip(1)  # qpprime_y_zero_transform_bypass_flag
    if bits.flag():  # seq_scaling_matrix_present_flag
        for index in range(12 if chroma_format == 3 else 8):
            if bits.flag():
                _skip_scaling_list(bits, 16 if index < 6 else 64)
    return chroma_format, separate_planes, depth_luma, depth_chroma


def _skip_scaling_list(bits: BitReader, size: int) -> None:
    last, following = 8, 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) & 0xFF
        last = following or last


def _skip_picture_order_count(bits: BitReader) -> None:
    kind = bits.ue_up_to(2, "pic_order_cnt_type")
    if kind == 0:
        bits.ue()
    elif kind == 1:
        bits.skip(1)
        bits.se()
        bits.se()
        for _ in range(bits.ue_up_to(255, "num_ref_frames_in_pic_order_cnt_cycle")):
            bits.se()


def _read_size(bits: BitReader, chroma_array: int) -> tuple[int, int]:
    width = (bits.ue() + 1) * 16
    map_units = bits.ue() + 1
    fields = 1 if bits.flag() else 2  # frame_mbs_only_flag: else a map unit is a pair of macroblocks
    if fields == 2:
        bits.skip(1)
    bits.skip(1)  # direct_8x8_inference_flag
    height = map_units * 16 * fields
    if not bits.flag():
        return width, height
    left, right, top, bottom = bits.ue(), bits.ue(), bits.ue(), bits.ue()
    unit_x = 2 if chroma_array in {1, 2} else 1
    unit_y = (2 if chroma_array == 1 else 1) * fields
    return visible_size(width, height, (left + right) * unit_x, (top + bottom) * unit_y)


def _read_vui(bits: BitReader) -> tuple[tuple[int, int], Colour | None, float]:
    pixel_aspect, colour, frame_rate = (1, 1), None, 0.0
    try:
        pixel_aspect = read_pixel_aspect(bits)
        colour = read_colour(bits)
        if bits.flag():  # timing_info_present_flag
            tick, time_scale = bits.read(32), bits.read(32)
            frame_rate = time_scale / (2 * tick) if tick else 0.0
    except RemoteProtocolError:
        # Encoders with a cut-off VUI exist and decoders play them: the picture's size is known, the rest is a hint.
        pass
    return pixel_aspect, colour, frame_rate
