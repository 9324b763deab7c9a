"""Media sequence and discontinuity sequence numbers that never go back.

Numbers start from the time since the year 2026 when packaging starts. Media sequence numbers count tenths of seconds: no
segment is that short, so they never go back, not over a restart of the server either. Discontinuity sequence numbers count ten
minutes: not finer, because hls.js walks an array of that length several times a second. So a name whose stream had more than
that is remembered until the clock has passed it; over a restart by a file (see ``numbersfile``).
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from mediaserver.packaging.window import LEAST_SEGMENTS

NUMBERS_SINCE = 1_767_225_600
SEQUENCE_UNIT = 0.1
DISCONTINUITY_UNIT = 600.0

#: Names that are remembered. Beyond that all new streams begin where the least of them was.
MAX_AHEAD = 1000

#: Discontinuities that a stream can be ahead of the clock: one a second for a day. More was never ours.
MOST_AHEAD = 86_400


class Numbers(NamedTuple):
    """A media sequence number and a discontinuity sequence number."""

    sequence: int
    discontinuity: int


class NumberBook:
    """Where each name may begin. ``wall`` is Unix time in seconds."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        # What no stream begins below, and the names that are ahead of it.
        self._least = first_numbers(wall())
        self._ahead: dict[str, Numbers] = {}

    def first(self, name: str) -> Numbers:
        """Where ``name`` may begin now."""
        self.follow_clock()
        return _larger(self._least, self._ahead.get(name, self._least))

    def follow_clock(self) -> None:
        """What the clock has passed need not be remembered; a clock that was set back does not count."""
        self._least = _larger(self._least, first_numbers(self._wall()))
        for name in [name for name, unused in self._ahead.items() if _larger(self._least, unused) == self._least]:
            del self._ahead[name]

    def remember(self, name: str, unused: Numbers) -> None:
        """``name`` has used all numbers below ``unused``."""
        self._ahead[name] = _larger(unused, self._ahead.get(name, unused))
        self.follow_clock()
        if len(self._ahead) > MAX_AHEAD:
            nearest = min(self._ahead, key=lambda known: self._ahead[known].discontinuity)
            self._least = _larger(self._least, self._ahead.pop(nearest))

    def ahead(self, present: Mapping[str, Numbers]) -> dict[str, int]:
        """The discontinuity sequence number that each name may go on with, where that is ahead of the clock: of those that are
        remembered, and of those that ``present`` says are in use."""
        known = [*self._ahead.items(), *present.items()]
        found: dict[str, int] = {}
        for name, unused in known:
            if unused.discontinuity > max(self._least.discontinuity, found.get(name, 0)):
                found[name] = unused.discontinuity
        return found

    def go_on(self, discontinuities: Mapping[str, int]) -> None:
        """Another server used all numbers below those, by name."""
        most = self._least.discontinuity + MOST_AHEAD
        for name, number in discontinuities.items():
            if number <= most:
                self.remember(name, Numbers(0, number))

    def __len__(self) -> int:
        return len(self._ahead)


def first_numbers(unix_time: float) -> Numbers:
    """Where a stream's numbers start that is packaged from now on."""
    elapsed = max(0.0, unix_time - NUMBERS_SINCE)
    return Numbers(int(elapsed / SEQUENCE_UNIT) + LEAST_SEGMENTS, int(elapsed / DISCONTINUITY_UNIT))


def _larger(one: Numbers, other: Numbers) -> Numbers:
    return Numbers(max(one.sequence, other.sequence), max(one.discontinuity, other.discontinuity))
