"""What crosses the socket between the server and a worker: frames of a 4-byte length, a kind and a payload. Pure."""

import enum
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from protocols.errors import RemoteProtocolError
from protocols.media import Codec, MediaKind, Packet, Track

#: The longest frame, in bytes: a picture, or a still image.
LONGEST_FRAME = 64 << 20

_HEAD = struct.Struct(">IB")
_PACKET = struct.Struct(">BBBBqi")
_TRACK = struct.Struct(">BBI")
_KEYFRAME, _DISCONTINUITY = 1, 2


class _Kind(enum.IntEnum):
    PACKET = 1
    TRACK = 2
    NOTE = 3
    BLOB = 4


@dataclass(frozen=True, slots=True)
class PacketFrame:
    """One access unit; ``lane`` says of which rendition (0 to 255)."""

    lane: int
    packet: Packet


@dataclass(frozen=True, slots=True)
class TrackFrame:
    """The parameters of a track; ``lane`` likewise."""

    lane: int
    track: Track


@dataclass(frozen=True, slots=True)
class Note:
    """An order to a worker, or its report, as a JSON object."""

    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that answer an order (an image, say); ``number`` says which."""

    number: int
    data: bytes


Frame = PacketFrame | TrackFrame | Note | Blob


def encode(frame: Frame) -> bytes:
    """``frame`` as bytes."""
    match frame:
        case PacketFrame(lane, packet):
            flags = _KEYFRAME * packet.keyframe | _DISCONTINUITY * packet.discontinuity
            video = packet.kind is MediaKind.VIDEO
            head = _PACKET.pack(lane, video, flags, packet.offset, packet.dts, packet.cts)
            return b"".join((_HEAD.pack(len(head) + len(packet.body), _Kind.PACKET), head, packet.body))
        case TrackFrame(lane, track):
            codec = track.codec.value.encode()
            payload = b"".join((_TRACK.pack(lane, len(codec), len(track.config)), codec, track.config, track.body))
            return _HEAD.pack(len(payload), _Kind.TRACK) + payload
        case Note(values):
            payload = json.dumps(dict(values)).encode()
            return _HEAD.pack(len(payload), _Kind.NOTE) + payload
        case Blob(number, data):
            return b"".join((_HEAD.pack(len(data) + 4, _Kind.BLOB), number.to_bytes(4), data))


class FrameReader:
    """A byte stream in pieces of any size, to frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, data: bytes) -> list[Frame]:
        """Every frame that became complete. Raises RemoteProtocolError for what no worker sends."""
        buffer = self._buffer
        buffer += data
        frames = []
        position, size = 0, len(buffer)
        while size - position >= _HEAD.size:
            length, kind = _HEAD.unpack_from(buffer, position)
            if length > LONGEST_FRAME:
                raise RemoteProtocolError(f"frame of {length} bytes")
            end = position + _HEAD.size + length
            if end > size:
                break
            frames.append(_decode(kind, bytes(buffer[position + _HEAD.size : end])))
            position = end
        del buffer[:position]
        return frames


def _decode(kind: int, payload: bytes) -> Frame:
    try:
        match kind:
            case _Kind.PACKET:
                lane, video, flags, offset, dts, cts = _PACKET.unpack_from(payload)
                packet = Packet(
                    MediaKind.VIDEO if video else MediaKind.AUDIO,
                    dts,
                    bool(flags & _KEYFRAME),
                    payload[_PACKET.size :],
                    offset,
                    cts,
                    bool(flags & _DISCONTINUITY),
                )
                return PacketFrame(lane, packet)
            case _Kind.TRACK:
                lane, name, config = _TRACK.unpack_from(payload)
                start = _TRACK.size + name
                codec = Codec(payload[_TRACK.size : start].decode())
                return TrackFrame(lane, Track(codec, payload[start : start + config], payload[start + config :]))
            case _Kind.NOTE:
                return Note(json.loads(payload))
            case _Kind.BLOB:
                return Blob(int.from_bytes(payload[:4]), payload[4:])
    except (struct.error, ValueError) as error:
        raise RemoteProtocolError(f"malformed frame: {error}") from None
    raise RemoteProtocolError(f"frame of kind {kind}")
