"""Opus: the OpusHead packet (RFC 7845, 5.1), the dOps box (Opus in ISO BMFF, 4.3.2), a packet's length (RFC 6716, 3.1)."""

import struct

from protocols.codec.bits import BitReader
from protocols.codec.description import AudioParameters
from protocols.errors import RemoteProtocolError

SAMPLE_RATE = 48000
"""Every Opus decoder's clock, whatever was encoded."""

_MAGIC = b"OpusHead"
_MAX_PACKET = 5760  # 120 ms
_SILK = (480, 960, 1920, 2880)
_HYBRID = (480, 960)
_CELT = (120, 240, 480, 960)


def parameters(config: bytes) -> AudioParameters:
    """What an OpusHead packet says. RemoteProtocolError if it is malformed."""
    specific_box(config)
    return AudioParameters(sample_rate=SAMPLE_RATE, channels=config[9], rfc6381="opus")


def specific_box(config: bytes) -> bytes:
    """The content of a dOps box from an OpusHead packet: the same fields, big-endian."""
    bits = BitReader(config)
    if bits.read_bytes(8) != _MAGIC or bits.read(8) >> 4:
        raise RemoteProtocolError("an OpusHead packet without its magic, or of a version beyond 0")
    fixed = bits.read_bytes(10)
    channels, pre_skip, rate, gain, family = struct.unpack("<BHIhB", fixed)
    if not channels or (family == 0 and channels > 2):
        raise RemoteProtocolError(f"Opus with {channels} channels in mapping family {family}")
    mapping = bits.read_bytes(2 + channels) if family else b""
    return struct.pack(">BBHIhB", 0, channels, pre_skip, rate, gain, family) + mapping


def packet_duration(packet: bytes) -> int:
    """Samples at 48 kHz in a packet; 0 if it is malformed."""
    if not packet:
        return 0
    configuration, code = packet[0] >> 3, packet[0] & 3
    if configuration < 12:
        frame = _SILK[configuration & 3]
    elif configuration < 16:
        frame = _HYBRID[configuration & 1]
    else:
        frame = _CELT[configuration & 3]
    counted = packet[1] & 0x3F if len(packet) > 1 else 0
    count = (1, 2, 2, counted)[code]
    return frame * count if frame * count <= _MAX_PACKET else 0
