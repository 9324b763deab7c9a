"""When a delivery that failed is tried again."""

from collections.abc import Callable
from dataclasses import dataclass

#: By how much each wait is longer than the one before.
_GROWTH = 3.0
#: Seconds that a receiver's Retry-After is heeded for, at most.
_LONGEST_WISH = 3600.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits in seconds: ``first``, then three times as long each, ``longest`` at most, and a random part shorter: what failed
    together does not come back together. ``chance`` gives a number from 0 to 1."""

    first: float
    longest: float
    chance: Callable[[], float]

    def wait(self, attempts: int, wish: float = 0.0) -> float:
        """Seconds until the next try after so many; ``wish`` is what the receiver asked for."""
        whole = min(self.longest, self.first * _GROWTH ** min(attempts - 1, 50))
        return max(whole * (0.5 + 0.5 * self.chance()), min(wish, _LONGEST_WISH))
