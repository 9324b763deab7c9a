"""Chunks, byte for byte."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import LimitExceeded, RemoteProtocolError
from protocols.rtmp.chunk import media_chunk_header, split_message
from protocols.rtmp.chunk_reader import ChunkReader
from protocols.rtmp.events import MediaReceived
from protocols.rtmp.limits import SessionLimits
from protocols.rtmp.message import Message

LIMITS = SessionLimits()


def reader(chunk_size: int | None = None, limits: SessionLimits = LIMITS, media_stream: int | None = 1) -> ChunkReader:
    made = ChunkReader(limits)
    made.media_stream = media_stream
    if chunk_size is not None:
        assert made.receive(set_chunk_size(chunk_size)) == []
    return made


def set_chunk_size(size: int) -> bytes:
    return b"\x02\0\0\0\0\0\x04\x01\0\0\0\0" + size.to_bytes(4, "big")


def abort(csid: int) -> bytes:
    return b"\x02\0\0\0\0\0\x04\x02\0\0\0\0" + csid.to_bytes(4, "big")


def type0(csid: int, timestamp: int, length: int, type_id: int = 9, stream_id: int = 1) -> bytes:
    return (
        bytes([csid])
        + timestamp.to_bytes(3, "big")
        + length.to_bytes(3, "big")
        + bytes([type_id])
        + stream_id.to_bytes(4, "little")
    )


def type1(csid: int, delta: int, length: int, type_id: int = 9) -> bytes:
    return bytes([0x40 | csid]) + delta.to_bytes(3, "big") + length.to_bytes(3, "big") + bytes([type_id])


def type2(csid: int, delta: int) -> bytes:
    return bytes([0x80 | csid]) + delta.to_bytes(3, "big")


def video(timestamp: int, body: bytes, stream_id: int = 1) -> MediaReceived:
    return MediaReceived(9, stream_id, timestamp, body)


def everywhere(data: bytes, chunk_size: int | None = None, media_stream: int | None = 1) -> list[MediaReceived | Message]:
    """What ``data`` means, which must be the same whole, in two pieces cut anywhere, and byte by byte."""
    whole = reader(chunk_size, media_stream=media_stream).receive(data)
    for cut in range(len(data) + 1):
        pieces = reader(chunk_size, media_stream=media_stream)
        assert pieces.receive(data[:cut]) + pieces.receive(data[cut:]) == whole
    dripped = reader(chunk_size, media_stream=media_stream)
    assert [message for i in range(len(data)) for message in dripped.receive(data[i : i + 1])] == whole
    return whole


def test_all_four_types():
    data = type0(6, 1000, 3) + b"abc" + type1(6, 40, 2) + b"de" + type2(6, 20) + b"fg" + b"\xc6" + b"hi"
    assert everywhere(data) == [video(1000, b"abc"), video(1040, b"de"), video(1060, b"fg"), video(1080, b"hi")]


def test_type_3_behind_type_0_adds_its_timestamp():
    assert everywhere(type0(6, 5, 1) + b"a" + b"\xc6b") == [video(5, b"a"), video(10, b"b")]


def test_default_chunk_size_is_128():
    body = bytes(range(200)) + bytes(100)
    data = type0(6, 0, 300) + body[:128] + b"\xc6" + body[128:256] + b"\xc6" + body[256:]
    assert everywhere(data) == [video(0, body)]


def test_message_of_exactly_one_and_two_chunks():
    data = type0(6, 0, 4) + b"abcd" + type0(6, 1, 8) + b"abcd\xc6efgh" + type1(6, 1, 1) + b"x"
    assert everywhere(data, 4) == [video(0, b"abcd"), video(1, b"abcdefgh"), video(2, b"x")]


def test_interleaved_messages():
    first, second = b"A" * 10, b"v" * 9
    data = (
        type0(6, 0, 9)
        + second[:4]
        + type0(4, 7, 10, 8)
        + first[:4]
        + b"\xc6"
        + second[4:8]
        + b"\xc4"
        + first[4:8]
        + b"\xc6"
        + second[8:]
        + b"\xc4"
        + first[8:]
    )
    assert everywhere(data, 4) == [video(0, second), MediaReceived(8, 1, 7, first)]


def test_follower_bytes_inside_a_body_are_payload():
    body = b"\xc6" * 50
    data = b"".join(split_message(9, 3, body, 4))
    assert everywhere(data + type1(6, 2, 50) + data[12:], 4) == [video(3, body), video(5, body)]


def test_a_message_interrupted_by_control_messages():
    data = type0(6, 0, 12) + b"abcd\xc6efgh" + type0(2, 0, 4, 3, 0) + b"\0\0\0\5" + b"\xc6ijkl"
    assert everywhere(data, 4) == [Message(3, 0, 0, b"\0\0\0\5"), video(0, b"abcdefghijkl")]


def test_whole_multi_chunk_messages_with_an_interruption_in_sight():
    first = type1(6, 1, 12) + b"abcd\xc6efgh" + type1(4, 1, 1, 8) + b"!" + b"\xc6ijkl"
    data = type0(6, 0, 1) + b"x" + type0(4, 0, 1, 8) + b"y" + first
    assert everywhere(data, 4) == [
        video(0, b"x"),
        MediaReceived(8, 1, 0, b"y"),
        MediaReceived(8, 1, 1, b"!"),
        video(1, b"abcdefghijkl"),
    ]


@pytest.mark.parametrize(
    ("csid", "header"),
    [
        (63, b"\x3f"),
        (64, b"\x00\x00"),
        (319, b"\x00\xff"),
        (64, b"\x01\x00\x00"),
        (320, b"\x01\x00\x01"),
        (65599, b"\x01\xff\xff"),
    ],
)
def test_chunk_stream_ids_of_one_two_and_three_bytes(csid, header):
    rest = type0(0, 9, 300)[1:]
    follower = bytes([0xC0 | header[0]]) + header[1:]
    body = b"z" * 300
    data = header + rest + body[:128] + follower + body[128:256] + follower + body[256:] + abort(csid)
    assert everywhere(data) == [video(9, body)]


def test_two_and_three_byte_forms_name_the_same_chunk_stream():
    assert everywhere(b"\x00\x00" + type0(0, 9, 1)[1:] + b"a" + b"\xc1\x00\x00b") == [video(9, b"a"), video(18, b"b")]


STAMP = 0x01020304


@pytest.mark.parametrize("repeated", [STAMP.to_bytes(4, "big"), b""], ids=["repeated", "left out"])
def test_extended_timestamp_in_both_dialects(repeated):
    body = b"m" * 10
    header = type0(6, 0xFFFFFF, 10) + STAMP.to_bytes(4, "big")
    data = header + body[:4] + b"\xc6" + repeated + body[4:8] + b"\xc6" + repeated + body[8:] + type1(6, 33, 1) + b"n"
    assert everywhere(data, 4) == [video(STAMP, body), video(STAMP + 33, b"n")]


@pytest.mark.parametrize(
    "repeated",
    [b"\x01\x00\x00\x00", b"", (0x01000000 + 7).to_bytes(4, "big")],
    ids=["delta repeated", "left out", "absolute repeated"],
)
@pytest.mark.parametrize("chunk_type", [1, 2])
def test_extended_timestamp_as_a_delta(repeated, chunk_type):
    header = (type1(6, 0xFFFFFF, 6) if chunk_type == 1 else type2(6, 0xFFFFFF)) + b"\x01\x00\x00\x00"
    data = type0(6, 7, 6) + b"abcd\xc6ef" + header + b"ghij\xc6" + repeated + b"kl"
    assert everywhere(data, 4) == [video(7, b"abcdef"), video(0x01000007, b"ghijkl")]


def test_extended_timestamp_in_a_type_3_chunk_that_begins_a_message():
    data = type0(6, 0xFFFFFF, 1) + b"\x01\0\0\0" + b"a" + b"\xc6" + b"\x01\0\0\0" + b"b"
    assert everywhere(data) == [video(0x01000000, b"a"), video(0x02000000, b"b")]


def test_timestamps_wrap_at_32_bits():
    data = type0(6, 0xFFFFFF, 1) + b"\xff\xff\xff\xff" + b"a" + type1(6, 40, 1) + b"b"
    assert everywhere(data) == [video(0xFFFFFFFF, b"a"), video(39, b"b")]


def test_chunk_size_changes_between_and_within_messages():
    data = (
        type0(6, 0, 4)
        + b"ab"
        + b"".join(split_message(1, 0, b"\0\0\0\3", 2, 0))
        + b"\xc6cd"
        + type0(6, 1, 4)
        + b"efg\xc6h"
        + b"".join(split_message(1, 0, b"\x7f\xff\xff\xff", 3, 0))
        + type0(6, 2, 4)
        + b"ijkl"
    )
    assert everywhere(data, 2) == [video(0, b"abcd"), video(1, b"efgh"), video(2, b"ijkl")]


def test_chunk_size_1():
    data = b"".join(split_message(9, 0, b"abcdefgh", 1)) + type1(6, 1, 3) + b"a\xc6b\xc6c"
    assert everywhere(data, 1) == [video(0, b"abcdefgh"), video(1, b"abc")]


@pytest.mark.parametrize("size", [0, 0x80000000, 0xFFFFFFFF])
def test_impossible_chunk_sizes(size):
    with pytest.raises(RemoteProtocolError, match="chunk size"):
        reader(size)


def test_abort_drops_what_is_unfinished():
    data = type0(6, 0, 9) + b"abcd" + abort(6) + b"\xc6efgh\xc6ijkl\xc6m" + abort(6) + abort(40)
    assert everywhere(data, 4) == [video(0, b"efghijklm")]


def test_abort_gives_back_what_was_held():
    bounded = reader(4)
    bounded.reassembly_limit = 10
    for _ in range(10):
        bounded.receive(type0(6, 0, 9) + b"abcd" + abort(6))
    bounded.receive(type0(6, 0, 9) + b"abcd" + type0(4, 0, 9) + b"abcd")
    with pytest.raises(LimitExceeded, match="10 bytes"):
        bounded.receive(b"\xc6efgh")


def test_finished_messages_give_back_what_they_held():
    bounded = reader(4)
    bounded.reassembly_limit = 12
    for _ in range(10):
        for value in type0(6, 0, 9) + b"abcd\xc6efgh\xc6i":
            bounded.receive(bytes([value]))


@pytest.mark.parametrize("body", [b"", b"\0\0\0"])
@pytest.mark.parametrize("type_id", [1, 2])
def test_short_control_messages(type_id, body):
    with pytest.raises(RemoteProtocolError, match="4 are needed"):
        reader().receive(type0(2, 0, len(body), type_id, 0) + body)


@pytest.mark.parametrize("data", [type1(6, 0, 1), type2(6, 0), type2(2, 0), b"\xc6", b"\xc2", b"\xc0\x05"])
def test_headers_that_take_over_from_nothing(data):
    with pytest.raises(RemoteProtocolError, match="begins with a chunk of type"):
        reader().receive(data)


def test_librtmp_begins_its_control_chunk_stream_with_type_1():
    assert everywhere(type1(2, 0, 4, 3) + b"\0\1\2\3") == [Message(3, 0, 0, b"\0\1\2\3")]


@pytest.mark.parametrize("header", [type0(6, 0, 3), type1(6, 0, 3), type2(6, 0)])
def test_a_new_header_inside_a_message(header):
    with pytest.raises(RemoteProtocolError, match="inside a message"):
        reader(2).receive(type0(6, 0, 3) + b"ab" + header)


def test_empty_media_is_dropped():
    assert everywhere(type0(6, 0, 0) + type0(6, 0, 1) + b"x" + type1(6, 3, 0) + type1(6, 3, 1) + b"y") == [
        video(0, b"x"),
        video(6, b"y"),
    ]


def test_an_empty_message_may_be_repeated_by_a_chunk_of_type_3():
    data = type0(4, 100, 1, 8) + b"a" + type1(4, 20, 0, 8) + b"\xc4\xc4" + type1(4, 20, 1, 8) + b"b"
    assert everywhere(data) == [MediaReceived(8, 1, 100, b"a"), MediaReceived(8, 1, 180, b"b")]


TINY = {
    "interleaved chunks": type0(6, 0, 9000) + b"v" + type0(4, 0, 9000, 8) + b"a" + b"\xc6v\xc4a" * 8000,
    "chunks with two-byte headers": b"\0\0" + type0(6, 0, 9000)[1:] + b"v" + b"\xc0\0v" * 8000,
    "chunks with extended timestamps": type0(6, 0xFFFFFF, 9000) + b"\1\0\0\0v" + b"\xc6\1\0\0\0v" * 8000,
    "repeated empty messages": type0(4, 0, 0, 8) + b"\xc4" * 8000,
    "repeated messages of a byte": type0(4, 0, 1, 8) + b"a" + b"\xc4a" * 8000,
    "control messages": type0(2, 0, 1, 4, 0) + b"\0" + b"\xc2\0" * 8000,
}


@pytest.mark.parametrize("data", TINY.values(), ids=TINY)
def test_a_read_of_too_many_tiny_things(data):
    made = reader(1)
    for position in range(0, 8000, 1000):
        made.receive(data[position : position + 1000])
    with pytest.raises(LimitExceeded, match="too small"):
        reader(1).receive(data)


def test_chunks_of_a_byte_in_one_go_are_no_such_thing():
    body = bytes(9000)
    assert reader(1).receive(b"".join(split_message(9, 0, body, 1))) == [video(0, body)]


def test_other_messages_and_other_streams_clear_only_media():
    made = reader()
    assert made.receive(type0(6, 0, 1) + b"a") == [video(0, b"a")]
    assert made.only_media
    assert made.receive(type0(6, 0, 1, stream_id=2) + b"a") == [video(0, b"a", 2)]
    assert not made.only_media
    assert made.receive(type1(6, 5, 1) + b"b") == [video(5, b"b", 2)]
    assert not made.only_media
    assert made.receive(type0(6, 0, 1) + b"a") == [video(0, b"a")]
    assert made.only_media
    assert made.receive(type0(3, 0, 1, 20) + b"a") == [Message(20, 1, 0, b"a")]
    assert not made.only_media
    assert made.media_stream == 1


def test_nobody_publishes():
    made = reader(media_stream=None)
    assert made.media_stream is None
    assert made.receive(type0(6, 0, 1) + b"a") == [video(0, b"a")]
    assert not made.only_media


@pytest.mark.parametrize(
    ("type_id", "limit"),
    [(9, LIMITS.message), (8, LIMITS.message), (22, LIMITS.message), (18, LIMITS.data), (20, LIMITS.command)],
)
def test_lengths_beyond_the_limit_of_the_type(type_id, limit):
    reader().receive(type0(6, 0, limit, type_id))
    with pytest.raises(LimitExceeded, match=f"{limit} are allowed"):
        reader().receive(type0(6, 0, limit + 1, type_id))


def test_too_many_chunk_streams():
    made = reader()
    for csid in range(3, 3 + LIMITS.chunk_streams):
        made.receive(bytes([0, csid]) + type0(0, 0, 1)[1:] + b"x")
    with pytest.raises(LimitExceeded, match="chunk streams"):
        made.receive(bytes([0, 100]) + type0(0, 0, 1)[1:] + b"x")


def test_promised_bytes_cost_nothing_until_they_come():
    limits = SessionLimits(message=16 << 20)
    made = reader(limits=limits)
    for csid in range(3, 60):
        made.receive(type0(csid, 0, 16 << 20 - 1) + b"x" * 128)


def test_a_large_message_in_small_reads_and_chunks():
    body = bytes(range(256)) * 2400
    data = b"".join(split_message(9, 5, body, 4096)) + type1(6, 1, 1) + b"!"
    made = reader(4096)
    messages = [message for i in range(0, len(data), 1448) for message in made.receive(data[i : i + 1448])]
    assert messages == [video(5, body), video(6, b"!")]


@pytest.mark.parametrize("chunk_size", [1, 4, 128, 60000])
@pytest.mark.parametrize("length", [0, 1, 127, 128, 129, 256, 1000])
@pytest.mark.parametrize("timestamp", [0, 0xFFFFFE, 0xFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("type_id", [8, 9, 18, 20, 4])
def test_split_and_read_again(chunk_size, length, timestamp, type_id):
    body = bytes(i % 255 for i in range(length))
    data = b"".join(split_message(type_id, timestamp, body, chunk_size, 1))
    kind = MediaReceived if type_id in (8, 9) else Message
    expected = [] if kind is MediaReceived and not body else [kind(type_id, 1, timestamp, body)]
    made = reader(chunk_size)
    assert made.receive(data) + made.receive(data) == expected * 2


def test_media_chunk_headers():
    assert media_chunk_header(9, 0x010203, 0x0A0B0C) == bytes.fromhex("06 010203 0a0b0c 09 01000000")
    assert media_chunk_header(8, 0, 1, 2) == bytes.fromhex("04 000000 000001 08 02000000")
    assert media_chunk_header(18, 0xFFFFFF, 1) == bytes.fromhex("05 ffffff 000001 12 01000000 00ffffff")
    assert media_chunk_header(20, 0, 1, 0) == bytes.fromhex("03 000000 000001 14 00000000")
    assert media_chunk_header(1, 0, 4, 0) == bytes.fromhex("02 000000 000004 01 00000000")


def test_split_repeats_extended_timestamps():
    assert split_message(9, 0x01000000, b"abcde", 2) == [
        bytes.fromhex("06 ffffff 000005 09 01000000 01000000"),
        b"ab",
        bytes.fromhex("c6 01000000"),
        b"cd",
        bytes.fromhex("c6 01000000"),
        b"e",
    ]


@given(
    st.lists(st.tuples(st.sampled_from([8, 9, 18]), st.integers(0, 0xFFFFFFFF), st.binary(min_size=1, max_size=300)), max_size=6),
    st.sampled_from([1, 7, 128, 4096]),
    st.lists(st.integers(0, 5000), max_size=6),
)
def test_any_messages_come_back_however_they_are_cut(messages, chunk_size, cuts):
    data = b"".join(piece for each in messages for piece in split_message(*each, chunk_size))
    made = reader(chunk_size)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    read = [message for a, b in pairwise(edges) for message in made.receive(data[a:b])]
    assert [(m.type_id, m.timestamp, m.body) for m in read] == messages


@given(st.lists(st.binary(max_size=80), max_size=8), st.sampled_from([1, 2, 128]))
def test_any_bytes_give_messages_or_a_remote_error(pieces, chunk_size):
    made = reader(chunk_size)
    try:
        for piece in [type0(6, 0, 3) + b"ab", *pieces]:
            made.receive(piece)
    except RemoteProtocolError:
        pass
