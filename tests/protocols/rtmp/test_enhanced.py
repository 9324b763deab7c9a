import pytest

from protocols.errors import LocalProtocolError
from protocols.media import Codec, MediaKind
from protocols.rtmp import amf0, enhanced
from protocols.rtmp.enhanced import ExTag, PacketType, TrackSlice, parse

VIDEO, AUDIO = MediaKind.VIDEO, MediaKind.AUDIO


def one(
    packet_type: PacketType,
    codec: Codec | None,
    start: int,
    end: int,
    *,
    frame_type: int = 0,
    multitrack: bool = False,
    track_id: int = 0,
) -> ExTag:
    return ExTag(packet_type, frame_type, multitrack, (TrackSlice(track_id, codec, start, end),))


@pytest.mark.parametrize(
    ("first", "packet_type"),
    [
        (0x90, PacketType.SEQUENCE_START),
        (0x91, PacketType.CODED_FRAMES),
        (0x92, PacketType.SEQUENCE_END),
        (0x93, PacketType.CODED_FRAMES_X),
        (0x94, PacketType.METADATA),
        (0x95, PacketType.MPEG2_TS_SEQUENCE_START),
    ],
)
@pytest.mark.parametrize(("fourcc", "codec"), [*enhanced.VIDEO_FOURCC.items(), (b"vvc1", None), (b"mp4a", None)])
def test_video_packets_of_every_type_and_codec(first, packet_type, fourcc, codec):
    assert parse(VIDEO, bytes((first,)) + fourcc + b"data") == one(packet_type, codec, 5, 9, frame_type=1)


@pytest.mark.parametrize(
    ("first", "packet_type"),
    [
        (0x90, PacketType.SEQUENCE_START),
        (0x91, PacketType.CODED_FRAMES),
        (0x92, PacketType.SEQUENCE_END),
        (0x94, PacketType.MULTICHANNEL_CONFIG),
    ],
)
@pytest.mark.parametrize(("fourcc", "codec"), [*enhanced.AUDIO_FOURCC.items(), (b"avc1", None)])
def test_audio_packets_of_every_type_and_codec(first, packet_type, fourcc, codec):
    assert parse(AUDIO, bytes((first,)) + fourcc + b"data") == one(packet_type, codec, 5, 9)


@pytest.mark.parametrize("kind", [VIDEO, AUDIO])
@pytest.mark.parametrize("number", range(8, 16))
def test_packet_types_that_no_version_defines_are_nothing(kind, number):
    assert parse(kind, bytes((0x90 | number,)) + b"avc1data") is None


def test_the_frame_type_is_that_of_the_seven_low_bits():
    assert parse(VIDEO, b"\xa1hvc1").frame_type == enhanced.INTER_FRAME
    assert parse(VIDEO, b"\xb1hvc1").frame_type == enhanced.DISPOSABLE_INTER_FRAME


def test_a_command_frame_has_no_tracks_but_metadata_ignores_the_frame_type():
    assert parse(VIDEO, b"\xd1\x00") == ExTag(PacketType.CODED_FRAMES, enhanced.COMMAND_FRAME, False, ())
    assert parse(VIDEO, b"\xd4hvc1x") == one(PacketType.METADATA, Codec.HEVC, 5, 6, frame_type=5)


def test_modifiers_are_passed_over_one_after_the_other():
    # 3 bytes of nanoseconds, then an unknown modifier of 1 byte, then the coded frames.
    body = b"\x97" + b"\x02\x07\xa1\x20\x07" + b"\x00\xff\x51" + b"av01data"
    assert parse(VIDEO, body) == one(PacketType.CODED_FRAMES, Codec.AV1, 13, 17, frame_type=1)
    assert parse(AUDIO, b"\x97\x02\x00\x00\x01\x01Opusdata") == one(PacketType.CODED_FRAMES, Codec.OPUS, 10, 14)


def test_a_modifier_of_256_bytes_or_more_has_a_longer_length():
    body = b"\x97\xff\x01\x2b" + bytes(300) + b"\x01av01"
    assert parse(VIDEO, body) == one(PacketType.CODED_FRAMES, Codec.AV1, 309, 309, frame_type=1)


def test_one_track_names_itself():
    picture = one(PacketType.CODED_FRAMES, Codec.HEVC, 7, 11, frame_type=1, multitrack=True, track_id=2)
    assert parse(VIDEO, b"\x96\x01hvc1\x02data") == picture
    assert parse(AUDIO, b"\x95\x00mp4a\x00data") == one(PacketType.SEQUENCE_START, Codec.AAC, 7, 11, multitrack=True)


def test_many_tracks_of_one_codec():
    body = b"\x96\x13avc1" + b"\x00\x00\x00\x03abc" + b"\x01\x00\x00\x00" + b"\x05\x00\x00\x01d"
    tag = parse(VIDEO, body)
    assert tag.packet_type is PacketType.CODED_FRAMES_X
    assert tag.multitrack
    assert [(track.track_id, track.codec, body[track.start : track.end]) for track in tag.tracks] == [
        (0, Codec.H264, b"abc"),
        (1, Codec.H264, b""),
        (5, Codec.H264, b"d"),
    ]


def test_many_tracks_of_many_codecs():
    body = b"\x95\x21" + b"Opus\x00\x00\x00\x03abc" + b"mp4a\x01\x00\x00\x01d" + b"what\x02\x00\x00\x00"
    tag = parse(AUDIO, body)
    assert tag.packet_type is PacketType.CODED_FRAMES
    assert tag.multitrack
    assert [(track.track_id, track.codec, body[track.start : track.end]) for track in tag.tracks] == [
        (0, Codec.OPUS, b"abc"),
        (1, Codec.AAC, b"d"),
        (2, None, b""),
    ]


@pytest.mark.parametrize(
    "body", [b"\x96\x31avc1\x00data", b"\x96\x06avc1\x00data", b"\x96\x07avc1\x00data"], ids=["layout 3", "twice", "modifier"]
)
def test_a_multitrack_header_that_no_version_defines_is_nothing(body):
    assert parse(VIDEO, body) is None


@pytest.mark.parametrize(
    ("kind", "body", "valid"),
    [
        (VIDEO, b"\x91avc1", {5}),
        (VIDEO, b"\x97\x02\x00\x00\x01\x01avc1", {10}),
        (VIDEO, b"\x97\xff\x00\x02\x00\x00\x01\x01avc1", {12}),
        (VIDEO, b"\x96\x01avc1\x00", {7}),
        (VIDEO, b"\x96\x11avc1\x00\x00\x00\x02ab\x01\x00\x00\x01c", {6, 12, 17}),
        (AUDIO, b"\x95\x21mp4a\x00\x00\x00\x02abOpus\x01\x00\x00\x01c", {2, 12, 21}),
    ],
)
def test_a_header_cut_short_anywhere_is_nothing(kind, body, valid):
    for length in range(len(body) + 1):
        assert (parse(kind, body[:length]) is not None) == (length in valid)


def test_a_header_is_what_parse_reads():
    for codec in enhanced.FOURCC:
        for packet_type in (PacketType.SEQUENCE_START, PacketType.CODED_FRAMES):
            data = enhanced.header(packet_type, codec, enhanced.INTER_FRAME)
            frame_type = enhanced.INTER_FRAME if codec.kind is VIDEO else 0
            assert parse(codec.kind, data) == one(packet_type, codec, 5, 5, frame_type=frame_type)
    assert enhanced.header(PacketType.CODED_FRAMES, Codec.HEVC) == b"\x91hvc1"
    assert enhanced.header(PacketType.SEQUENCE_START, Codec.OPUS) == b"\x90Opus"


def test_a_codec_without_fourcc_has_no_header():
    with pytest.raises(LocalProtocolError, match="speex"):
        enhanced.header(PacketType.CODED_FRAMES, Codec.SPEEX)


def test_the_capabilities_go_through_amf0_and_name_every_codec():
    capabilities = enhanced.server_capabilities()
    assert amf0.decode_all(amf0.encode(capabilities)) == [capabilities]
    assert capabilities["fourCcList"] == ["avc1", "hvc1", "av01", "vp09", "vp08", "mp4a", "Opus", "fLaC", "ac-3", "ec-3", ".mp3"]
    assert capabilities["videoFourCcInfoMap"] == dict.fromkeys(["avc1", "hvc1", "av01", "vp09", "vp08"], 4.0)
    assert capabilities["audioFourCcInfoMap"] == dict.fromkeys(["mp4a", "Opus", "fLaC", "ac-3", "ec-3", ".mp3"], 4.0)
    assert capabilities["capsEx"] == 7.0
