"""How many watch each stream, about once a second, for whoever wants to know."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from control.streams.onair import OnAir

log = logging.getLogger(__name__)

#: Seconds between two looks.
INTERVAL = 1.0


@dataclass(frozen=True, slots=True)
class Watched:
    """How many watch a stream now, and at most since it began; and when that was (Unix time)."""

    viewers: int
    peak: int
    since: float


class Pulse:
    """One look a second however many listen; none while nobody does."""

    def __init__(self, on_air: OnAir, interval: float = INTERVAL) -> None:
        self._on_air = on_air
        self._interval = interval
        self._told: list[Callable[[Mapping[int, Watched]], None]] = []

    def tell(self, listener: Callable[[Mapping[int, Watched]], None]) -> None:
        """Call ``listener`` with the streams that are on air, by the id of their row. It must not wait."""
        self._told.append(listener)

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            self.beat()
            await asyncio.sleep(self._interval)

    def beat(self) -> None:
        """Look now."""
        watched = {stream_id: Watched(*counts) for stream_id, counts in self._on_air.counts().items()}
        for listener in self._told:
            try:
                listener(watched)
            except Exception:  # one listener's bug is not the others'
                log.exception("listener_failed")
