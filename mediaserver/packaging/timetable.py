"""Where the segments of a stream begin: its renditions follow that, so that the segments of all are numbered and cut alike."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from mediaserver.packaging.segment import Epoch

#: Media time counts in this unit here, whatever a track's own timescale is.
TICKS = 90_000

#: Stamps of the same picture in two renditions differ by no more than this (10 ms).
SAME = 900

#: How many segments back can be looked up: a rendition that is later than that begins anew.
KEPT = 64

#: Pictures that are put off are shown so many times faster than they follow one another.
HASTE = 50


class PutOff(NamedTuple):
    """The first picture behind a break, which came while the one before it was still to be seen: decoded at ``time``, not at its
    own ``stamp``, and shown then if it was ``due`` before. Those that follow are decoded right behind it. ``TICKS``."""

    time: int
    stamp: int
    due: int

    def shown(self, due: int) -> int:
        """When a picture is shown that was to be at ``due``: in their order, then by the stream's clock again."""
        return max(due, self.time + (due - self.due) // HASTE)

    @property
    def over(self) -> int:
        """From when on all that is due is shown."""
        return (HASTE * self.time - self.due) // (HASTE - 1) + 1


class Mark(NamedTuple):
    """A segment begins. ``time`` is the decode time of its first sample and ``shown`` when that is shown, in ``TICKS``.

    ``fresh``: behind a break, so that the one before does not reach up to it; or it reached further, and the first picture was
    ``put_off``.
    """

    time: int
    shown: int
    sequence: int
    epoch: Epoch
    keyframe: bool
    fresh: bool
    put_off: PutOff | None = None

    @property
    def stamp(self) -> int:
        """The first sample's decode time by the stream's clock."""
        return self.time if self.put_off is None else self.put_off.stamp

    @property
    def due(self) -> int:
        """When the first sample is shown by the stream's clock."""
        return self.shown if self.put_off is None else self.put_off.due


class Timetable:
    """The marks of one stream, oldest first, and how far it has come (``reached``, the last sample's time)."""

    def __init__(self) -> None:
        self.marks: deque[Mark] = deque(maxlen=KEPT)
        self.reached = -1
        self._waiting: dict[Callable[[], None], None] = {}

    def add(self, mark: Mark) -> None:
        """One more segment."""
        self.marks.append(mark)

    def reach(self, time: int) -> None:
        """The stream has come to ``time``: tell those who were ahead of it."""
        self.reached = time
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            for callback in waiting:
                callback()

    def wait(self, callback: Callable[[], None]) -> None:
        """Call back once when there is news."""
        self._waiting[callback] = None

    def forget(self, callback: Callable[[], None]) -> None:
        """Call back no more. Harmless twice."""
        self._waiting.pop(callback, None)

    def after(self, sequence: int) -> Mark | None:
        """The first mark behind segment ``sequence``, if it is known yet."""
        if not self.marks or self.marks[-1].sequence <= sequence:
            return None
        return next(mark for mark in self.marks if mark.sequence > sequence)

    def keyframe_at(self, shown: int) -> Mark | None:
        """The segment that begins with the keyframe that is shown at that time."""
        return next((mark for mark in reversed(self.marks) if mark.keyframe and abs(mark.due - shown) <= SAME), None)

    def knows_keyframe(self, shown: int) -> bool:
        """Whether it is decided if a segment begins with the keyframe that is shown at that time."""
        return self.reached >= shown - SAME or any(mark.due >= shown - SAME for mark in self.marks)

    def before(self, time: int) -> Mark | None:
        """The segment that ``time`` belongs to."""
        return next((mark for mark in reversed(self.marks) if mark.time <= time), None)
