import pytest

from mediaserver.relay.acceptance import Acceptance, description, header_body, packet_body
from protocols import flv
from protocols.flv import TagReader
from protocols.media import Codec, Packet, Track
from protocols.rtmp import amf0
from protocols.rtmp.enhanced import PacketType, header
from protocols.rtmp.events import Capabilities
from tests.mediaserver.running import HEADER

H264, AAC, MP3 = Track(Codec.H264, b"c", b"\x17\0"), Track(Codec.AAC, b"c", b"\xaf\0"), Track(Codec.MP3, b"")
HEVC, OPUS = Track(Codec.HEVC, b"c", b"\x90hvc1"), Track(Codec.OPUS, b"c", b"\x90Opus")


@pytest.mark.parametrize(
    ("fourccs", "takes", "refuses"),
    [
        ((), (H264, AAC, MP3), (HEVC, OPUS, Track(Codec.SPEEX, b""))),
        (("hvc1",), (H264, AAC, HEVC), (OPUS,)),
        (("*",), (H264, HEVC, OPUS), (Track(Codec.SPEEX, b""),)),
    ],
)
def test_a_target_takes_what_it_announced(fourccs: tuple[str, ...], takes: tuple[Track, ...], refuses: tuple[Track, ...]) -> None:
    acceptance = Acceptance.of("a.example", Capabilities(frozenset(fourccs)))
    assert acceptance.objection(takes) == ""
    for track in refuses:
        assert f"the stream's {track.kind.value} is {track.codec.value}" in acceptance.objection((*takes, track))


def test_a_platform_that_takes_more_than_it_says_is_known() -> None:
    acceptance = Acceptance.of("a.rtmps.youtube.com", Capabilities())
    assert acceptance.objection((HEVC, AAC)) == ""
    assert acceptance.objection((OPUS,))
    assert Acceptance.of("notyoutube.com", Capabilities()).objection((HEVC,))


def read(reader: TagReader, type_id: int, body: bytes) -> Track | Packet:
    word = reader.read(type_id, 0, body)
    assert word is not None
    return word


def test_plain_codecs_in_enhanced_dress_are_undressed() -> None:
    reader, record = TagReader(), HEADER[2][5:]
    track = read(reader, flv.VIDEO, header(PacketType.SEQUENCE_START, Codec.H264) + record)
    frame = read(reader, flv.VIDEO, header(PacketType.CODED_FRAMES, Codec.H264) + b"\0\0\x28" + b"picture")
    assert isinstance(track, Track)
    assert isinstance(frame, Packet)
    assert header_body(track) == HEADER[2]
    assert packet_body(Codec.H264, frame) == b"\x17\x01\0\0\x28picture"
    sound = read(reader, flv.AUDIO, header(PacketType.SEQUENCE_START, Codec.AAC) + b"\x11\x90")
    assert isinstance(sound, Track)
    assert header_body(sound) == b"\xaf\x00\x11\x90"


def test_hevc_in_plain_dress_is_given_its_fourcc() -> None:
    reader = TagReader()
    track = read(reader, flv.VIDEO, b"\x1c\x00\0\0\0record")
    frame = read(reader, flv.VIDEO, b"\x2c\x01\0\0\0picture")
    assert isinstance(track, Track)
    assert isinstance(frame, Packet)
    assert header_body(track) == header(PacketType.SEQUENCE_START, Codec.HEVC) + b"record"
    assert packet_body(Codec.HEVC, frame) == header(PacketType.CODED_FRAMES_X, Codec.HEVC, 2) + b"picture"


def test_what_is_dressed_as_it_should_be_goes_out_as_it_came() -> None:
    reader = TagReader()
    track = read(reader, flv.VIDEO, HEADER[2])
    frame = read(reader, flv.VIDEO, b"\x17\x01\0\0\0picture")
    assert isinstance(track, Track)
    assert isinstance(frame, Packet)
    assert header_body(track) is track.body
    assert packet_body(Codec.H264, frame) is frame.body
    assert header_body(MP3) == b""


def test_a_description_is_made_where_the_publisher_gave_none() -> None:
    name, values = amf0.decode_all(description((HEVC, AAC), (1280, 720)))
    assert name == "onMetaData"
    assert values == {"videocodecid": float(0x68766331), "audiocodecid": 10.0, "width": 1280.0, "height": 720.0}
