"""Whether a peer still takes what waits for it."""

from typing import Final

#: What a peer must take within the deadline to count as reading, in bytes: less is of no use to a player of anything.
LEAST_PROGRESS: Final = 16 * 1024


class Stall:
    """Watches one connection's write buffer, sweep by sweep."""

    __slots__ = ("_least", "_since")

    def __init__(self) -> None:
        self._least = 0
        self._since = 0.0

    def lasts(self, waiting: int, now: float, patience: float) -> bool:
        """Whether of ``waiting`` bytes next to nothing was taken for ``patience`` seconds."""
        if not waiting or not self._least or waiting <= self._least - LEAST_PROGRESS:
            self._least = waiting
            self._since = now
            return False
        return now - self._since >= patience
