"""Pictures a second as playlists tell it: counted over whole segments, because stamps are whole milliseconds. Pure."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from mediaserver.packaging.segment import InitSegment, Segment
from protocols.codec import VideoParameters

#: How far (seconds) the distance of two stamps may be from what it was meant to be: each is rounded to a millisecond.
ROUNDING = 0.0015

#: A track that says less than this of itself, or more, is not believed.
SLOWEST, FASTEST = 1.0, 300.0

#: What cameras, films and television have.
_USUAL = (
    *(7.5, 10.0, 12.0, 12.5, 15.0, 20.0, 24.0, 25.0, 30.0, 48.0, 50.0, 60.0, 72.0, 90.0, 100.0, 120.0, 144.0, 240.0),
    *(whole * 1000 / 1001 for whole in (12, 15, 24, 30, 48, 60, 120, 240)),
)

#: So many segments are counted at most: the rounding of two stamps is nothing then, and a picture that an encoder leaves out now
#: and then does not look like another rate.
_MOST_SEGMENTS = 5

#: So many neighbours with different rates each are a source without a constant one; before that it may be about to change.
_UNSTEADY = 4

#: What is said of such a source is not said anew for a difference below this.
_NEAR = 0.05


class Count(NamedTuple):
    """So many pictures in so many seconds."""

    frames: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.frames / self.seconds

    @property
    def error(self) -> float:
        """How far ``rate`` may be from the truth."""
        return self.rate * ROUNDING / self.seconds

    def agrees(self, other: "Count") -> bool:
        """Whether both may be of one rate."""
        return abs(self.rate - other.rate) <= self.error + other.error


def steady_rate(count: Count, likely: Sequence[float]) -> float:
    """The rate that pictures were counted at: a ``likely`` one (the first that may be it), a usual one, a whole number, or as
    it was counted."""
    return _meant(count, likely) or round(count.rate, 3)


def _meant(count: Count, likely: Sequence[float]) -> float:
    rate = count.rate
    choices = (*likely, min(_USUAL, key=lambda usual: abs(usual - rate)), float(round(rate)))
    return next((choice for choice in choices if choice and abs(choice - rate) <= count.error), 0.0)


def recent_counts(segments: Iterable[Segment]) -> list[Count]:
    """Of the last whole segments without a break between them, the newest first."""
    found: list[Segment] = []
    for segment in segments:
        if segment.gap or not segment.complete or not segment.frames or len(found) == _MOST_SEGMENTS:
            break
        if found and (found[-1].init is not segment.init or found[-1].epoch.number != segment.epoch.number):
            break
        found.append(segment)
    return [Count(segment.frames, segment.seconds) for segment in found]


def rate_of(counts: Sequence[Count], declared: float, likely: Sequence[float], told: float) -> tuple[float, bool]:
    """The rate of a track whose last segments, the newest first, have ``counts``, and whether it is constant. ``declared`` is
    what the track itself says (0: nothing), ``likely`` what may be expected, ``told`` what was told so far."""
    newest = counts[0]
    run = [newest]
    for count in counts[1:]:
        if not count.agrees(newest):
            break
        run.append(count)
    if len(run) > 1:
        return steady_rate(_sum(run), (declared, *likely, told)), True
    if len(counts) == 1 and (meant := _meant(newest, (declared, *likely, told))):
        return meant, True
    last = counts[:_UNSTEADY]
    if told and len(counts) > 1 and (len(last) < _UNSTEADY or any(one.agrees(other) for one, other in pairwise(last))):
        return told, False
    mean = _sum(last).rate
    said = (declared, *likely, told)
    return next((each for each in said if each and abs(each - mean) <= _NEAR * mean), round(mean, 3)), False


def past_rate(segments: Sequence[Segment]) -> float:
    """What was told of ``segments`` of pictures; where they are over too soon for that, what they look like."""
    told = next((segment.frame_rate for segment in reversed(segments) if segment.frame_rate), 0.0)
    counts = recent_counts(reversed(segments))
    return told or (rate_of(counts, declared_rate(segments[-1].init), (), 0.0)[0] if counts else 0.0)


def declared_rate(init: InitSegment) -> float:
    """Pictures a second as the track itself says it; 0.0 if it does not, has none, or says what cannot be."""
    rate = init.parameters.frame_rate if isinstance(init.parameters, VideoParameters) else 0.0
    return rate if SLOWEST <= rate <= FASTEST else 0.0


def _sum(counts: Sequence[Count]) -> Count:
    return Count(sum(count.frames for count in counts), sum(count.seconds for count in counts))
