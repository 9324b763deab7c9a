import pytest

from protocols.codec import avc, parameters
from protocols.codec.description import Colour, VideoParameters
from protocols.codec.nal import length_prefixed
from protocols.errors import RemoteProtocolError
from protocols.media import Codec, Track
from tests.protocols.codec.bitwriter import BitWriter

# x264, 1920x1080 at 25 Hz, High 4.0, BT.709: 1088 lines, the last eight cropped; with emulation prevention in its VUI
SPS = bytes.fromhex("67640028acd940780227e5c05a808080a0000003002000000641e30632c0")
PPS = bytes.fromhex("68ebe3cb22c0")
RECORD = b"\x01\x64\x00\x28\xff\xe1" + len(SPS).to_bytes(2, "big") + SPS + b"\x01\x00\x06" + PPS + b"\xfd\xf8\xf8\x00"


def sps(
    profile: int = 66,
    chroma: tuple[int, ...] = (),
    order_count: BitWriter | None = None,
    size: tuple[int, int] = (20, 15),
    interlaced: bool = False,
    crop: tuple[int, int, int, int] | None = None,
) -> BitWriter:
    """seq_parameter_set_data() up to the VUI; ``chroma`` are the fields behind the id in the High profiles, as (bits, value)."""
    bits = BitWriter().u(8, 0x67, profile, 0, 30).ue(0)
    if chroma:
        _fields(bits, chroma)
    bits.ue(0)
    if order_count is None:
        bits.ue(2)
    else:
        bits._bits += order_count._bits
    bits.ue(1).u(1, 0).ue(size[0] - 1, size[1] - 1)
    bits.u(1, not interlaced)
    if interlaced:
        bits.u(1, 0)
    bits.u(1, 1, crop is not None)
    if crop is not None:
        bits.ue(*crop)
    return bits


def _fields(bits: BitWriter, chroma: tuple[int, ...]) -> None:
    chroma_format, *planes, luma, chroma_depth = chroma
    bits.ue(chroma_format)
    if chroma_format == 3:
        bits.u(1, planes[0])
    bits.ue(luma, chroma_depth).u(1, 0, 0)


def size_of(bits: BitWriter) -> tuple[int, int]:
    parsed = avc.parse_sps(bytes(bits.u(1, 0, 1)))
    return parsed.width, parsed.height


def test_a_real_record_says_size_rate_colour_and_name() -> None:
    assert parameters(Track(Codec.H264, RECORD)) == VideoParameters(
        width=1920,
        height=1080,
        frame_rate=25.0,
        rfc6381="avc1.640028",
        profile=100,
        level=40,
        bit_depth=8,
        pixel_aspect=(1, 1),
        colour=Colour(1, 1, 1),
    )


def test_parameter_sets_become_the_same_record() -> None:
    assert avc.configuration_record([SPS], [PPS]) == RECORD
    assert avc.read_record(RECORD) == ([SPS], [PPS])


def test_a_baseline_record_has_no_chroma_fields_at_its_end() -> None:
    unit = bytes(sps().u(1, 0, 1))
    assert avc.configuration_record([unit], []) == b"\x01\x42\x00\x1e\xff\xe1" + len(unit).to_bytes(2, "big") + unit + b"\0"


@pytest.mark.parametrize(
    ("sets", "complaint"),
    [
        (([], [PPS]), "1 to 31"),
        (([SPS] * 32, [PPS]), "1 to 31"),
        (([SPS], [PPS] * 256), "up to 255"),
        (([SPS], [bytes(65536)]), "64 KiB"),
        (([PPS], [SPS]), "another type"),
    ],
)
def test_sets_that_no_record_can_hold_are_refused(sets: tuple[list[bytes], list[bytes]], complaint: str) -> None:
    with pytest.raises(RemoteProtocolError, match=complaint):
        avc.configuration_record(*sets)


@pytest.mark.parametrize("length", range(len(RECORD) - 4 - len(PPS)))
def test_a_record_cut_anywhere_is_the_senders_fault(length: int) -> None:
    with pytest.raises(RemoteProtocolError):
        avc.parameters(RECORD[:length])


@pytest.mark.parametrize(
    ("record", "complaint"), [(b"\x02" + RECORD[1:], "version"), (b"\x01\x64\0\x28\xff\xe0\0", "without a sequence")]
)
def test_a_record_that_is_none_is_refused(record: bytes, complaint: str) -> None:
    with pytest.raises(RemoteProtocolError, match=complaint):
        avc.parameters(record)


def test_macroblocks_make_the_size_when_nothing_is_cropped() -> None:
    assert size_of(sps()) == (320, 240)


def test_interlaced_map_units_are_two_macroblocks_high() -> None:
    assert size_of(sps(size=(20, 8), interlaced=True)) == (320, 256)
    assert size_of(sps(size=(20, 8), interlaced=True, crop=(0, 0, 0, 4))) == (320, 240)


@pytest.mark.parametrize(
    ("chroma", "size"),
    [
        ((0, 0, 0), (320 - 3, 240 - 7)),  # monochrome: units of a pixel
        ((1, 0, 0), (320 - 6, 240 - 14)),  # 4:2:0: two by two
        ((2, 2, 2), (320 - 6, 240 - 7)),  # 4:2:2: two by one
        ((3, 0, 0, 0), (320 - 3, 240 - 7)),  # 4:4:4
        ((3, 1, 0, 0), (320 - 3, 240 - 7)),  # 4:4:4 in separate planes
    ],
)
def test_cropping_counts_in_chroma_samples(chroma: tuple[int, ...], size: tuple[int, int]) -> None:
    assert size_of(sps(profile=244, chroma=chroma, crop=(1, 2, 3, 4))) == size


def test_picture_order_count_types_are_stepped_over() -> None:
    assert size_of(sps(order_count=BitWriter().ue(0, 4))) == (320, 240)
    assert size_of(sps(order_count=BitWriter().ue(1).u(1, 0).se(-1, 2).ue(3).se(5, -6, 7))) == (320, 240)


@pytest.mark.parametrize("chroma_format", [1, 3])
def test_scaling_lists_are_stepped_over(chroma_format: int) -> None:
    bits = BitWriter().u(8, 0x67, 100, 0, 30).ue(0, chroma_format)
    if chroma_format == 3:
        bits.u(1, 0)
    bits.ue(0, 0).u(1, 0, 1)
    bits.u(1, 1).se(-8)  # the default list: a first delta that makes the next scale 0
    bits.u(1, 1).se(*[1, -1] * 8)
    bits.u(1, *[0] * 4).u(1, 1).se(*[0] * 64)
    bits.u(1, *[0] * (5 if chroma_format == 3 else 1))
    bits.ue(0, 2, 1).u(1, 0).ue(19, 14).u(1, 1, 1, 0)
    assert size_of(bits) == (320, 240)


@pytest.mark.parametrize(
    ("bits", "complaint"),
    [
        (BitWriter().u(8, 0x68), "another type"),
        (sps(profile=100, chroma=(4, 0, 0)), "chroma_format_idc is 4"),
        (sps(profile=100, chroma=(1, 7, 0)), "bit_depth_luma_minus8 is 7"),
        (sps(profile=100, chroma=(1, 0, 9)), "bit_depth_chroma_minus8 is 9"),
        (sps(order_count=BitWriter().ue(3)), "pic_order_cnt_type is 3"),
        (sps(order_count=BitWriter().ue(1).u(1, 0).se(0, 0).ue(2**32 - 1)), "num_ref_frames_in_pic_order_cnt_cycle"),
        (sps(crop=(0, 160, 0, 0)), "cropping leaves nothing"),
        (sps(crop=(0, 0, 2**32 - 1, 0)), "cropping leaves nothing"),
    ],
)
def test_an_sps_beyond_its_bounds_is_the_senders_fault(bits: BitWriter, complaint: str) -> None:
    with pytest.raises(RemoteProtocolError, match=complaint):
        size_of(bits)


def test_a_picture_too_large_for_a_sample_entry_is_refused() -> None:
    unit = bytes(sps(size=(2**32 - 1, 15)).u(1, 0, 1))
    with pytest.raises(RemoteProtocolError, match="pixels"):
        avc.parameters(b"\x01\x42\x00\x1e\xff\xe1" + len(unit).to_bytes(2, "big") + unit + b"\0")


@pytest.mark.parametrize(
    ("vui", "aspect", "colour", "rate"),
    [
        (BitWriter().u(1, 1).u(8, 3).u(1, 0, 0, 0, 0), (10, 11), None, 0.0),
        (BitWriter().u(1, 1).u(8, 255).u(16, 4, 3).u(1, 1, 1, 0, 0, 0), (4, 3), None, 0.0),
        (BitWriter().u(1, 1).u(8, 255).u(16, 0, 3).u(1, 0, 0, 0, 0), (1, 1), None, 0.0),
        (BitWriter().u(1, 1).u(8, 17).u(1, 0, 0, 0, 0), (1, 1), None, 0.0),
        (BitWriter().u(1, 0, 0, 1).u(3, 5).u(1, 1, 0, 0, 0), (1, 1), Colour(2, 2, 2, True), 0.0),
        (BitWriter().u(1, 0, 0, 1).u(3, 5).u(1, 0, 0, 0, 0), (1, 1), None, 0.0),
        (BitWriter().u(1, 0, 0, 1).u(3, 5).u(1, 0, 1).u(8, 9, 16, 9).u(1, 1).ue(0, 2).u(1, 0), (1, 1), Colour(9, 16, 9), 0.0),
        (BitWriter().u(1, 0, 0, 0, 0, 1).u(32, 1001, 60000), (1, 1), None, 60000 / 2002),
        (BitWriter().u(1, 0, 0, 0, 0, 1).u(32, 0, 60000), (1, 1), None, 0.0),
    ],
)
def test_usability_information_is_read(vui: BitWriter, aspect: tuple[int, int], colour: Colour | None, rate: float) -> None:
    bits = sps().u(1, 1)
    bits._bits += vui._bits + "0" * 16
    parsed = avc.parse_sps(bytes(bits).replace(b"\0\0\1", b"\0\0\3\1").replace(b"\0\0\0", b"\0\0\3\0"))
    assert (parsed.pixel_aspect, parsed.colour, parsed.frame_rate) == (aspect, colour, rate)


def test_a_cut_off_vui_does_not_cost_the_picture_its_size() -> None:
    parsed = avc.parse_sps(bytes(sps().u(1, 1, 1).u(8, 255)))
    assert (parsed.width, parsed.height, parsed.frame_rate) == (320, 240, 0.0)


def test_a_keyframe_is_an_access_unit_with_an_idr_picture() -> None:
    assert avc.is_keyframe(length_prefixed([b"\x06\x05", b"", b"\x65\x88"]))
    assert not avc.is_keyframe(length_prefixed([b"\x06\x05", b"\x41\x9a"]))
    assert not avc.is_keyframe(b"")
