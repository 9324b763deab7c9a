"""How late the event loop is: the one figure that tells whether media waits for something."""

import asyncio
import bisect
import math

#: How often it is sampled, in seconds.
LAG_INTERVAL = 0.25
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, math.inf)


class LagSampler:
    """How late the event loop runs what is due: one timer, four times a second. ``async with`` starts and stops it."""

    def __init__(self) -> None:
        #: How many samples were up to each bound (seconds), and beyond the one before it.
        self.counts = dict.fromkeys(_BOUNDS, 0)
        #: All of them together, in seconds.
        self.total = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> "LagSampler":
        self._schedule(asyncio.get_running_loop())
        return self

    async def __aexit__(self, *exc_details: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + LAG_INTERVAL
        self._timer = loop.call_at(due, self._sample, loop, due)

    def _sample(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        late = max(0.0, loop.time() - due)
        self.counts[_BOUNDS[bisect.bisect_left(_BOUNDS, late)]] += 1
        self.total += late
        self._schedule(loop)
