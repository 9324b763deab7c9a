"""The stream that the load publishes: frames say when they were sent, and a broken one shows."""

import pytest

from bench.load.clip import AUDIO, GOP_FRAMES, VIDEO, VIDEO_HEADER, Stamp, last_stamp, make_clip, read_stamp, seconds, timestamp
from bench.load.dialogue import RtmpDialogue
from bench.load.publish import CHUNK_SIZE, chunked, in_our_chunks, opening_messages, set_chunk_size, templates
from protocols.codec import VideoParameters, parameters
from protocols.flv import TagReader
from protocols.media import Codec, Packet, Track
from protocols.rtmp.chunk_reader import ChunkReader
from protocols.rtmp.endpoint import CHUNK_SIZE as SESSION_CHUNK_SIZE
from protocols.rtmp.events import ConnectRequested, PublishRequested
from protocols.rtmp.session import ServerSession, SessionLimits


def stamped(type_id: int, number: int, sent_ns: int) -> bytes:
    """A frame's FLV body as the publisher sends it, out of its chunks again."""
    clip = make_clip(2_500_000)
    frames = templates(clip)[type_id]
    wire = frames[number % len(frames)]
    body = clip.body(type_id, number)
    stamp_at = 8 + (28 if type_id == VIDEO else 2)
    wire[stamp_at : stamp_at + 24] = b"%016x%08x" % (sent_ns, number)
    wire[-8:] = b"%08x" % number
    whole = bytes(wire[8:])
    pieces = [whole[at : at + CHUNK_SIZE] for at in range(0, len(whole), CHUNK_SIZE + 1)]
    joined = b"".join(pieces)
    assert len(joined) == len(body)
    return joined


@pytest.mark.parametrize(("type_id", "number"), [(VIDEO, 0), (VIDEO, 61), (AUDIO, 5)])
def test_a_stamp_survives_chunking(type_id: int, number: int) -> None:
    body = stamped(type_id, number, 123_456_789_012)
    assert read_stamp(type_id, body) == Stamp(123_456_789_012, number, len(body))


def test_a_frame_with_anothers_end_is_told() -> None:
    body = stamped(VIDEO, 3, 1)
    with pytest.raises(ValueError, match="another frame's bytes"):
        read_stamp(VIDEO, body[:-8] + b"%08x" % 4)


def test_a_frame_cut_short_is_told() -> None:
    with pytest.raises(ValueError, match="bytes long"):
        read_stamp(VIDEO, stamped(VIDEO, 3, 1)[:-10])


def test_sequence_headers_have_no_stamp() -> None:
    assert read_stamp(VIDEO, VIDEO_HEADER) is None


@pytest.mark.parametrize("bitrate", [360_000, 2_500_000, 6_000_000])
def test_the_clip_has_the_bitrate_that_was_asked_for(bitrate: int) -> None:
    clip = make_clip(bitrate)
    video = sum(map(len, clip.video)) * 8 / seconds(VIDEO, GOP_FRAMES)
    audio = sum(map(len, clip.audio)) * 8 / seconds(AUDIO, len(clip.audio))
    assert video + audio == pytest.approx(bitrate, rel=0.03)


def test_timestamps_follow_the_frames_moments() -> None:
    assert [timestamp(VIDEO, number) for number in range(4)] == [0, 33, 66, 100]
    assert [timestamp(AUDIO, number) for number in range(4)] == [0, 23, 46, 69]


def test_the_last_stamp_within_other_bytes_is_found() -> None:
    data = b"moof" + stamped(VIDEO, 7, 70) + b"...." + stamped(VIDEO, 8, 80) + b"tail"
    found = last_stamp(data)
    assert found is not None
    assert (found.number, found.sent_ns) == (8, 80)
    assert last_stamp(b"nothing here") is None


def test_a_server_reads_the_stream_as_h264_and_aac() -> None:
    reader = TagReader()
    track = reader.read(VIDEO, 0, VIDEO_HEADER)
    assert isinstance(track, Track)
    assert track.codec is Codec.H264
    video = parameters(track)
    assert isinstance(video, VideoParameters)
    assert (video.width, video.height, video.frame_rate) == (1280, 720, 30.0)
    packet = reader.read(VIDEO, 0, stamped(VIDEO, 0, 1))
    assert isinstance(packet, Packet)
    assert packet.keyframe
    payload = packet.payload
    first = int.from_bytes(payload[:4], "big")
    assert payload[4] == 6  # SEI
    assert len(payload) == 4 + first + 4 + int.from_bytes(payload[4 + first : 8 + first], "big")
    assert payload[8 + first] & 31 == 5  # IDR slice


def test_the_opening_messages_are_whole() -> None:
    reader = ChunkReader(SessionLimits())
    reader.receive(set_chunk_size(CHUNK_SIZE))
    assert [message[0] for message in reader.receive(opening_messages(2_500_000))] == [18, VIDEO, AUDIO]


def test_a_publisher_announces_its_chunks_once() -> None:
    """Smaller ones than before, told with a picture behind, are too much for nginx-rtmp."""
    dialogue, server = RtmpDialogue("live", "show", 1935, publish=True), ServerSession(SessionLimits())
    said, answers = dialogue.opening(), b"-"
    announced = 0
    while answers and not dialogue.established:
        for event in server.receive_data(said):
            if isinstance(event, ConnectRequested):
                server.accept_connect()
            elif isinstance(event, PublishRequested):
                server.accept_publish(event)
        answers = server.data_to_send()
        said = in_our_chunks(dialogue.receive(answers))
        announced += said.count(set_chunk_size(CHUNK_SIZE))
        assert set_chunk_size(SESSION_CHUNK_SIZE) not in said
    assert dialogue.established
    assert announced == 1


def test_a_message_is_cut_into_chunks() -> None:
    body = bytes(range(256)) * 40
    wire = chunked(VIDEO, 33, body, absolute=False)
    assert wire[:8] == b"\x46\x00\x00\x21\x00\x28\x00\x09"
    assert wire[8 + CHUNK_SIZE] == 0xC6
    assert len(wire) == 8 + len(body) + 2
