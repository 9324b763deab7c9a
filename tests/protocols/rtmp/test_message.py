"""Control messages and aggregates."""

import pytest

from protocols.errors import RemoteProtocolError
from protocols.rtmp.message import Message, UserControl, read_uint32, split_aggregate, uint32, user_control


def tag(type_id: int, timestamp: int, body: bytes) -> bytes:
    stamp = (timestamp & 0xFFFFFF).to_bytes(3, "big") + bytes([timestamp >> 24])
    return bytes([type_id]) + len(body).to_bytes(3, "big") + stamp + b"\0\0\0" + body + (11 + len(body)).to_bytes(4, "big")


def test_numbers():
    assert uint32(0x01020304) == b"\1\2\3\4"
    assert read_uint32(b"\1\2\3\4\5") == 0x01020304
    assert user_control(UserControl.PING_REQUEST, 5) == b"\0\6\0\0\0\5"
    with pytest.raises(RemoteProtocolError):
        read_uint32(b"\1\2\3")


def test_aggregate_keeps_distances_from_its_own_timestamp():
    body = tag(8, 0x01000000, b"a") + tag(9, 0x01000014, b"vv") + tag(18, 0x01000028, b"")
    assert list(split_aggregate(Message(22, 1, 1000, body))) == [(8, 1000, b"a"), (9, 1020, b"vv"), (18, 1040, b"")]


def test_aggregate_without_its_last_back_pointer():
    assert list(split_aggregate(Message(22, 1, 0, tag(9, 7, b"v")[:-4]))) == [(9, 0, b"v")]


def test_empty_aggregate():
    assert list(split_aggregate(Message(22, 1, 0, b""))) == []


@pytest.mark.parametrize("kept", [*range(1, 14), 17, 20, 29])
def test_aggregate_cut_anywhere_inside_a_tag(kept):
    body = tag(9, 0, b"vv!")[:14] if kept < 14 else tag(9, 0, b"") + tag(9, 0, b"abcdefgh")
    with pytest.raises(RemoteProtocolError, match="aggregate"):
        list(split_aggregate(Message(22, 1, 0, body[:kept])))
