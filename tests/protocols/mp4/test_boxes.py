import pytest

from protocols.codec.description import AudioParameters, Colour, VideoParameters
from protocols.errors import RemoteProtocolError
from protocols.media import Codec, Track
from protocols.mp4 import boxes
from protocols.mp4.fragment import init_segment
from protocols.mp4.sample_entry import audio_sample_entry, esds, video_sample_entry
from tests.protocols.mp4.encoded import box_body, encoded

MATRIX = "00010000 00000000 00000000 00000000 00010000 00000000 00000000 00000000 40000000"
ASC = bytes.fromhex("1210")
AVC = Track(
    Codec.H264,
    bytes.fromhex("01640028ffe1001e67640028acd940780227e5c05a808080a0000003002000000641e30632c001000668ebe3cb22c0fdf8f800"),
)


def wrapped(kind: str, *contents: str | bytes) -> bytes:
    """A box written down: its content as hexadecimal, or other boxes."""
    content = b"".join(part if isinstance(part, bytes) else bytes.fromhex(part) for part in contents)
    return (8 + len(content)).to_bytes(4, "big") + kind.encode() + content


def movie(timescale: str, next_track: str, header: bytes, media: bytes, extends: str) -> bytes:
    """ftyp and moov around what differs between tracks."""
    return wrapped("ftyp", "69736f36 00000000 69736f36 636d6663") + wrapped(
        "moov",
        wrapped(
            "mvhd",
            f"00000000 00000000 00000000 {timescale} 00000000 00010000 0100 0000 00000000 00000000",
            MATRIX,
            f"00000000 00000000 00000000 00000000 00000000 00000000 {next_track}",
        ),
        wrapped("trak", header, media),
        wrapped("mvex", wrapped("trex", "00000000", extends)),
    )


def media(timescale: str, handler: str, header: bytes, entry: bytes) -> bytes:
    return wrapped(
        "mdia",
        wrapped("mdhd", f"00000000 00000000 00000000 {timescale} 00000000 55c4 0000"),
        wrapped("hdlr", "00000000 00000000", handler),
        wrapped(
            "minf",
            header,
            wrapped("dinf", wrapped("dref", "00000000 00000001", wrapped("url ", "00000001"))),
            wrapped(
                "stbl",
                wrapped("stsd", "00000000 00000001", entry),
                wrapped("stts", "00000000 00000000"),
                wrapped("stsc", "00000000 00000000"),
                wrapped("stsz", "00000000 00000000 00000000"),
                wrapped("stco", "00000000 00000000"),
            ),
        ),
    )


def test_boxes_frame_their_content() -> None:
    assert boxes.box(b"free", b"ab", b"c") == b"\0\0\0\x0bfreeabc"
    assert boxes.full_box(b"url ", 1, 2, b"x") == b"\0\0\0\x0durl \1\0\0\2x"


def test_an_audio_init_segment_byte_by_byte() -> None:
    entry = wrapped(
        "mp4a",
        "000000000000 0001 00000000 00000000 0002 0010 0000 0000 ac440000",
        # ES descriptor 0, decoder: AAC, audio stream, bit rates unknown; its configuration; SL: MP4
        wrapped("esds", "00000000", "0319 0000 00", "0411 40 15 000000 00000000 00000000", "0502 1210", "0601 02"),
    )
    track_header = wrapped(
        "tkhd",
        "00000007 00000000 00000000 00000002 00000000 00000000 00000000 00000000 0000 0000 0100 0000",
        MATRIX,
        "00000000 00000000",
    )
    handler = "736f756e 00000000 00000000 00000000 617564696f 00"
    assert init_segment(Track(Codec.AAC, ASC)) == movie(
        "0000ac44",
        "00000003",
        track_header,
        media("0000ac44", handler, wrapped("smhd", "00000000 0000 0000"), entry),
        "00000002 00000001 00000000 00000000 02000000",
    )


def test_a_video_init_segment_byte_by_byte() -> None:
    entry = wrapped(
        "avc1",
        "000000000000 0001 0000 0000 00000000 00000000 00000000 0780 0438",
        "00480000 00480000 00000000 0001",
        bytes(32),
        "0018 ffff",
        wrapped("avcC", AVC.config),
        wrapped("colr", "6e636c78 0001 0001 0001 00"),
    )
    track_header = wrapped(
        "tkhd",
        "00000007 00000000 00000000 00000001 00000000 00000000 00000000 00000000 0000 0000 0000 0000",
        MATRIX,
        "07800000 04380000",
    )
    handler = "76696465 00000000 00000000 00000000 766964656f 00"
    assert init_segment(AVC) == movie(
        "00015f90",
        "00000002",
        track_header,
        media("00015f90", handler, wrapped("vmhd", "00000001 0000 0000 0000 0000"), entry),
        "00000001 00000001 00000000 00000000 01010000",
    )


def test_pixels_that_are_not_square_widen_the_track_and_say_so_in_the_entry() -> None:
    video = VideoParameters(720, 576, 25.0, "avc1.4d401e", pixel_aspect=(16, 11), colour=Colour(9, 16, 9, True))
    entry = video_sample_entry(AVC, video)
    assert entry.endswith(wrapped("colr", "6e636c78 0009 0010 0009 80") + wrapped("pasp", "00000010 0000000b"))
    assert boxes.tkhd(1, video)[-8:] == bytes.fromhex("04170000 02400000")


OWN_BOXES = {
    Codec.H264: b"avcC",
    Codec.HEVC: b"hvcC",
    Codec.AV1: b"av1C",
    Codec.VP9: b"vpcC",
    Codec.OPUS: b"dOps",
    Codec.FLAC: b"dfLa",
    Codec.AC3: b"dac3",
    Codec.EAC3: b"dec3",
}


@pytest.mark.parametrize(("codec", "kind"), OWN_BOXES.items())
def test_a_codecs_own_box_is_the_one_that_libavformat_writes(codec: Codec, kind: bytes) -> None:
    clip = encoded(codec)
    assert box_body(init_segment(clip.track), kind) == box_body(clip.file, kind)


@pytest.mark.parametrize(
    ("track", "entry"),
    [
        (Track(Codec.MP3, bytes.fromhex("fffb9064")), "0000000000000001000000000000000000020010 00000000 ac440000"),
        (Track(Codec.MP3, bytes.fromhex("fff39844")), "0000000000000001000000000000000000020010 00000000 3e800000"),
    ],
)
def test_mp3_needs_no_specific_configuration(track: Track, entry: str) -> None:
    indication = "6b" if track.config[1] == 0xFB else "69"
    descriptors = wrapped("esds", "00000000 0315 0000 00", f"040d {indication} 15 000000 00000000 00000000", "0601 02")
    assert wrapped("mp4a", entry, descriptors) in init_segment(track)


def test_a_rate_over_16_bits_is_left_to_the_decoder_configuration() -> None:
    track = Track(Codec.AAC, ASC)
    entry = audio_sample_entry(track, AudioParameters(96000, 2, "mp4a.40.2"))
    assert entry[8:36] == bytes.fromhex("000000000000 0001 00000000 00000000 0002 0010 0000 0000 00000000")


def test_channels_left_to_the_bitstream_are_written_as_two() -> None:
    entry = audio_sample_entry(Track(Codec.AAC, ASC), AudioParameters(48000, 0, "mp4a.40.2"))
    assert entry[24:26] == b"\0\2"


def test_descriptors_over_127_bytes_have_lengths_of_several_bytes() -> None:
    long = esds(0x40, bytes(200))
    assert b"\x05\x81\x48" + bytes(200) in long
    assert long[12:15] == b"\x03\x81\x61"  # 3 + (3 + 13 + 203) + 3 = 225 in two groups of 7 bits: 1 and 0x61
    assert b"\x05\x81\x80\x00" in esds(0x40, bytes(16384))


@pytest.mark.parametrize(
    ("track", "complaint"),
    [
        (Track(Codec.VP9, bytes.fromhex("01000000000a820202020000")), "picture size of vp9"),
        (Track(Codec.AV1, bytes.fromhex("81040c00")), "picture size of av1"),
        (Track(Codec.MP3, b""), "sample rate of mp3"),
        (Track(Codec.AC3, b""), "sample rate of ac3"),
        (Track(Codec.EAC3, b""), "sample rate of eac3"),
        (Track(Codec.SPEEX, b""), "no ISO BMFF form"),
    ],
)
def test_a_track_that_says_too_little_has_no_init_segment(track: Track, complaint: str) -> None:
    with pytest.raises(RemoteProtocolError, match=complaint):
        init_segment(track)
