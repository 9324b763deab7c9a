"""Codecs as containers see them: decoder configuration records, their RFC 6381 names, and the little of a packet that a
server must read. Nothing here decodes.
"""

from collections.abc import Callable

from protocols.codec import aac, avc
from protocols.codec.description import AudioParameters, Colour, VideoParameters
from protocols.errors import LimitExceeded, RemoteProtocolError
from protocols.media import Codec, Track

__all__ = ["AudioParameters", "Colour", "VideoParameters", "parameters"]

MAX_CONFIG = 1 << 16
"""Bytes of decoder configuration that we are willing to repeat in every init segment. Real ones have under 1 kB."""

_READERS: dict[Codec, Callable[[bytes], VideoParameters | AudioParameters]] = {
    Codec.H264: avc.parameters,
    Codec.AAC: aac.parameters,
}


def parameters(track: Track) -> VideoParameters | AudioParameters:
    """What ``track.config`` says. RemoteProtocolError if it is malformed or the codec has no ISO BMFF form."""
    reader = _READERS.get(track.codec)
    if reader is None:
        raise RemoteProtocolError(f"{track.codec.value} has no ISO BMFF form")
    if len(track.config) > MAX_CONFIG:
        raise LimitExceeded(f"a decoder configuration of {len(track.config)} bytes")
    return reader(track.config)
