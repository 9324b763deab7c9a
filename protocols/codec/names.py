"""One codec's names: ours (FFmpeg's), Enhanced RTMP's FourCC, and the RFC 6381 string of playlists and of MSE."""

from protocols.media import Codec

FOURCC: dict[Codec, bytes] = {
    Codec.H264: b"avc1",
    Codec.HEVC: b"hvc1",
    Codec.AV1: b"av01",
    Codec.VP9: b"vp09",
    Codec.VP8: b"vp08",
    Codec.AAC: b"mp4a",
    Codec.OPUS: b"Opus",
    Codec.FLAC: b"fLaC",
    Codec.AC3: b"ac-3",
    Codec.EAC3: b"ec-3",
    Codec.MP3: b".mp3",
}
"""The FourCCs of Enhanced RTMP v2, tables 4 and 5; those of sample entries but for MP3, which is an mp4a there."""

_OF_FOURCC = {fourcc: codec for codec, fourcc in FOURCC.items()} | {b"avc3": Codec.H264, b"hev1": Codec.HEVC}
_OF_FFMPEG = {codec.value: codec for codec in Codec}

# mp4a.OO.A: object type indication in hexadecimal (MP4 registration authority), and an audio object type behind 40
_OF_INDICATION = {"40": Codec.AAC, "66": Codec.AAC, "67": Codec.AAC, "68": Codec.AAC, "69": Codec.MP3, "6B": Codec.MP3,
                  "A5": Codec.AC3, "A6": Codec.EAC3, "AD": Codec.OPUS}  # fmt: skip
_MP3_OBJECT_TYPE = "34"


def from_fourcc(fourcc: bytes) -> Codec | None:
    """The codec behind a FourCC; None if it is not ours."""
    return _OF_FOURCC.get(fourcc)


def from_ffmpeg(name: str) -> Codec | None:
    """The codec behind FFmpeg's name (``AVCodecDescriptor.name``); None if it is not ours."""
    return _OF_FFMPEG.get(name)


def from_rfc6381(name: str) -> Codec | None:
    """The codec behind an RFC 6381 string such as ``avc1.64001f``; None if it is not ours."""
    entry, _, rest = name.partition(".")
    if entry == "mp4a":
        indication, _, object_type = rest.partition(".")
        return Codec.MP3 if (indication, object_type) == ("40", _MP3_OBJECT_TYPE) else _OF_INDICATION.get(indication.upper())
    return {"opus": Codec.OPUS, "flac": Codec.FLAC}.get(entry) or _OF_FOURCC.get(entry.encode())
