"""Memory that nobody uses any more, given back to the system.

glibc keeps what was freed between pieces that are in use, and after a busy hour that is most of a server's memory: measured, 275
of 340 MB when twelve streams had ended.
"""

import asyncio
import ctypes
import functools
from collections.abc import Callable, Coroutine
from typing import Final

#: Seconds between two times: with a large heap one takes some hundredths of a second, in which other threads' allocations wait.
INTERVAL: Final = 8.0


@functools.cache
def _trim() -> Callable[[int], object] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back() -> None:
    """malloc_trim(3), where the C library has it."""
    trim = _trim()
    if trim is not None:
        trim(0)


class Tidier:
    """Gives back when there is much less to do than there was. ``load`` says how much there is, of which ``step`` is worth the
    while; ``spawn`` runs it beside the loop."""

    def __init__(
        self,
        load: Callable[[], int],
        step: int,
        spawn: Callable[[Coroutine[None, None, None]], object],
        give_back: Callable[[], None] = give_back,
    ) -> None:
        self._load = load
        self._step = step
        self._spawn = spawn
        self._give_back = give_back
        self._most = 0
        self._at = float("-inf")

    def sweep(self, now: float) -> None:
        """To be called every second or so."""
        load = self._load()
        self._most = max(self._most, load)
        # What is given back has to be fetched anew: worth it where most of the load has gone.
        if self._most - load >= max(self._step, self._most // 2) and now - self._at >= INTERVAL:
            self._most, self._at = load, now
            self._spawn(asyncio.to_thread(self._give_back))
