"""Answers that cost the database something: one is worked out at a time, and good for a while if that took a while."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

from control.db import Database, DatabaseUnavailable, Transaction

T = TypeVar("T")

#: Seconds that an answer may cost and not be kept; and how many times longer than it took it is good for.
CHEAP = 0.25
WORTH = 10.0
#: Answers that are kept.
MOST = 1000
#: Seconds that others' answers are waited for.
PATIENCE = 30.0


class Figures:
    """Years of viewers cannot take all connections to the database: who asks for them stands in line."""

    def __init__(self, db: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._clock = clock
        self._turn = asyncio.Lock()
        self._kept: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()

    async def get(self, key: Hashable, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """What ``work`` gives, now or a moment ago for the same ``key``. Raises DatabaseUnavailable."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._turn.acquire()
        except TimeoutError:
            raise DatabaseUnavailable("too many ask for figures") from None
        try:
            until, answer = self._kept.get(key, (0.0, None))
            begun = self._clock()
            if begun < until:
                return answer  # type: ignore[no-any-return]
            async with self._db.read() as tx:
                made = await work(tx)
            self._keep(key, made, begun)
            return made
        finally:
            self._turn.release()

    def _keep(self, key: Hashable, answer: object, begun: float) -> None:
        now = self._clock()
        self._kept.pop(key, None)
        if now - begun > CHEAP:
            self._kept[key] = (now + WORTH * (now - begun), answer)
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)
