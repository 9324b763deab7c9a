"""What crosses the socket to a worker: whole, in pieces, and malformed."""

import random

import pytest

from mediaserver.worker.frames import LONGEST_FRAME, Blob, Frame, FrameReader, Note, PacketFrame, TrackFrame, encode
from protocols.errors import RemoteProtocolError
from protocols.media import Codec, MediaKind, Packet, Track

FRAMES: list[Frame] = [
    Note({"memory": 1 << 30, "words": "größer", "list": [1, 2.5, None]}),
    TrackFrame(0, Track(Codec.H264, b"\x01config", b"\x17\0body")),
    TrackFrame(255, Track(Codec.MP3, b"")),
    PacketFrame(3, Packet(MediaKind.VIDEO, 1 << 40, True, b"\x17\x01\0\0\0picture", 5, -7, True)),
    PacketFrame(0, Packet(MediaKind.AUDIO, 0, False, b"", 0)),
    Blob(7, b"\xff\xd8image"),
    Blob(0, b""),
]


def test_every_frame_comes_back_as_it_was_from_pieces_of_any_size() -> None:
    wire = b"".join(map(encode, FRAMES))
    for size in (1, 2, 3, 7, 64, len(wire)):
        reader = FrameReader()
        read = [frame for start in range(0, len(wire), size) for frame in reader.receive(wire[start : start + size])]
        assert read == FRAMES


def test_a_frame_is_there_with_its_last_byte_and_not_before() -> None:
    for frame in FRAMES:
        wire = encode(frame)
        reader = FrameReader()
        assert [reader.receive(wire[place : place + 1]) for place in range(len(wire) - 1)] == [[]] * (len(wire) - 1)
        assert reader.receive(wire[-1:]) == [frame]


@pytest.mark.parametrize(
    "wire",
    [
        (LONGEST_FRAME + 1).to_bytes(4) + b"\x01",
        b"\0\0\0\0\x09",
        b"\0\0\0\x02\x01ab",
        b"\0\0\0\x08\x02\0\x09\0\0\0\0no",
        b"\0\0\0\x02\x03{]",
    ],
)
def test_what_no_worker_sends_is_refused(wire: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        FrameReader().receive(wire)


def test_noise_is_frames_or_refused() -> None:
    chance = random.Random(5)
    wire = b"".join(map(encode, FRAMES))
    for _ in range(2000):
        noisy = bytearray(wire)
        for _ in range(chance.randint(1, 4)):
            noisy[chance.randrange(len(noisy))] = chance.randrange(256)
        try:
            FrameReader().receive(bytes(noisy))
        except RemoteProtocolError:
            continue
