import io
import struct

import av
import pytest

from protocols import matroska
from protocols.codec.description import VideoParameters
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.matroska import Block, cluster, cluster_end, duration, head, read_element, read_head
from protocols.media import Codec, MediaKind, Track
from tests.protocols.mp4.encoded import encoded
from tests.protocols.mp4.test_boxes import ASC, AVC

VIDEO, AUDIO = MediaKind.VIDEO, MediaKind.AUDIO
AAC = Track(Codec.AAC, ASC)


def test_a_cluster_byte_by_byte() -> None:
    written = cluster([Block(VIDEO, 1000, True, b"I"), Block(AUDIO, 997, True, b"a"), Block(VIDEO, 1040, False, b"p")])
    assert written == bytes.fromhex(
        "1f43b675 96 e7 82 03e5 a3 85 81 0003 80 49 a3 85 82 0000 80 61 a3 85 81 002b 00 70".replace("96", "99")
    )
    assert cluster_end(written[5:]) == 1040


def test_clusters_that_cannot_be() -> None:
    with pytest.raises(LocalProtocolError, match="no blocks"):
        cluster([])
    with pytest.raises(LocalProtocolError, match="does not fit"):
        cluster([Block(VIDEO, 0, True, b""), Block(VIDEO, 40_000, True, b"")])


def test_the_head_says_where_clusters_begin_and_the_duration_goes() -> None:
    made = head({AUDIO: AAC, VIDEO: AVC})
    assert read_head(made.data + cluster([Block(VIDEO, 0, True, b"I")])) == (len(made.data), made.room)
    patch = duration(2.5)
    assert patch == bytes.fromhex("4489 88") + struct.pack(">d", 2500.0)
    assert made.data[made.room : made.room + len(patch)] == b"\xec\x89" + bytes(9)


@pytest.mark.parametrize(
    "codec", [Codec.H264, Codec.HEVC, Codec.AV1, Codec.VP9, Codec.AAC, Codec.OPUS, Codec.FLAC, Codec.AC3, Codec.MP3]
)
def test_libav_decodes_it(codec: Codec) -> None:
    clip = encoded(codec)
    made = head({codec.kind: clip.track})
    blocks = [Block(codec.kind, number * 20, sample.keyframe, sample.data) for number, sample in enumerate(clip.samples)]
    patched = made.data[: made.room] + duration(9.0) + made.data[made.room + 11 :]
    with av.open(io.BytesIO(patched + cluster(blocks))) as container:
        assert container.duration == 9_000_000
        assert container.streams[0].codec_context.codec.canonical_name == codec.value
        assert len([packet for packet in container.demux() if packet.size]) == len(blocks)
        container.seek(0)
        assert len(list(container.decode())) >= len(blocks) - 2


def test_pixels_that_are_not_square_have_a_display_size(monkeypatch: pytest.MonkeyPatch) -> None:
    def anamorphic(_: Track) -> VideoParameters:
        return VideoParameters(720, 576, 25.0, "avc1.4d401e", pixel_aspect=(16, 11))

    sizes = bytes.fromhex("b0 82 02d0 ba 82 0240")
    monkeypatch.setattr(matroska, "parameters", anamorphic)
    assert sizes + bytes.fromhex("54b0 82 0417 54ba 82 0240") in head({VIDEO: AVC}).data


@pytest.mark.parametrize(
    "track",
    [
        Track(Codec.SPEEX, b""),
        Track(Codec.MP3, b""),
        Track(Codec.VP9, bytes.fromhex("01000000000a0802020200 00".replace(" ", ""))),
    ],
)
def test_what_has_no_form_is_told(track: Track) -> None:
    with pytest.raises(RemoteProtocolError):
        head({track.kind: track})


@pytest.mark.parametrize("broken", ["", "00", "1f43b6", "1f43b67500", "a3", "1a45dfa3 40"])
def test_broken_elements_are_told(broken: str) -> None:
    with pytest.raises(RemoteProtocolError):
        read_element(bytes.fromhex(broken))


def test_sizes_of_any_width() -> None:
    for size in (0, 126, 127, 16_382, 16_383, 1 << 34):
        written = b"\xa3" + matroska._size(size)
        assert read_element(written + bytes(8)) == (0xA3, len(written), size)
    assert read_element(b"\xa3\xff")[2] == -1


def test_broken_files_are_told() -> None:
    with pytest.raises(RemoteProtocolError, match="unknown size"):
        read_head(bytes.fromhex("1549a966ff"))
    with pytest.raises(RemoteProtocolError, match="fewer than 4"):
        cluster_end(bytes.fromhex("a381 00"))
    assert cluster_end(bytes.fromhex("ec 81 00 e7 81 05")) == 5
    assert matroska.is_cluster(0x1F43B675)
    assert not matroska.is_cluster(0xEC)
