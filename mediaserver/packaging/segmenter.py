"""Where parts and segments end. Pure: it knows timestamps, keyframes and sizes, no clock, no bytes."""

import enum
import statistics
from typing import NamedTuple

#: FLV counts whole milliseconds, so a duration that is a difference of two stamps is wrong by up to one.
ROUNDING = 0.0015

#: A part of a segment that goes on must be at least this much of PART-TARGET (RFC 8216bis, 4.4.4.9).
PART_MINIMUM = 0.85

#: The share of the segment duration at which a keyframe may end a segment: a GOP of 1.99 s is meant to be one of 2 s.
SEGMENT_MINIMUM = 0.95

#: What a segment may weigh: bytes for each second that it is meant to last (100 Mbit/s). Who sends more than that, or the same in
#: tiny steps in time, gets shorter segments and fills no memory.
WEIGHT = 12_500_000

#: How many durations are looked at to learn the frame duration.
_LEARN = 16


class Cut(enum.Enum):
    """What ends behind a sample."""

    NONE = "none"
    PART = "part"
    SEGMENT = "segment"


class Step(NamedTuple):
    """``part_before``: the part in the making ends before this sample; ``after``: what ends behind it."""

    part_before: bool
    after: Cut


def part_limit(part_duration: float, frame_duration: float) -> float:
    """The longest part (seconds) made of whole frames near ``part_duration``, and at least one frame.

    A limit that is no multiple of the frame would make parts shorter than 85 % of it at low frame rates.
    """
    if frame_duration <= 0:
        return part_duration
    frames = max(1, int(part_duration / frame_duration + 0.05))
    return frames * frame_duration + ROUNDING


class FrameClock:
    """Learns the usual duration of a frame from the first few: their mean, without those that are far from the median.

    Any unit; ``rounding`` is how far two stamps of equal frames may be from their distance.
    """

    def __init__(self, rounding: int) -> None:
        self._rounding = rounding
        self._seen: list[int] = []

    @property
    def seen(self) -> int:
        """How many durations it has looked at."""
        return len(self._seen)

    def learn(self, duration: int) -> int | None:
        """Look at one more: the usual duration as it seems now, None when enough were seen before."""
        if len(self._seen) >= _LEARN:
            return None
        self._seen.append(duration)
        median = statistics.median_low(self._seen)
        return round(statistics.fmean(seen for seen in self._seen if abs(seen - median) <= self._rounding))


class Segmenter:
    """Decides for one track, sample by sample. All times in units of the track's timescale.

    ``part_limit`` and ``frame`` may be changed between samples. With ``follow`` the segments of this track end where it is
    told (audio beside video); else at the first keyframe that leaves it at least ``minimum`` long. Either way no segment grows
    beyond ``maximum``, or beyond ``heaviest`` bytes and a sample: it is cut anywhere then, and the next one may begin without a
    keyframe; it ends at the first, however soon that comes, so that those behind it begin with one again.
    """

    __slots__ = ("_cut_short", "_part", "_segment", "_weight", "follow", "frame", "heaviest", "maximum", "minimum", "part_limit")

    def __init__(self, minimum: int, maximum: int, part_limit: int, frame: int, *, heaviest: int, follow: bool = False) -> None:
        self.minimum = minimum
        self.maximum = maximum
        self.part_limit = part_limit
        self.frame = frame
        self.heaviest = heaviest
        self.follow = follow
        self._part = 0
        self._segment = 0
        self._weight = 0
        # Whether the segment in the making began where the one before it had to end.
        self._cut_short = False

    def step(self, duration: int, size: int, *, boundary: bool) -> Step:
        """A sample of ``duration`` and ``size`` bytes joins. ``boundary``: the next one may begin a segment (a keyframe; for a
        following track, one at or behind the place where the other track's segment began)."""
        before = self._part > 0 and self._part + duration > self.part_limit
        if before:
            self._part = 0
        self._part += duration
        self._segment += duration
        self._weight += size
        if boundary and (self.follow or self._cut_short or self._segment >= self.minimum):
            return Step(before, self._end_segment(cut_short=False))
        if self._segment + self.frame > self.maximum or self._weight >= self.heaviest:
            return Step(before, self._end_segment(cut_short=not boundary))
        if self._part + self.frame > self.part_limit and self._part >= PART_MINIMUM * self.part_limit:
            self._part = 0
            return Step(before, Cut.PART)
        return Step(before, Cut.NONE)

    def _end_segment(self, *, cut_short: bool) -> Cut:
        self.reset()
        self._cut_short = cut_short
        return Cut.SEGMENT

    def reset(self) -> None:
        """The segment in the making ends here."""
        self._part = self._segment = self._weight = 0
        self._cut_short = False
