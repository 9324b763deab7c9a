"""RTMP messages: their type ids, and the protocol control messages as bodies (RTMP 1.0, sections 5.4, 6.2, 7.1)."""

import enum
from collections.abc import Iterator
from typing import NamedTuple

from protocols.errors import RemoteProtocolError

AUDIO = 8
VIDEO = 9
DATA_AMF3 = 15
SHARED_OBJECT_AMF3 = 16
COMMAND_AMF3 = 17
DATA = 18
SHARED_OBJECT = 19
COMMAND = 20
AGGREGATE = 22

#: What the body of a data message begins with that sets a publication's metadata: AMF0 strings.
SET_DATA_FRAME = b"\x02\x00\x0d@setDataFrame"
ON_METADATA = b"\x02\x00\x0aonMetaData"
METADATA_MARKS = (SET_DATA_FRAME, ON_METADATA)


class Control(enum.IntEnum):
    """Protocol control messages; they travel on message stream 0."""

    SET_CHUNK_SIZE = 1
    ABORT = 2
    ACKNOWLEDGEMENT = 3
    USER_CONTROL = 4
    WINDOW_ACKNOWLEDGEMENT_SIZE = 5
    SET_PEER_BANDWIDTH = 6


class UserControl(enum.IntEnum):
    """Events inside a user control message (section 7.1.7)."""

    STREAM_BEGIN = 0
    STREAM_EOF = 1
    SET_BUFFER_LENGTH = 3
    PING_REQUEST = 6
    PING_RESPONSE = 7


class Message(NamedTuple):
    """A whole message that is not plain audio or video."""

    type_id: int
    stream_id: int
    timestamp: int
    body: bytes


def uint32(value: int) -> bytes:
    """The body of most control messages."""
    return value.to_bytes(4, "big")


def read_uint32(body: bytes) -> int:
    """The number in a control message. Bytes behind it are tolerated, missing ones are not."""
    if len(body) < 4:
        raise RemoteProtocolError(f"control message of {len(body)} bytes, 4 are needed")
    return int.from_bytes(body[:4], "big")


def user_control(event: UserControl, value: int) -> bytes:
    """The body of a user control message that carries one 32-bit number."""
    return event.to_bytes(2, "big") + value.to_bytes(4, "big")


def split_aggregate(message: Message) -> Iterator[tuple[int, int, bytes]]:
    """Type id, timestamp and body of each FLV tag in an aggregate message (section 7.1.6).

    The first tag takes the aggregate's own timestamp, the others keep their distance from it.
    """
    body, position = message.body, 0
    shift: int | None = None
    while position < len(body):
        header = body[position : position + 11]
        start = position + 11
        end = start + int.from_bytes(header[1:4], "big")
        if len(header) < 11 or end > len(body):
            raise RemoteProtocolError("aggregate message ends inside a tag")
        timestamp = int.from_bytes(header[4:7], "big") | header[7] << 24
        if shift is None:
            shift = message.timestamp - timestamp
        yield header[0] & 0x1F, (timestamp + shift) & 0xFFFFFFFF, body[start:end]
        position = end + 4  # the back pointer says the tag's length once more
