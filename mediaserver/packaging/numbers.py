"""Media sequence and discontinuity sequence numbers that never go back.

Numbers start from the time since the year 2026 when packaging starts. Media sequence numbers count tenths of seconds: no
segment is that short. Discontinuity sequence numbers count ten minutes: not finer, because hls.js walks an array of that length
several times a second. So mostly the clock alone sees to it that none goes back, not over a restart of the server either. A name
that is ahead of it, because its publisher sends faster than in real time or had many breaks, is remembered until the clock has
passed it; over a restart by a file (see ``numbersfile``).
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from mediaserver.packaging.window import LEAST_SEGMENTS

NUMBERS_SINCE = 1_767_225_600
SEQUENCE_UNIT = 0.1
DISCONTINUITY_UNIT = 600.0

#: Names that are remembered. Beyond that all new streams begin where the least of them was.
MAX_AHEAD = 1000

#: Media sequence numbers by which every stream is ahead of the clock when it begins; the clock has passed them in a second.
BEGINNING = 10
#: Media sequence numbers are reserved in blocks of so many: a file need not be as quick as a publisher that is in a hurry.
BLOCK = 256


class Numbers(NamedTuple):
    """A media sequence number and a discontinuity sequence number."""

    sequence: int
    discontinuity: int


#: What a stream can be ahead of the clock: segments of a month at once, a break a second for a day. More was never ours.
MOST_AHEAD = Numbers(10_000_000, 86_400)


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

    def ahead(self, present: Mapping[str, Numbers]) -> dict[str, Numbers]:
        """What each name may go on with that is ahead of the clock (a number that is not is 0): of those that are remembered, and
        of those that ``present`` says are in use."""
        found: dict[str, Numbers] = {}
        in_use = ((name, _reserved(unused) if self._is_hurried(unused) else unused) for name, unused in present.items())
        for name, unused in (*self._ahead.items(), *in_use):
            has_breaks = unused.discontinuity > self._least.discontinuity
            kept = Numbers(unused.sequence * self._is_hurried(unused), unused.discontinuity * has_breaks)
            if any(kept):
                found[name] = _larger(kept, found.get(name, kept))
        return found

    def _is_hurried(self, unused: Numbers) -> bool:
        """Whether there were more segments than the clock allows for."""
        return unused.sequence > self._least.sequence + BEGINNING

    def go_on(self, numbers: Mapping[str, Numbers]) -> None:
        """Another server used all numbers below those, by name."""
        for name, unused in numbers.items():
            if all(number - least <= most for number, least, most in zip(unused, self._least, MOST_AHEAD, strict=True)):
                self.remember(name, unused)

    def __len__(self) -> int:
        return len(self._ahead)


def first_numbers(unix_time: float) -> Numbers:
    """Where a stream's numbers start that is packaged from now on."""
    elapsed = max(0.0, unix_time - NUMBERS_SINCE)
    return Numbers(int(elapsed / SEQUENCE_UNIT) + LEAST_SEGMENTS, int(elapsed / DISCONTINUITY_UNIT))


def _reserved(unused: Numbers) -> Numbers:
    """Room for what is used until somebody looks again: one block at least, two at most."""
    return unused._replace(sequence=(unused.sequence // BLOCK + 2) * BLOCK)


def _larger(one: Numbers, other: Numbers) -> Numbers:
    return Numbers(max(one.sequence, other.sequence), max(one.discontinuity, other.discontinuity))
