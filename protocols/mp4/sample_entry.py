"""Sample entries of ``stsd``: which codec, and the decoder configuration it needs."""

import struct
from collections.abc import Callable

from protocols.codec import flac, mp3, opus, vp9
from protocols.codec.description import AudioParameters, VideoParameters
from protocols.errors import RemoteProtocolError
from protocols.media import Codec, Track
from protocols.mp4.boxes import box, full_box

_AUDIO_STREAM = 0x15  # streamType 5, upStream 0, reserved 1
_OTI_AAC = 0x40

_VIDEO: dict[Codec, tuple[bytes, Callable[[bytes], bytes]]] = {
    Codec.H264: (b"avc1", lambda config: box(b"avcC", config)),
    Codec.HEVC: (b"hvc1", lambda config: box(b"hvcC", config)),
    Codec.AV1: (b"av01", lambda config: box(b"av1C", config)),
    Codec.VP9: (b"vp09", lambda config: full_box(b"vpcC", 1, 0, vp9.record_body(config))),
}
_AUDIO: dict[Codec, tuple[bytes, Callable[[bytes], bytes]]] = {
    Codec.AAC: (b"mp4a", lambda config: esds(_OTI_AAC, config)),
    Codec.OPUS: (b"Opus", lambda config: box(b"dOps", opus.specific_box(config))),
    Codec.FLAC: (b"fLaC", lambda config: full_box(b"dfLa", 0, 0, flac.specific_box(config))),
    Codec.AC3: (b"ac-3", lambda config: box(b"dac3", config)),
    Codec.EAC3: (b"ec-3", lambda config: box(b"dec3", config)),
    Codec.MP3: (b"mp4a", lambda config: esds(mp3.object_type_indication(config), b"")),
}

#: What ISO BMFF has a sample entry for, as far as this server writes it.
CARRIED = frozenset({*_VIDEO, *_AUDIO})


def video_sample_entry(track: Track, video: VideoParameters) -> bytes:
    """A VisualSampleEntry (ISO/IEC 14496-12, 12.1.3) with colr and pasp where they are known."""
    kind, configuration = _VIDEO[track.codec]
    if not (video.width and video.height):
        raise RemoteProtocolError(f"the picture size of {track.codec.value} is not known before its first keyframe")
    size = struct.pack(">6xH16xHH", 1, video.width, video.height)
    fixed = struct.pack(">III H32x Hh", 0x480000, 0x480000, 0, 1, 0x18, -1)
    return box(kind, size, fixed, configuration(track.config), _colr(video), _pasp(video))


def audio_sample_entry(track: Track, audio: AudioParameters) -> bytes:
    """An AudioSampleEntry (ISO/IEC 14496-12, 12.2.3)."""
    kind, configuration = _AUDIO[track.codec]
    if not audio.sample_rate:
        raise RemoteProtocolError(f"the sample rate of {track.codec.value} is not known before its first packet")
    # 16.16 has no room for rates over 65535 Hz: 0, and the decoder configuration tells (as FFmpeg writes it)
    rate = audio.sample_rate << 16 if audio.sample_rate <= 0xFFFF else 0
    fixed = struct.pack(">6xH8xHH4xI", 1, audio.channels or 2, 16, rate)
    return box(kind, fixed, configuration(track.config))


def _colr(video: VideoParameters) -> bytes:
    colour = video.colour
    if colour is None:
        return b""
    points = struct.pack(">HHHB", colour.primaries, colour.transfer, colour.matrix, 0x80 if colour.full_range else 0)
    return box(b"colr", b"nclx", points)


def _pasp(video: VideoParameters) -> bytes:
    return b"" if video.pixel_aspect == (1, 1) else box(b"pasp", struct.pack(">II", *video.pixel_aspect))


def esds(object_type_indication: int, specific_config: bytes) -> bytes:
    """An elementary stream descriptor (ISO/IEC 14496-1, 7.2.6.5; 14496-14, 3.1.2), bit rates unknown."""
    decoder = struct.pack(">BB3xII", object_type_indication, _AUDIO_STREAM, 0, 0)
    specific = _descriptor(5, specific_config) if specific_config else b""
    stream = bytes(3) + _descriptor(4, decoder + specific) + _descriptor(6, b"\x02")
    return full_box(b"esds", 0, 0, _descriptor(3, stream))


def _descriptor(tag: int, content: bytes) -> bytes:
    """A descriptor; its length in groups of 7 bits, all but the last marked (14496-1, 8.3.3)."""
    length = len(content)
    size = bytes((length & 0x7F,))
    while length := length >> 7:
        size = bytes((0x80 | length & 0x7F,)) + size
    return bytes((tag,)) + size + content
