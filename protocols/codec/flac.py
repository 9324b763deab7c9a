"""FLAC: the STREAMINFO block (RFC 9639, 8.2) and the dfLa box (Encapsulation of FLAC in ISO BMFF, 3.3.2)."""

from protocols.codec.bits import BitReader
from protocols.codec.description import AudioParameters
from protocols.errors import RemoteProtocolError

_MAGIC = b"fLaC"
_STREAMINFO = 34
_LAST_STREAMINFO_HEADER = b"\x80\0\0\x22"


def parameters(config: bytes) -> AudioParameters:
    """What a STREAMINFO block says. RemoteProtocolError if it is malformed."""
    bits = BitReader(stream_info(config))
    shortest, longest = bits.read(16), bits.read(16)
    bits.skip(48)  # frame sizes
    sample_rate, channels = bits.read(20), bits.read(3) + 1
    if not sample_rate:
        raise RemoteProtocolError("a STREAMINFO block without a sample rate")
    return AudioParameters(sample_rate, channels, "fLaC", longest if shortest == longest else 0)


def stream_info(config: bytes) -> bytes:
    """The 34 bytes of a STREAMINFO block, which may come bare, behind its block header, or behind ``fLaC`` as well."""
    block = config[4:] if config.startswith(_MAGIC) else config
    if len(block) != _STREAMINFO and block[:1] in {b"\0", b"\x80"} and block[1:4] == _LAST_STREAMINFO_HEADER[1:]:
        block = block[4:]
    if len(block) < _STREAMINFO:
        raise RemoteProtocolError("a STREAMINFO block that ends early")
    return block[:_STREAMINFO]


def specific_box(config: bytes) -> bytes:
    """The content of a dfLa box behind its version and flags: STREAMINFO as the last metadata block."""
    return _LAST_STREAMINFO_HEADER + stream_info(config)
