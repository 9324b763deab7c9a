"""What is kept for so many days and no longer: one sweeper for all of it, a little at a time."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from control.analytics import models as sessions
from control.db import Database, DatabaseUnavailable, Transaction
from control.statistics import models as samples

if TYPE_CHECKING:
    from mediaserver.config import Config

log = logging.getLogger(__name__)

#: Seconds between two sweeps; and where one left something, until the next: others want to write as well.
INTERVAL, PAUSE = 3600.0, 1.0
#: Rows of a kind that one sweep removes, in one transaction.
MOST = 2000

_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Kept:
    """One kind of rows. ``forget(transaction, before, limit)`` removes those that are older, and says how many."""

    what: str
    days: float
    forget: Callable[[Transaction, float, int], Awaitable[int]]


def kept(config: "Config") -> Sequence[Kept]:
    """All kinds that do not stay for ever."""
    statistics = config.statistics
    steps = (
        (60, statistics.keep_minutes),
        (300, statistics.keep_five_minutes),
        (3600, statistics.keep_hours),
        (86400, statistics.keep_days),
    )
    every = [
        *(Kept(f"samples of {step} s", days, samples.forgetter(step)) for step, days in steps),
        Kept("viewer sessions", config.analytics.keep, sessions.forget),
        Kept("audit log", config.audit.keep, forget_audit),
    ]
    return [each for each in every if each.days]


async def forget_audit(tx: Transaction, before: float, limit: int) -> int:
    """Remove entries of the audit log that are older, so many at most. How many that were."""
    return await tx.execute(
        "DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_log WHERE at < ? ORDER BY at LIMIT ?)", before, limit
    )


class Sweeper:
    """Runs for as long as the server does. ``clock`` is Unix time."""

    def __init__(self, db: Database, everything: Sequence[Kept], clock: Callable[[], float] = time.time) -> None:
        self._db = db
        self._kept = everything
        self._clock = clock

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            left = False
            try:
                left = await self.sweep()
            except DatabaseUnavailable as error:
                log.warning("rows_not_swept", extra={"facts": {"reason": str(error)}})
            except Exception:  # a bug must not fill the disk of a server that runs for months
                log.exception("sweeper_failed")
            await asyncio.sleep(PAUSE if left else INTERVAL)

    async def sweep(self) -> bool:
        """Remove what is too old, a bounded number of rows of each kind. Whether there may be more."""
        left = False
        for each in self._kept:
            async with self._db.write() as tx:
                removed = await each.forget(tx, self._clock() - each.days * _DAY, MOST)
            left = left or removed >= MOST
            if removed:
                log.info("rows_swept", extra={"facts": {"kind": each.what, "rows": removed}})
        return left
