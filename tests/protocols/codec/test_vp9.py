import pytest

from protocols.codec import complete, vp9
from protocols.codec.description import Colour, VideoParameters
from protocols.errors import RemoteProtocolError
from protocols.media import Codec, Track
from tests.protocols.codec.bitwriter import BitWriter
from tests.protocols.mp4.encoded import encoded

# libvpx: 320x180, profile 1 (4:4:4): the record in the file, and how its first frame starts
RECORD = bytes.fromhex("01000000010b860202020000")
KEYFRAME = bytes.fromhex("a249834200027e0166c0070483830940")


def keyframe(profile: int = 0, colour: BitWriter | None = None, size: tuple[int, int] = (1280, 720)) -> bytes:
    """An uncompressed header up to the frame size; ``colour`` from the bit depth on."""
    bits = BitWriter().u(2, 2).u(1, profile & 1, profile >> 1)
    if profile == 3:
        bits.u(1, 0)
    bits.u(1, 0, 0, 1, 0).u(24, 0x498342)
    bits._bits += (colour or BitWriter().u(3, 2).u(1, 0))._bits
    return bytes(bits.u(16, size[0] - 1, size[1] - 1).u(1, 0))


def test_a_record_has_no_size_until_a_keyframe_tells_it() -> None:
    bare = Track(Codec.VP9, RECORD)
    expected = VideoParameters(width=0, height=0, frame_rate=0.0, rfc6381="vp09.01.11.08.03.02.02.02.00", profile=1, level=11)
    assert vp9.parameters(bare.config) == expected
    track = complete(bare, KEYFRAME)
    described = vp9.parameters(track.config)
    assert (described.width, described.height) == (320, 180)
    assert complete(track, KEYFRAME) is track
    assert vp9.record_body(track.config) == RECORD[4:]


def test_a_keyframe_of_another_size_changes_the_track_and_an_inter_frame_does_not() -> None:
    track = encoded(Codec.VP9).track
    larger = complete(track, keyframe(size=(1920, 1080)))
    assert (vp9.parameters(larger.config).width, vp9.parameters(larger.config).height) == (1920, 1080)
    assert complete(larger, b"\x86\0\x40\x92") is larger


def test_a_record_without_version_and_flags_is_read_as_well() -> None:
    assert vp9.parameters(RECORD[4:]) == vp9.parameters(RECORD)
    assert complete(Track(Codec.VP9, RECORD[4:]), KEYFRAME) == complete(Track(Codec.VP9, RECORD), KEYFRAME)


def test_a_keyframe_alone_makes_a_record() -> None:
    track = complete(Track(Codec.VP9, b""), keyframe())
    assert track.config.hex() == "01000000" + "0000820202010000" + "050002d0"
    described = vp9.parameters(track.config)
    assert (described.rfc6381, described.width, described.height) == ("vp09.00.10.08.01.02.02.01.00", 1280, 720)


@pytest.mark.parametrize(
    ("record", "name", "colour"),
    [
        ("000a80010101", "vp09.00.10.08", None),
        ("001f82020202", "vp09.00.31.08", None),
        ("000082020202", "vp09.00.10.08", None),
        ("0228a2091009", "vp09.02.40.10.01.09.16.09.00", Colour(9, 16, 9)),
        ("001f83020202", "vp09.00.31.08.01.02.02.02.01", Colour(2, 2, 2, True)),
        ("031fc4020202", "vp09.03.31.12.02.02.02.02.00", None),
    ],
)
def test_names_are_spelt_in_full_only_where_they_must(record: str, name: str, colour: Colour | None) -> None:
    described = vp9.parameters(bytes.fromhex("01000000" + record + "0000"))
    assert (described.rfc6381, described.colour) == (name, colour)


@pytest.mark.parametrize("config", [b"", b"\1\0\0\0\0\x0a\x82", bytes(7)])
def test_a_record_that_ends_early_is_the_senders_fault(config: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="ends early"):
        vp9.parameters(config)


@pytest.mark.parametrize(
    ("profile", "colour", "expected"),
    [
        (0, BitWriter().u(3, 2).u(1, 0), (8, 1, False, 1)),
        (1, BitWriter().u(3, 1).u(1, 1, 0, 0, 0), (8, 3, True, 6)),
        (1, BitWriter().u(3, 1).u(1, 0, 1, 0, 0), (8, 2, False, 6)),
        (1, BitWriter().u(3, 1).u(1, 0, 0, 1, 0), (8, 4, False, 6)),
        (1, BitWriter().u(3, 7).u(1, 0), (8, 3, True, 0)),
        (2, BitWriter().u(1, 0).u(3, 5).u(1, 0), (10, 1, False, 9)),
        (3, BitWriter().u(1, 1).u(3, 5).u(1, 0, 1, 1, 0), (12, 1, False, 9)),
    ],
)
def test_formats_are_read_from_a_keyframe(profile: int, colour: BitWriter, expected: tuple[int, int, bool, int]) -> None:
    header = vp9.parse_keyframe(keyframe(profile, colour))
    assert header is not None
    assert (header.bit_depth, header.chroma, header.full_range, header.matrix) == expected
    assert (header.profile, header.width, header.height) == (profile, 1280, 720)


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (b"", "ends in the middle"),
        (b"\x42\x49\x83\x42", "frame marker"),
        (b"\x82\x49\x83\x43", "sync code"),
        (KEYFRAME[:7], "ends in the middle"),
        (keyframe(size=(65536, 16)), "65536"),
    ],
)
def test_a_frame_that_is_none_is_the_senders_fault(payload: bytes, complaint: str) -> None:
    with pytest.raises(RemoteProtocolError, match=complaint):
        vp9.parse_keyframe(payload)


@pytest.mark.parametrize(("payload", "key"), [(KEYFRAME, True), (b"\x86\0", False), (b"\x88\0", False), (b"", False)])
def test_a_keyframe_is_told_by_its_first_byte(payload: bytes, key: bool) -> None:
    assert vp9.is_keyframe(payload) is key
