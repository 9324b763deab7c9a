"""Which renditions a source gets: the ladder that was asked for, fitted to what comes in. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from mediaserver.bitrates import AUDIO_BITRATE, EFFICIENCY, REFERENCE_RATE, suitable_bitrate
from mediaserver.ports import Ladder, Rung
from protocols.media import Codec

#: The rung that is sound alone, by its name in the configuration.
AUDIO = "audio"
#: A frame rate this much above a cap is the cap: 30.02 is 30.
_RATE_TOLERANCE = 1.02


@dataclass(frozen=True, slots=True)
class Source:
    """What comes in. ``codec`` is None without pictures, ``audio`` without sound; ``width`` and ``height`` are coded pixels;
    ``frame_rate`` is 0 if unknown; ``rotation`` is how far a player turns the picture, in degrees."""

    codec: Codec | None
    width: int = 0
    height: int = 0
    audio: Codec | None = None
    frame_rate: float = 0.0
    pixel_aspect: tuple[int, int] = (1, 1)
    rotation: int = 0
    interlaced: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as people see it: square pixels, upright."""
        horizontal, vertical = self.pixel_aspect
        width = max(round(self.width * horizontal / vertical), 1) if horizontal and vertical else self.width
        return (self.height, width) if self.rotation % 180 else (width, self.height)


@dataclass(frozen=True, slots=True)
class FittedRung:
    """A rung as it will be made. ``copied``: its packets are the source's. Without a ``width`` it is sound alone, and with a
    ``reason`` it is not made. ``bitrate`` is 0 where the source has its own. ``frame_rate`` is the cap, 0 where the source stays
    below it."""

    rung: Rung
    width: int = 0
    height: int = 0
    bitrate: int = 0
    frame_rate: float = 0.0
    copied: bool = False
    reason: str = ""

    @property
    def encoded(self) -> bool:
        """Whether pictures must be encoded for it."""
        return self.width > 0 and not self.copied and not self.reason


def named(names: Sequence[str]) -> Ladder | None:
    """The ladder that the configuration names (``720p``, ``audio``), None if it names no rung."""
    rungs = tuple(Rung(name, 0 if name == AUDIO else int(name.removesuffix("p"))) for name in names)
    return Ladder(rungs) if rungs else None


def fit(ladder: Ladder, source: Source) -> tuple[FittedRung, ...]:
    """Every rung of ``ladder`` once, the largest picture first, then sound alone.

    No picture is made larger than it comes, its aspect stays, its sides are even, and it stands upright. A rung that the source
    is like already is copied, unless it is to be encoded all the same or gets keyframes of its own (``keyframe_interval``); so is
    sound alone that is of the codec that is wanted, unless a bit rate is asked for.
    """
    rungs = {rung.name: rung for rung in reversed(ladder.rungs)}
    ordered = sorted(rungs.values(), key=lambda rung: rung.height, reverse=True)
    return tuple(_fit_picture(rung, ladder, source) if rung.height else _fit_sound(rung, ladder, source) for rung in ordered)


def _fit_sound(rung: Rung, ladder: Ladder, source: Source) -> FittedRung:
    if source.audio is None:
        return FittedRung(rung, reason="the source has no sound")
    if source.audio is ladder.audio_codec and not (rung.reencode or rung.bitrate):
        return FittedRung(rung, copied=True)
    return FittedRung(rung, bitrate=rung.bitrate or AUDIO_BITRATE)


def _fit_picture(rung: Rung, ladder: Ladder, source: Source) -> FittedRung:
    if source.codec is None:
        return FittedRung(rung, reason="the source has no pictures")
    if rung.codec not in EFFICIENCY:
        return FittedRung(rung, reason=f"{rung.codec.value} is not encoded here")
    width, height = source.size
    shorter = min(width, height)
    if rung.height > shorter:
        return FittedRung(rung, reason=f"larger than the source ({width}x{height})")
    capped = bool(rung.frame_rate) and (source.frame_rate or rung.frame_rate * 2) > rung.frame_rate * _RATE_TOLERANCE
    alike = rung.height == shorter and rung.codec is source.codec and not (source.interlaced or source.rotation or capped)
    if alike and not rung.reencode and not ladder.keyframe_interval:
        return FittedRung(rung, source.width, source.height, rung.bitrate, copied=True)
    width, height = (_even(side * rung.height / shorter, side) for side in (width, height))
    rate = min(source.frame_rate or REFERENCE_RATE, rung.frame_rate or 1000.0)
    bitrate = rung.bitrate or suitable_bitrate(rung.codec, width, height, rate)
    return FittedRung(rung, width, height, bitrate, rung.frame_rate if capped else 0.0)


def _even(wanted: float, most: int) -> int:
    """The even number next to ``wanted``, not above ``most``."""
    nearest = max(2, 2 * round(wanted / 2))
    return nearest if nearest <= most or most < 2 else most - most % 2
