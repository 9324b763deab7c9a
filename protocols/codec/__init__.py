"""Codecs as containers see them: decoder configuration records, their RFC 6381 names, and the little of a packet that a
server must read. Nothing here decodes.
"""

import dataclasses
from collections.abc import Callable

from protocols.codec import aac, av1, avc, dolby, flac, hevc, mp3, opus, vp9
from protocols.codec.description import AudioParameters, Colour, VideoParameters
from protocols.errors import LimitExceeded, RemoteProtocolError
from protocols.media import Codec, MediaKind, Track

__all__ = [
    "AudioParameters",
    "Colour",
    "VideoParameters",
    "complete",
    "is_keyframe",
    "packet_duration",
    "parameters",
    "sample_data",
]

MAX_CONFIG = 1 << 16
"""Bytes of decoder configuration that we are willing to repeat in every init segment. Real ones have under 1 kB."""

_READERS: dict[Codec, Callable[[bytes], VideoParameters | AudioParameters]] = {
    Codec.H264: avc.parameters,
    Codec.HEVC: hevc.parameters,
    Codec.AV1: av1.parameters,
    Codec.VP9: vp9.parameters,
    Codec.AAC: aac.parameters,
    Codec.OPUS: opus.parameters,
    Codec.FLAC: flac.parameters,
    Codec.AC3: dolby.ac3_parameters,
    Codec.EAC3: dolby.eac3_parameters,
    Codec.MP3: mp3.parameters,
}

_HEADERS: dict[Codec, Callable[[bytes], bytes]] = {
    Codec.AC3: dolby.complete_ac3_record,
    Codec.EAC3: dolby.complete_eac3_record,
    Codec.MP3: mp3.complete_record,
}

#: Whether a packet says something else than the record that one before it gave.
_DIFFERS: dict[Codec, Callable[[bytes, bytes], bool]] = {
    Codec.AC3: dolby.ac3_differs,
    Codec.EAC3: dolby.eac3_differs,
    Codec.MP3: mp3.differs,
}

_KEYFRAMES: dict[Codec, Callable[[bytes], bool]] = {
    Codec.H264: avc.is_keyframe,
    Codec.HEVC: hevc.is_keyframe,
    Codec.AV1: av1.is_keyframe,
    Codec.VP9: vp9.is_keyframe,
}


def parameters(track: Track) -> VideoParameters | AudioParameters:
    """What ``track.config`` says. RemoteProtocolError if it is malformed or the codec has no ISO BMFF form here."""
    reader = _READERS.get(track.codec)
    if reader is None:
        raise RemoteProtocolError(f"{track.codec.value} has no ISO BMFF form here")
    if len(track.config) > MAX_CONFIG:
        raise LimitExceeded(f"a decoder configuration of {len(track.config)} bytes")
    return reader(track.config)


def complete(track: Track, payload: bytes) -> Track:
    """The track with what its record leaves to the packets: the picture size of VP9, AV1's sequence header, and the frame
    header that is all that MP3 and AC-3 have. The same object when ``payload`` adds nothing.

    ``payload`` is any packet of audio, or any keyframe of video: an AV1 or VP9 picture may change its size there, and MP3 and
    AC-3 their rate and channels.
    RemoteProtocolError if it is not a packet of the codec.
    """
    config = track.config
    if track.codec is Codec.AV1:
        config = av1.complete_record(config, payload)
    elif track.codec is Codec.VP9:
        config = vp9.complete_record(config, payload)
    elif track.codec in _HEADERS and (not config or _DIFFERS[track.codec](config, payload)):
        config = _HEADERS[track.codec](payload)
    return track if config == track.config else dataclasses.replace(track, config=config)


def is_keyframe(codec: Codec, payload: bytes) -> bool:
    """Can decoding start at this access unit (4-byte lengths for H.264 and HEVC)? RemoteProtocolError if it is malformed."""
    if codec.kind is MediaKind.AUDIO:
        return True
    reader = _KEYFRAMES.get(codec)
    if reader is None:
        raise RemoteProtocolError(f"{codec.value} does not tell its keyframes here")
    return reader(payload)


def packet_duration(track: Track, payload: bytes) -> int:
    """Samples in an audio packet, in units of the track's timescale; 0 if the packet does not tell.

    RemoteProtocolError if the track's configuration is malformed.
    """
    if track.codec is Codec.OPUS:
        return opus.packet_duration(payload)
    if track.codec is Codec.EAC3:
        return dolby.eac3_packet_duration(payload)
    described = parameters(track)
    return described.samples_per_packet if isinstance(described, AudioParameters) else 0


def sample_data(codec: Codec, payload: bytes) -> bytes:
    """A packet's payload as ISO BMFF stores it. RemoteProtocolError if it is malformed."""
    return av1.strip_temporal_delimiters(payload) if codec is Codec.AV1 else payload
