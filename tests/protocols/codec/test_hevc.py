import pytest

from protocols.codec import hevc, hevc_sps, parameters
from protocols.codec.description import Colour, VideoParameters
from protocols.codec.nal import length_prefixed
from protocols.errors import LimitExceeded, RemoteProtocolError
from protocols.media import Codec, Track
from tests.protocols.codec.bitwriter import BitWriter
from tests.protocols.mp4.encoded import encoded

PROFILE = bytes.fromhex("01600000009000000000005d")  # Main, compatible with Main and Main 10, level 3.1
NO_VUI = BitWriter().u(1, 0)


def sps(
    sub_layers: tuple[tuple[int, int], ...] = (),
    chroma: BitWriter | None = None,
    crop: tuple[int, int, int, int] | None = None,
    depths: tuple[int, int] = (0, 0),
    tools: BitWriter | None = None,
    references: BitWriter | None = None,
    vui: BitWriter = NO_VUI,
) -> bytes:
    """A sequence parameter set of 320x240, part by part; ``sub_layers`` are pairs of profile and level present."""
    bits = BitWriter().u(16, 0x4201).u(4, 0).u(3, len(sub_layers)).u(1, 1).u(8, *PROFILE)
    for profile, level in sub_layers:
        bits.u(1, profile, level)
    if sub_layers:
        bits.u(2, *[0] * (8 - len(sub_layers)))
    for profile, level in sub_layers:
        bits.u(88 * profile, 0).u(8 * level, 0)
    bits.ue(0)
    _append(bits, chroma or BitWriter().ue(1))
    bits.ue(320, 240).u(1, crop is not None).ue(*(crop or ())).ue(*depths).ue(4)
    _append(bits, tools or BitWriter().u(1, 0).ue(4, 2, 0).ue(0, 3, 0, 3, 0, 0).u(1, 0, 0, 1, 0))
    _append(bits, references or BitWriter().ue(0).u(1, 0))
    bits.u(2, 3)
    _append(bits, vui)
    data = bytes(bits.u(1, 1))
    return data[:2] + _escape(data[2:])


def _append(bits: BitWriter, more: BitWriter) -> None:
    bits._bits += more._bits


def _escape(data: bytes) -> bytes:
    out = bytearray()
    for byte in data:
        if byte <= 3 and out.endswith(b"\0\0"):
            out.append(3)
        out.append(byte)
    return bytes(out)


def size_of(unit: bytes) -> tuple[int, int]:
    parsed = hevc_sps.parse_sps(unit)
    return parsed.width, parsed.height


# x265: 1280x720 at 30000/1001 Hz, pixels 4:3, Main 10, PQ in BT.2020, two temporal layers, scaling lists on
REAL_SPS = bytes.fromhex("42010102200000030090000003000003005da00280802d1365959529385e1cd42440241000003e900007530080")


def test_a_real_record_says_size_rate_colour_and_name() -> None:
    record = encoded(Codec.HEVC).track.config
    assert parameters(Track(Codec.HEVC, record)) == VideoParameters(
        width=98, height=66, frame_rate=25.0, rfc6381="hvc1.1.6.L30.90", profile=1, level=30
    )


def test_parameter_sets_become_the_same_record_as_libavformats() -> None:
    record = encoded(Codec.HEVC).track.config
    sets = hevc.read_record(record)
    ours = hevc.configuration_record(sets[32], sets[33], sets[34])
    # ours claims neither a spatial segmentation nor a parallelism, and puts no SEI into a fourth array
    assert hevc.read_record(ours) == {kind: sets[kind] for kind in (32, 33, 34)}
    assert ours[:13] == record[:13]
    assert ours[16:21] == record[16:21]
    assert ours[21] & 0x3F == record[21] & 0x3F
    assert hevc.parameters(ours) == hevc.parameters(record)


def test_a_name_spells_profile_space_tier_and_constraints() -> None:
    record = hevc.configuration_record([], [sps()], [])
    assert hevc.parameters(record).rfc6381 == "hvc1.1.6.L93.90"
    assert hevc.parameters(b"\1" + b"\xa2" + record[2:]).rfc6381 == "hvc1.B2.6.H93.90"
    assert hevc.parameters(record[:6] + bytes(6) + record[12:]).rfc6381 == "hvc1.1.6.L93"
    assert hevc.parameters(record[:6] + bytes.fromhex("b00000000001") + record[12:]).rfc6381 == "hvc1.1.6.L93.B0.0.0.0.0.1"


def test_hdr_with_temporal_layers_and_non_square_pixels_is_read() -> None:
    parsed = hevc_sps.parse_sps(REAL_SPS)
    assert (parsed.width, parsed.height, parsed.bit_depth_luma, parsed.bit_depth_chroma) == (1280, 720, 10, 10)
    assert (parsed.pixel_aspect, parsed.colour) == ((4, 3), Colour(9, 16, 9))
    assert parsed.frame_rate == pytest.approx(30000 / 1001)


@pytest.mark.parametrize("length", range(2 + 13 + 12))
def test_an_sps_cut_before_its_vui_is_the_senders_fault(length: int) -> None:
    with pytest.raises(RemoteProtocolError):
        hevc_sps.parse_sps(sps()[:length])


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        (b"\2" + bytes(22), "version"),
        (b"\1" + bytes(22), "without a sequence"),
        (b"\1" + bytes(21) + b"\1\xa1\0\0", "without a sequence"),
        (b"\1" + bytes(21) + b"\1\xa1\0\1\0\5ab", "ends in the middle"),
    ],
)
def test_a_record_that_is_none_is_refused(record: bytes, complaint: str) -> None:
    with pytest.raises(RemoteProtocolError, match=complaint):
        hevc.parameters(record)


def test_a_record_of_thousands_of_units_is_not_walked() -> None:
    with pytest.raises(LimitExceeded, match="more than 256"):
        hevc.parameters(b"\1" + bytes(21) + b"\1\xa1\xff\xff" + bytes(0x1FFFE))


@pytest.mark.parametrize(
    ("sets", "complaint"),
    [(([], [], []), "needs a sequence"), (([bytes(65536)], [sps()], []), "64 KiB"), (([], [b"\x44\1"], []), "another type")],
)
def test_sets_that_no_record_can_hold_are_refused(sets: tuple[list[bytes], ...], complaint: str) -> None:
    with pytest.raises(RemoteProtocolError, match=complaint):
        hevc.configuration_record(*sets)


def test_sub_layers_with_and_without_their_own_profile_are_stepped_over() -> None:
    assert size_of(sps(sub_layers=((1, 1), (0, 1), (0, 0)))) == (320, 240)
    assert hevc_sps.parse_sps(sps(sub_layers=((1, 0),))).temporal_layers == 2


@pytest.mark.parametrize(
    ("chroma", "size"),
    [
        (BitWriter().ue(0), (317, 233)),
        (BitWriter().ue(1), (314, 226)),
        (BitWriter().ue(2), (314, 233)),
        (BitWriter().ue(3).u(1, 0), (317, 233)),
        (BitWriter().ue(3).u(1, 1), (317, 233)),
    ],
)
def test_cropping_counts_in_chroma_samples(chroma: BitWriter, size: tuple[int, int]) -> None:
    assert size_of(sps(chroma=chroma, crop=(1, 2, 3, 4))) == size


def test_sub_layer_ordering_scaling_lists_and_pcm_are_stepped_over() -> None:
    ordering = BitWriter().u(1, 1).ue(*[4, 2, 0] * 2)
    ordering.ue(0, 3, 0, 3, 0, 0)
    ordering.u(1, 1, 1)
    for size in range(4):
        for matrix in range(2 if size == 3 else 6):
            if matrix == 0:
                ordering.u(1, 0).ue(0)  # predicted from the default
            else:
                ordering.u(1, 1)
                if size > 1:
                    ordering.se(-3)
                ordering.se(*[1] * min(64, 1 << (4 + 2 * size)))
    ordering.u(1, 0, 1, 1).u(4, 7, 7).ue(0, 2).u(1, 1)
    assert size_of(sps(sub_layers=((0, 0),), tools=ordering)) == (320, 240)
    default_lists = BitWriter().u(1, 0).ue(4, 2, 0).ue(0, 3, 0, 3, 0, 0).u(1, 1, 0, 0, 1, 0)
    assert size_of(sps(tools=default_lists)) == (320, 240)


def test_reference_picture_sets_are_stepped_over() -> None:
    bits = BitWriter().ue(4)
    bits.ue(2, 1).ue(0).u(1, 1).ue(1).u(1, 0).ue(0).u(1, 1)  # two before, one after
    bits.u(1, 1, 1).ue(0).u(1, 1, 0, 1, 0, 0, 1)  # predicted: used, kept, neither, used: three stay
    bits.u(1, 1, 0).ue(2).u(1, 1, 1, 1, 1)  # predicted from those three
    bits.u(1, 0).ue(0, 0)
    bits.u(1, 1).ue(2).u(9, 5, 6)  # two long-term pictures of log2_max_pic_order_cnt_lsb = 8 bits, and a flag
    timing = BitWriter().u(1, 1, 0, 0, 0, 0).u(3, 0).u(1, 0, 1).u(32, 1, 50).u(1, 0)
    assert hevc_sps.parse_sps(sps(references=bits, vui=timing)).frame_rate == 50.0


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        ({"chroma": BitWriter().ue(4)}, "chroma_format_idc is 4"),
        ({"depths": (9, 0)}, "bit_depth_luma_minus8 is 9"),
        ({"depths": (0, 9)}, "bit_depth_chroma_minus8 is 9"),
        ({"references": BitWriter().ue(65)}, "num_short_term_ref_pic_sets is 65"),
        ({"references": BitWriter().ue(1).ue(17)}, "num_negative_pics is 17"),
        ({"references": BitWriter().ue(1).ue(0, 2**32 - 1)}, "num_positive_pics"),
        ({"references": BitWriter().ue(0).u(1, 1).ue(33)}, "num_long_term_ref_pics_sps is 33"),
        ({"crop": (0, 0, 60, 60)}, "cropping leaves nothing"),
    ],
)
def test_an_sps_beyond_its_bounds_is_the_senders_fault(broken: dict[str, BitWriter], complaint: str) -> None:
    with pytest.raises(RemoteProtocolError, match=complaint):
        hevc_sps.parse_sps(sps(**broken))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("vui", "rate"),
    [
        (BitWriter().u(1, 1, 0, 0, 0, 0).u(3, 0).u(1, 1).ue(0, 1, 0, 1).u(1, 1).u(32, 1, 25), 25.0),
        (BitWriter().u(1, 1, 0, 0, 0, 0).u(3, 0).u(1, 0, 1).u(32, 0, 25), 0.0),
        (BitWriter().u(1, 1, 0, 0, 0, 0).u(3, 0).u(1, 0, 0), 0.0),
        (BitWriter().u(1, 1, 0, 0, 0, 0).u(3, 0).u(1, 0, 1).u(9, 0), 0.0),
    ],
)
def test_timing_is_read_where_it_is(vui: BitWriter, rate: float) -> None:
    parsed = hevc_sps.parse_sps(sps(vui=vui))
    assert (parsed.width, parsed.frame_rate) == (320, rate)


@pytest.mark.parametrize(("kind", "key"), [(0, False), (1, False), (9, False), (16, True), (19, True), (21, True), (32, False)])
def test_a_keyframe_is_a_random_access_picture(kind: int, key: bool) -> None:
    assert hevc.is_keyframe(length_prefixed([b"\x4e\1\5", b"", bytes((kind << 1, 1, 0xAF))])) is key
