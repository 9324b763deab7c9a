import pytest

from protocols.codec import av1, complete, sample_data
from protocols.codec.description import Colour, VideoParameters
from protocols.errors import LimitExceeded, RemoteProtocolError
from protocols.media import Codec, Track
from tests.protocols.codec.bitwriter import BitWriter
from tests.protocols.mp4.encoded import encoded

# libaom: 320x180, Main, 10 bit, PQ in BT.2020
RECORD = bytes.fromhex("81004c000a0e000000043cfeccdaf95091009040")
SIMPLE = BitWriter().u(1, 0, 0, 0, 0).u(2, 0).u(1, 0)  # 8 bit, colour, not described, limited range, position unknown
DELIMITER = b"\x12\0"


def obu(kind: int, content: bytes) -> bytes:
    return bytes((kind << 3 | 2, len(content))) + content


def sequence(
    profile: int = 0,
    timing: BitWriter | None = None,
    points: BitWriter | None = None,
    tools: BitWriter | None = None,
    colour: BitWriter = SIMPLE,
) -> bytes:
    """A sequence header of 640x360, part by part."""
    bits = BitWriter().u(3, profile).u(1, 0, 0)
    for part in (
        timing or BitWriter().u(1, 0),
        points or BitWriter().u(1, 0).u(5, 0).u(12, 0).u(5, 4),
        BitWriter().u(4, 9, 8).u(10, 639).u(9, 359),
        tools or BitWriter().u(1, 0, 0, 0, 0).u(4, 0).u(1, 0, 1),
        BitWriter().u(1, 1, 0, 0, 0),  # (the first is seq_choose_integer_mv) super-resolution, CDEF, restoration
        colour,
    ):
        bits._bits += part._bits
    return obu(1, bytes(bits.u(1, 0)) + b"\x80")


def test_a_real_record_says_size_colour_and_name() -> None:
    assert av1.parameters(RECORD) == VideoParameters(
        width=320, height=180, frame_rate=0.0, rfc6381="av01.0.00M.10.0.110.09.16.09.0", bit_depth=10, colour=Colour(9, 16, 9)
    )


@pytest.mark.parametrize("record", [RECORD, encoded(Codec.AV1).track.config], ids=["libaom", "SVT-AV1"])
def test_a_sequence_header_becomes_the_same_record_as_libavformats(record: bytes) -> None:
    assert av1.configuration_record(record[4:]) == record


def test_a_record_without_a_sequence_header_tells_no_size() -> None:
    described = av1.parameters(b"\x81\x4d\xdc\0")
    assert (described.width, described.height, described.rfc6381) == (0, 0, "av01.2.13H.10.1.110.02.02.02.0")
    assert av1.parameters(b"\x81\x04\x0c\0").rfc6381 == "av01.0.04M.08"
    assert av1.parameters(b"\x81\x4d\x68\0").rfc6381 == "av01.2.13M.12.0.100.02.02.02.0"


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        (b"", "ends in the middle"),
        (b"\x82\0\0\0", "version"),
        (b"\x81\0\0", "ends in the middle"),
        (b"\x81\0\0\0\x8a", "forbidden bit"),
        (b"\x81\0\0\0\x0a\x05\0", "beyond its temporal unit"),
        (b"\x81\0\0\0\x0a\xff\xff\xff\xff\xff\xff\xff\xff\1", "does not end"),
        (b"\x81\0\0\0\x0a", "does not end"),
        (b"\x81\0\0\0\x0c", "middle of its header"),
        (b"\x81\0\0\0\x0a\1\0", "ends in the middle"),
    ],
)
def test_a_record_that_is_none_is_refused(record: bytes, complaint: str) -> None:
    with pytest.raises(RemoteProtocolError, match=complaint):
        av1.parameters(record)


@pytest.mark.parametrize("unit", [b"", obu(2, b"")])
def test_a_record_needs_a_sequence_header(unit: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="another type"):
        av1.configuration_record(unit)


def test_a_record_of_thousands_of_obus_is_not_walked() -> None:
    with pytest.raises(LimitExceeded, match="more than 4096"):
        av1.parameters(b"\x81\0\0\0" + obu(15, b"") * 5000)


def test_a_reduced_still_picture_header_is_read() -> None:
    bits = BitWriter().u(3, 0).u(1, 1, 1).u(5, 4).u(4, 9, 8).u(10, 639).u(9, 359).u(3, 0).u(3, 0)
    bits._bits += SIMPLE._bits
    header = av1.parse_sequence_header(obu(1, bytes(bits.u(1, 0))))
    assert (header.width, header.height, header.level, header.tier) == (640, 360, 4, 0)


@pytest.mark.parametrize(
    ("timing", "rate"),
    [
        (BitWriter().u(1, 1).u(32, 1, 60).u(1, 0, 0), 60.0),
        (BitWriter().u(1, 1).u(32, 1001, 60000).u(1, 1).ue(1).u(1, 0), 60000 / 2002),
        (BitWriter().u(1, 1).u(32, 0, 60).u(1, 0, 0), 0.0),
    ],
)
def test_timing_is_read(timing: BitWriter, rate: float) -> None:
    assert av1.parse_sequence_header(sequence(timing=timing)).frame_rate == rate


def test_operating_points_with_decoder_models_and_tiers_are_read() -> None:
    timing = BitWriter().u(1, 1).u(32, 1, 30).u(1, 0, 1).u(5, 9).u(32, 1).u(5, 9, 9)
    points = BitWriter().u(1, 1).u(5, 2)
    points.u(12, 0x101).u(5, 9).u(1, 1).u(1, 1).u(10, 1, 2).u(1, 0).u(1, 1).u(4, 3)
    points.u(12, 0x102).u(5, 7).u(1, 0).u(1, 0)
    points.u(12, 0x103).u(5, 8).u(1, 0).u(1, 0).u(1, 0)
    header = av1.parse_sequence_header(sequence(timing=timing, points=points))
    assert (header.level, header.tier, header.width, header.height) == (9, 1, 640, 360)
    record = av1.configuration_record(sequence(timing=timing, points=points))
    assert av1.parameters(record).rfc6381 == "av01.0.09H.08"


@pytest.mark.parametrize(
    "tools",
    [
        BitWriter().u(1, 1).u(7, 0).u(3, 0).u(4, 0).u(1, 0, 0, 1),  # frame ids; screen content tools forced on
        BitWriter().u(1, 0).u(3, 0).u(4, 0).u(1, 1).u(2, 0).u(1, 1, 0, 0).u(2, 0),  # order hints, integer vectors forced
    ],
)
def test_coding_tools_are_stepped_over(tools: BitWriter) -> None:
    header = av1.parse_sequence_header(sequence(tools=tools))
    assert (header.width, header.format) == (640, av1.Format())


def test_without_screen_content_tools_there_is_no_integer_vector_flag() -> None:
    bits = BitWriter().u(3, 0).u(1, 0, 0, 0, 0).u(5, 0).u(12, 0).u(5, 4).u(4, 9, 8).u(10, 639).u(9, 359)
    bits.u(1, 0).u(3, 0).u(4, 0).u(1, 0).u(1, 0, 0).u(3, 0)
    bits._bits += SIMPLE._bits
    assert av1.parse_sequence_header(obu(1, bytes(bits.u(1, 0)))).format == av1.Format()


@pytest.mark.parametrize(
    ("profile", "colour", "name"),
    [
        (0, SIMPLE, "av01.0.04M.08"),
        (0, BitWriter().u(1, 1, 0, 0, 0).u(2, 1), "av01.0.04M.10"),
        (0, BitWriter().u(1, 0, 1, 0, 0), "av01.0.04M.08.1.110.02.02.02.0"),
        (0, BitWriter().u(1, 0, 0, 1).u(8, 1, 1, 1).u(1, 0).u(2, 0), "av01.0.04M.08"),
        (0, BitWriter().u(1, 0, 0, 0, 1).u(2, 2), "av01.0.04M.08.0.112.02.02.02.1"),
        (1, BitWriter().u(1, 0, 1).u(8, 1, 13, 0), "av01.1.04M.08.0.000.01.13.00.1"),
        (1, BitWriter().u(1, 1, 0, 0), "av01.1.04M.10.0.000.02.02.02.0"),
        (2, BitWriter().u(1, 0, 0, 0, 0), "av01.2.04M.08.0.100.02.02.02.0"),
        (2, BitWriter().u(1, 1, 0, 0, 0, 0), "av01.2.04M.10.0.100.02.02.02.0"),
        (2, BitWriter().u(1, 1, 1, 0, 0, 0, 1, 1).u(2, 0), "av01.2.04M.12"),
        (2, BitWriter().u(1, 1, 1, 0, 0, 0, 0), "av01.2.04M.12.0.000.02.02.02.0"),
    ],
)
def test_formats_are_named_in_full_only_where_they_must(profile: int, colour: BitWriter, name: str) -> None:
    unit = sequence(profile, colour=colour)
    record = av1.configuration_record(unit)
    assert av1.parameters(record).rfc6381 == name
    assert record[1] >> 5 == profile


def test_a_temporal_delimiter_is_taken_off_and_nothing_else() -> None:
    frame = obu(6, b"\x10\0")
    assert sample_data(Codec.AV1, DELIMITER + frame) == frame
    assert sample_data(Codec.AV1, b"\x16\x10\0" + frame) == frame  # with an extension header
    assert sample_data(Codec.AV1, b"\x10") == b""  # without a size: it is all there is
    assert sample_data(Codec.AV1, frame) is frame
    assert sample_data(Codec.AV1, b"") == b""


def test_a_keyframe_of_another_size_changes_the_track_and_other_tools_do_not() -> None:
    clip = encoded(Codec.AV1)
    track = Track(Codec.AV1, clip.track.config)
    tools = BitWriter().u(1, 0).u(3, 7).u(4, 0).u(1, 0).u(1, 0, 1)
    first, other_tools, other_size = sequence(), sequence(tools=tools), clip.samples[0].data
    assert first != other_tools
    declared = complete(Track(Codec.AV1, b""), first)
    assert complete(declared, other_tools) is declared
    assert av1.parameters(complete(declared, other_size).config) == av1.parameters(track.config)


def test_a_keyframe_completes_a_record_without_a_sequence_header() -> None:
    unit = sequence()
    track = complete(Track(Codec.AV1, b"\x81\x04\x0c\0"), DELIMITER + unit + obu(6, b"\x10\0"))
    assert track.config == av1.configuration_record(unit)
    assert complete(track, DELIMITER + unit + obu(6, b"\x10\0")) is track
    assert complete(track, DELIMITER + obu(6, b"\x30\0")) is track


@pytest.mark.parametrize("size", [len(sequence()) - 2, 200])
def test_a_sequence_header_without_a_size_is_given_one(size: int) -> None:
    content = sequence()[2:].ljust(size, b"\0")
    track = complete(Track(Codec.AV1, b""), b"\x08" + content)
    assert track.config[4:] == b"\x0a" + (b"\xc8\1" if size == 200 else bytes((size,))) + content
    assert av1.parameters(track.config).width == 640


@pytest.mark.parametrize(
    ("payload", "key"),
    [
        (DELIMITER + sequence() + obu(6, b"\x10\0"), True),
        (DELIMITER + obu(3, b"\x10"), True),
        (DELIMITER + obu(6, b"\x30\0"), False),  # inter frame
        (DELIMITER + obu(3, b"\x80"), False),  # shows an earlier frame again
        (DELIMITER + obu(6, b""), False),
        (DELIMITER + sequence(), False),
        (b"", False),
    ],
)
def test_a_keyframe_is_told_by_its_frame_header(payload: bytes, key: bool) -> None:
    assert av1.is_keyframe(payload) is key
