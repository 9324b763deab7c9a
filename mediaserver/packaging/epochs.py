"""Media time and the wall clock: where a stream's time begins, and when (Unix time) its samples came in."""

import math
from collections.abc import Callable

from mediaserver.packaging.segment import Epoch

#: Media time (ms) of the first packet: room for B-frames with a negative offset and for audio a little older.
ORIGIN = 10_000

#: Packets that arrive so close together (seconds of wall clock) are a replay, and the last of them is the live edge.
BURST = 0.25

#: The wall clock's times are set right when for ``DRIFT_WATCH`` seconds no packet came closer to them than ``DRIFT``.
DRIFT = 0.5
DRIFT_WATCH = 10.0


class Epochs:
    """The epochs of one stream. ``wall`` is Unix time in seconds; ``current`` is None between a break and the next packet."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self.current: Epoch | None = None
        self.discontinuities = 0
        self.offset = 0
        self.span = 0
        self._wall = wall
        self._origin: int | None = None
        self._first: Epoch | None = None
        self._availability_start: float | None = None
        self._periods = 0
        self._burst = 0.0
        self._watched = 0.0
        self._least_late = math.inf

    def at(self, dts: int) -> Epoch:
        """The epoch of a packet with ``dts`` (ms) that arrives now; the first one of an epoch anchors it to the wall clock.

        Media time in ms is ``dts + offset``.
        """
        now = self._wall()
        if self._origin is None:
            self._origin = dts
            self.offset = ORIGIN - dts
        self.span = max(self.span, dts - self._origin)
        late = now - (dts + self.offset) / 1000
        epoch = self.current
        if epoch is None:
            epoch = self._begin(Epoch(self.discontinuities, self._periods, late))
            self.discontinuities += 1
            self._burst = self._watched = now
            self._least_late = late
        elif 0 <= now - self._burst < BURST:
            epoch.anchor = self._least_late = min(epoch.anchor, late)
        else:
            # It is over for good: a clock that is set back may come by here once more.
            self._burst = -math.inf
            self._least_late = min(self._least_late, late)
        if now < self._watched:
            self._watched, self._least_late = now, late
        return self._follow(epoch, now, (dts + self.offset) / 1000) if now - self._watched > DRIFT_WATCH else epoch

    def _begin(self, epoch: Epoch) -> Epoch:
        self.current = epoch
        self._first = self._first or epoch
        self._periods += 1
        return epoch

    def _follow(self, epoch: Epoch, now: float, time: float) -> Epoch:
        """Publishers' clocks run fast or slow by seconds a day. Where ours says otherwise, the next segments get a new anchor."""
        anchor = self._least_late
        self._watched, self._least_late = now, math.inf
        if abs(anchor - epoch.anchor) <= DRIFT:
            return epoch
        return self._begin(Epoch(epoch.number, self._periods, anchor, since=time, before=epoch.date(time) - time))

    def end(self) -> None:
        """A discontinuity: the next packet begins a new epoch."""
        self.current = None

    @property
    def availability_start(self) -> float:
        """Unix time of the first sample, once and for all from when it is first asked for."""
        if self._availability_start is None:
            first = self._first
            self._availability_start = self._wall() if first is None else round(first.anchor + (first.begin or 0.0), 3)
        return self._availability_start
