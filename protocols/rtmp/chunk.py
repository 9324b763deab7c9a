"""Messages to chunks (RTMP 1.0, section 5.3); ``chunk_reader`` is the way back."""

import struct

from protocols.rtmp.message import AUDIO, DATA, VIDEO

DEFAULT_CHUNK_SIZE = 128
LARGEST_CHUNK_SIZE = 0xFFFFFF
CONTROL_CSID = 2
COMMAND_CSID = 3
#: In the place of a timestamp: it has 32 bits and stands behind the header.
EXTENDED = 0xFFFFFF

#: The chunk streams on which each kind of message leaves.
CSIDS = {AUDIO: 4, DATA: 5, VIDEO: 6}

# Looked up for every packet that is sent: the first word of a header by its message type, and the usual message stream.
_STARTS = [CSIDS.get(type_id, COMMAND_CSID if type_id > 6 else CONTROL_CSID) << 24 for type_id in range(256)]
_FIRST_STREAM = (1).to_bytes(4, "little")
_pack_header = struct.Struct(">II4s").pack


def media_chunk_header(type_id: int, timestamp: int, length: int, stream_id: int = 1) -> bytes:
    """The chunk header (type 0, absolute) in front of a message: 12 bytes, or 16 with an extended timestamp."""
    mark = _FIRST_STREAM if stream_id == 1 else stream_id.to_bytes(4, "little")
    if timestamp < EXTENDED:
        return _pack_header(_STARTS[type_id] | timestamp, length << 8 | type_id, mark)
    return _pack_header(_STARTS[type_id] | EXTENDED, length << 8 | type_id, mark) + timestamp.to_bytes(4, "big")


def split_message(type_id: int, timestamp: int, body: bytes, chunk_size: int, stream_id: int = 1) -> list[bytes]:
    """A message as the byte strings that its chunks are made of: header, payload, header, payload …"""
    header = media_chunk_header(type_id, timestamp, len(body), stream_id)
    if len(body) <= chunk_size:
        return [header, body]
    follower = bytes((header[0] | 0xC0,)) + header[12:]  # repeats the extended timestamp, if there is one
    pieces = [header, body[:chunk_size]]
    for position in range(chunk_size, len(body), chunk_size):
        pieces += (follower, body[position : position + chunk_size])
    return pieces
