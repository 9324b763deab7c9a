"""How many bits a second renditions get where nobody says so. Pure."""

from protocols.media import Codec

#: Sound alone, and sound beside pictures, where it has to be encoded.
AUDIO_BITRATE = 128_000
#: What is encoded here, and what it needs relative to H.264.
EFFICIENCY = {Codec.H264: 1.0, Codec.HEVC: 0.65, Codec.AV1: 0.55}

#: What H.264 gets at 1280x720 and up to 30 frames a second; other sizes in proportion to pixels ** GROWTH, because large
#: pictures hold less detail a pixel (so 240p has 0.4 Mbit/s, 1080p 5.5).
_REFERENCE_BITRATE, _REFERENCE_PIXELS, _GROWTH = 2_800_000, 1280 * 720, 0.84
REFERENCE_RATE, _RATE_GROWTH = 30.0, 0.6


def suitable_bitrate(codec: Codec, width: int, height: int, frame_rate: float) -> int:
    """Bits a second that suit pictures of that size."""
    bitrate: float = _REFERENCE_BITRATE * (width * height / _REFERENCE_PIXELS) ** _GROWTH * EFFICIENCY[codec]
    bitrate *= max(1.0, frame_rate / REFERENCE_RATE) ** _RATE_GROWTH
    return max(10_000, round(bitrate / 10_000) * 10_000)


def usual_bitrate(codec: Codec, height: int) -> int:
    """The same before anything has come: for pictures of 16:9 with so many lines (0: sound alone), up to 30 a second."""
    return suitable_bitrate(codec, 2 * round(height * 8 / 9), height, REFERENCE_RATE) if height else AUDIO_BITRATE
