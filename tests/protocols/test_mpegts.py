import io
from itertools import pairwise

import av
import pytest

from protocols.errors import RemoteProtocolError
from protocols.media import Codec, MediaKind, Track
from protocols.mpegts import CLOCK, NULL_PACKET, PACKET_SIZE, PRELOAD, WRAP, TransportWriter, crc32, elementary, stamps
from tests.protocols.mp4.encoded import encoded
from tests.protocols.mp4.test_boxes import ASC, AVC

VIDEO, AUDIO = MediaKind.VIDEO, MediaKind.AUDIO
AAC = Track(Codec.AAC, ASC)
CARRIED = [Codec.H264, Codec.HEVC, Codec.AAC, Codec.OPUS, Codec.AC3, Codec.EAC3, Codec.MP3]


def test_the_crc_is_that_of_sections() -> None:
    assert crc32(b"123456789") == 0x0376E6E7


def test_the_tables_byte_by_byte() -> None:
    pat, pmt = (TransportWriter({VIDEO: AVC, AUDIO: AAC}).tables()[at : at + 188] for at in (0, 188))
    assert pat.rstrip(b"\xff").hex() == "474000100000b00d0001c100000001f0002ab104b2"
    assert pmt.rstrip(b"\xff").hex().startswith("475000100002b0170001c10000e100f0001be100f0000fe101f000")


@pytest.mark.parametrize("codec", CARRIED)
def test_libav_decodes_it(codec: Codec) -> None:
    clip = encoded(codec)
    writer = TransportWriter({codec.kind: clip.track})
    time, parts, times = 0, [writer.tables()], []
    for sample in clip.samples:
        pts = time + sample.composition_offset * CLOCK // (90_000 if codec.kind is VIDEO else 48_000)
        parts.append(writer.access_unit(codec.kind, time, pts, sample.data, keyframe=sample.keyframe))
        times.append(pts)
        time += 1920
    data = b"".join((*parts, NULL_PACKET))
    assert len(data) % PACKET_SIZE == 0
    assert list(stamps(data)) == [pts + PRELOAD for pts in times]
    with av.open(io.BytesIO(data), format="mpegts") as container:
        assert container.streams[0].codec_context.codec.canonical_name == codec.value
        found = [packet for packet in container.demux() if packet.size]
        assert [packet.pts for packet in found][: len(times) - 1] == [pts + PRELOAD for pts in times][: len(times) - 1]
    with av.open(io.BytesIO(data), format="mpegts") as container:
        assert len(list(container.decode())) >= len(times) - 2


@pytest.mark.parametrize("length", [*range(400), 65_600])
def test_access_units_of_any_length_fill_whole_packets(length: int) -> None:
    writer = TransportWriter({VIDEO: AVC, AUDIO: Track(Codec.MP3, encoded(Codec.MP3).track.config)})
    unit = length.to_bytes(4) + b"\x65" * length if length else b""
    for written in (
        writer.access_unit(VIDEO, 0, 10, unit, keyframe=length % 2 == 0),
        writer.access_unit(VIDEO, 20, 20, unit, keyframe=False),
        writer.access_unit(AUDIO, 0, 0, b"a" * length, keyframe=True),
    ):
        assert len(written) % PACKET_SIZE == 0
        assert all(written[at] == 0x47 for at in range(0, len(written), PACKET_SIZE))
        counters = [written[at + 3] & 15 for at in range(0, len(written), PACKET_SIZE)]
        assert all((two - one) % 16 == 1 for one, two in pairwise(counters))
        payload = b"".join(body(written[at : at + PACKET_SIZE]) for at in range(0, len(written), PACKET_SIZE))
        assert payload.endswith(b"\x65" * length if written[2] == 0 else b"a" * length)
        announced = int.from_bytes(payload[4:6])
        assert announced == (len(payload) - 6 if len(payload) - 6 <= 0xFFFF else 0)


def body(packet: bytes) -> bytes:
    return packet[4 + (1 + packet[4] if packet[3] & 0x20 else 0) :]


def test_the_clock_wraps() -> None:
    writer = TransportWriter({AUDIO: AAC})
    (stamp,) = stamps(writer.access_unit(AUDIO, WRAP - PRELOAD + 7, WRAP - PRELOAD + 7, b"x", keyframe=True))
    assert stamp == 7


def test_delimiters_and_empty_units_of_an_encoder_are_left_out() -> None:
    write = elementary(AVC)
    assert write(bytes.fromhex("00000002 09f0 00000000 00000001 41"), False) == bytes.fromhex("00000001 09f0 00000001 41")
    hevc = elementary(encoded(Codec.HEVC).track)
    assert hevc(bytes.fromhex("00000003 460150 00000002 0201"), False) == bytes.fromhex("00000001 460150 00000001 0201")


@pytest.mark.parametrize(
    "track",
    [
        Track(Codec.AV1, encoded(Codec.AV1).track.config),
        Track(Codec.AAC, b""),
        Track(Codec.AAC, bytes.fromhex("1780ac4410")),  # a frequency that has no index
        Track(Codec.AAC, bytes.fromhex("1200")),  # channels that only the stream tells
        Track(Codec.AAC, bytes.fromhex("bb10")),  # AAC-LD
        Track(Codec.OPUS, b"OpusHead\x01\x06\x38\x01\x80\xbb\x00\x00\x00\x00\x01\x04\x02" + bytes(range(6))),
    ],
)
def test_what_has_no_form_is_told(track: Track) -> None:
    with pytest.raises(RemoteProtocolError):
        TransportWriter({track.kind: track})


def test_aac_headers_byte_by_byte() -> None:
    assert elementary(AAC)(b"abc", True).hex() == "fff15080015ffc616263"
    # HE-AAC is told as the AAC LC in it.
    assert elementary(Track(Codec.AAC, bytes.fromhex("2b920800")))(b"abc", True)[:3].hex() == "fff15c"
    with pytest.raises(RemoteProtocolError, match="AAC frame"):
        elementary(AAC)(bytes(8200), True)


def test_opus_lengths_are_in_bytes_of_up_to_255() -> None:
    write = elementary(encoded(Codec.OPUS).track)
    assert write(b"x" * 300, True)[:4] == bytes.fromhex("7fe0ff2d")
    assert write(b"x" * 255, True)[:4] == bytes.fromhex("7fe0ff00")


def test_stamps_are_of_media_alone() -> None:
    assert list(stamps(NULL_PACKET + TransportWriter({AUDIO: AAC}).tables() + b"\x47")) == []
