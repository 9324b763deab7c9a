"""MPEG-1 and MPEG-2 Layer III: a frame's header (ISO/IEC 11172-3, 2.4.1.3; 13818-3), which stands for a decoder configuration."""

from protocols.codec.bits import BitReader
from protocols.codec.description import AudioParameters
from protocols.errors import RemoteProtocolError

OTI_MPEG1, OTI_MPEG2 = 0x6B, 0x69

_MPEG1, _MPEG2 = 3, 2
_LAYER_3 = 1
_MONO = 3
_FREQUENCIES = (44100, 48000, 32000)
# Bits of a header: sync word, version, layer and rate; and the channel mode, all ones for mono.
_TELLING, _CHANNEL_MODE = 0xFFFE0C00, 0xC0


def parameters(config: bytes) -> AudioParameters:
    """What a frame header says; unknown rate and channels while ``config`` is empty. RemoteProtocolError if malformed."""
    if not config:
        return AudioParameters(0, 0, f"mp4a.{OTI_MPEG1:X}")
    bits = BitReader(config)
    sync, version, layer = bits.read(11), bits.read(2), bits.read(2)
    bits.skip(5)  # protection, bit rate
    frequency = bits.read(2)
    bits.skip(2)
    mode = bits.read(2)
    if sync != 0x7FF or version == 1 or layer != _LAYER_3 or frequency == 3:
        raise RemoteProtocolError("not an MPEG audio layer III frame header")
    sample_rate = _FREQUENCIES[frequency] >> (0 if version == _MPEG1 else 1 if version == _MPEG2 else 2)
    return AudioParameters(
        sample_rate=sample_rate,
        channels=1 if mode == _MONO else 2,
        rfc6381=f"mp4a.{object_type_indication(config):X}",
        samples_per_packet=1152 if version == _MPEG1 else 576,
    )


def object_type_indication(config: bytes) -> int:
    """Which of MPEG's two standards the header follows (14496-1, Table 5)."""
    return OTI_MPEG1 if config[1] >> 3 & 3 == _MPEG1 else OTI_MPEG2


def differs(config: bytes, frame: bytes) -> bool:
    """Whether ``frame`` has another version, rate or number of channels. Bit rate and kind of stereo are each frame's own."""
    one, other = int.from_bytes(config[:4], "big"), int.from_bytes(frame[:4], "big")
    return (one ^ other) & _TELLING != 0 or (one & _CHANNEL_MODE == _CHANNEL_MODE) != (other & _CHANNEL_MODE == _CHANNEL_MODE)


def complete_record(frame: bytes) -> bytes:
    """A frame's header. RemoteProtocolError if it is not one."""
    header = frame[:4]
    if len(header) < 4:
        raise RemoteProtocolError("an MP3 frame that ends in its header")
    parameters(header)
    return header
