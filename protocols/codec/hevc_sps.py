"""HEVC's sequence parameter set (ITU-T H.265, 7.3.2.2, 7.3.3, 7.3.4, 7.3.7 and E.2.1)."""

from dataclasses import dataclass

from protocols.codec.bits import BitReader
from protocols.codec.description import Colour, visible_size
from protocols.codec.nal import read_colour, read_pixel_aspect, unescape
from protocols.errors import RemoteProtocolError

NAL_VPS, NAL_SPS, NAL_PPS = 32, 33, 34

_MAX_PICTURES = 16  # of a reference picture set: the decoded picture buffer holds no more


@dataclass(frozen=True, slots=True)
class Sps:
    """What we use of a sequence parameter set. ``profile_tier_level`` is the general one's 12 bytes as hvcC stores them;
    ``frame_rate`` is 0.0 without timing information."""

    profile_tier_level: bytes
    temporal_layers: int
    temporal_nesting: bool
    chroma_format: int
    width: int
    height: int
    bit_depth_luma: int
    bit_depth_chroma: int
    pixel_aspect: tuple[int, int]
    colour: Colour | None
    frame_rate: float


def parse_sps(nal: bytes) -> Sps:
    """A sequence parameter set's NAL unit, header included. RemoteProtocolError if it is malformed."""
    bits = BitReader(unescape(nal))
    if bits.read(16) >> 9 & 0x3F != NAL_SPS:
        raise RemoteProtocolError("a NAL unit of another type where an HEVC SPS belongs")
    bits.skip(4)  # sps_video_parameter_set_id
    sub_layers = bits.read(3)  # sps_max_sub_layers_minus1
    nesting = bits.flag()
    profile_tier_level = bits.read_bytes(12)
    _skip_sub_layer_levels(bits, sub_layers)
    bits.ue()  # sps_seq_parameter_set_id
    chroma_format, width, height = _read_size(bits)
    depth_luma = 8 + bits.ue_up_to(8, "bit_depth_luma_minus8")
    depth_chroma = 8 + bits.ue_up_to(8, "bit_depth_chroma_minus8")
    pixel_aspect, colour, frame_rate = (1, 1), None, 0.0
    order_count_bits = 4 + bits.ue_up_to(12, "log2_max_pic_order_cnt_lsb_minus4")
    _skip_coding_tools(bits, sub_layers)
    _skip_reference_pictures(bits, order_count_bits)
    bits.skip(2)  # temporal motion vectors, strong intra smoothing
    if bits.flag():  # vui_parameters_present_flag
        pixel_aspect, colour, frame_rate = _read_vui(bits)
    return Sps(
        profile_tier_level=profile_tier_level,
        temporal_layers=sub_layers + 1,
        temporal_nesting=nesting,
        chroma_format=chroma_format,
        width=width,
        height=height,
        bit_depth_luma=depth_luma,
        bit_depth_chroma=depth_chroma,
        pixel_aspect=pixel_aspect,
        colour=colour,
        frame_rate=frame_rate,
    )


def _skip_sub_layer_levels(bits: BitReader, sub_layers: int) -> None:
    present = [(bits.flag(), bits.flag()) for _ in range(sub_layers)]
    if sub_layers:
        bits.skip(2 * (8 - sub_layers))
    for profile, level in present:
        bits.skip(88 * profile + 8 * level)


def _read_size(bits: BitReader) -> tuple[int, int, int]:
    chroma_format = bits.ue_up_to(3, "chroma_format_idc")
    separate_planes = bits.flag() if chroma_format == 3 else False
    width, height = bits.ue(), bits.ue()
    left = right = top = bottom = 0
    if bits.flag():  # conformance_window_flag
        left, right, top, bottom = bits.ue(), bits.ue(), bits.ue(), bits.ue()
    unit_x = 2 if chroma_format in {1, 2} and not separate_planes else 1
    unit_y = 2 if chroma_format == 1 else 1
    return chroma_format, *visible_size(width, height, (left + right) * unit_x, (top + bottom) * unit_y)


def _skip_coding_tools(bits: BitReader, sub_layers: int) -> None:
    for _ in range(sub_layers + 1 if bits.flag() else 1):  # sps_sub_layer_ordering_info_present_flag
        for _ in range(3):
            bits.ue()
    for _ in range(6):  # block and transform sizes and depths
        bits.ue()
    if bits.flag() and bits.flag():  # scaling_list_enabled_flag, sps_scaling_list_data_present_flag
        _skip_scaling_lists(bits)
    bits.skip(2)  # asymmetric motion partitions, sample adaptive offset
    if bits.flag():  # pcm_enabled_flag
        bits.skip(8)
        bits.ue()
        bits.ue()
        bits.skip(1)


def _skip_scaling_lists(bits: BitReader) -> None:
    for size in range(4):
        for _ in range(2 if size == 3 else 6):
            if not bits.flag():  # scaling_list_pred_mode_flag
                bits.ue()
                continue
            if size > 1:
                bits.se()
            for _ in range(min(64, 16 << (size << 1))):
                bits.se()


def _skip_reference_pictures(bits: BitReader, order_count_bits: int) -> None:
    pictures = 0
    for index in range(bits.ue_up_to(64, "num_short_term_ref_pic_sets")):
        pictures = _skip_short_term_set(bits, index, pictures)
    if bits.flag():  # long_term_ref_pics_present_flag
        bits.skip(bits.ue_up_to(32, "num_long_term_ref_pics_sps") * (order_count_bits + 1))


def _skip_short_term_set(bits: BitReader, index: int, previous: int) -> int:
    """st_ref_pic_set() → how many pictures it names; ``previous`` is how many the set before it named."""
    if index and bits.flag():  # inter_ref_pic_set_prediction_flag
        bits.skip(1)
        bits.ue()
        # used_by_curr_pic_flag, and use_delta_flag behind it where that is 0: a picture stays if either is set
        return sum(bits.flag() or bits.flag() for _ in range(previous + 1))
    before = bits.ue_up_to(_MAX_PICTURES, "num_negative_pics")
    after = bits.ue_up_to(_MAX_PICTURES, "num_positive_pics")
    for _ in range(before + after):
        bits.ue()
        bits.skip(1)
    return before + after


def _read_vui(bits: BitReader) -> tuple[tuple[int, int], Colour | None, float]:
    pixel_aspect, colour, frame_rate = (1, 1), None, 0.0
    try:
        pixel_aspect = read_pixel_aspect(bits)
        colour = read_colour(bits)
        bits.skip(3)  # neutral chroma, field sequence, field information
        if bits.flag():  # default_display_window_flag
            for _ in range(4):
                bits.ue()
        if bits.flag():  # vui_timing_info_present_flag
            tick, time_scale = bits.read(32), bits.read(32)
            frame_rate = time_scale / tick if tick else 0.0
    except RemoteProtocolError:
        # Encoders with a cut-off VUI exist and decoders play them: the picture's size is known, the rest is a hint.
        pass
    return pixel_aspect, colour, frame_rate
