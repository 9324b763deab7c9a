"""What a decoder configuration says about its track, in one shape for all codecs."""

from dataclasses import dataclass

from protocols.errors import RemoteProtocolError

_MAX_SIDE = 0xFFFF  # a sample entry has 16 bits for each side


@dataclass(frozen=True, slots=True)
class Colour:
    """Code points of ISO/IEC 23091-2: primaries, transfer characteristics, matrix coefficients."""

    primaries: int
    transfer: int
    matrix: int
    full_range: bool = False


@dataclass(frozen=True, slots=True)
class VideoParameters:
    """A video track. ``width`` and ``height`` are coded pixels after cropping, 0 while only a keyframe can tell
    (see ``complete``); ``frame_rate`` in Hz, 0.0 if unknown; ``profile`` and ``level`` as the codec numbers them.
    """

    width: int
    height: int
    frame_rate: float
    rfc6381: str
    profile: int = 0
    level: int = 0
    bit_depth: int = 8
    pixel_aspect: tuple[int, int] = (1, 1)
    colour: Colour | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.width <= _MAX_SIDE and 0 <= self.height <= _MAX_SIDE):
            raise RemoteProtocolError(f"a picture of {self.width}x{self.height} pixels")

    @property
    def display_width(self) -> int:
        """The width in square pixels, at the coded height."""
        horizontal, vertical = self.pixel_aspect
        return min(max(round(self.width * horizontal / vertical), min(self.width, 1)), _MAX_SIDE)


@dataclass(frozen=True, slots=True)
class AudioParameters:
    """An audio track as it leaves the decoder. ``sample_rate`` in Hz and ``channels`` are 0 while only a packet can tell
    (see ``complete``); ``samples_per_packet`` is 0 if it varies.
    """

    sample_rate: int
    channels: int
    rfc6381: str
    samples_per_packet: int = 0
    profile: int = 0


def visible_size(width: int, height: int, crop_x: int, crop_y: int) -> tuple[int, int]:
    """The picture after cropping; RemoteProtocolError if nothing is left."""
    if crop_x >= width or crop_y >= height:
        raise RemoteProtocolError(f"cropping leaves nothing of {width}x{height}")
    return width - crop_x, height - crop_y
