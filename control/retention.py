"""What is kept for so many days and no longer, or no longer than its stream: one sweeper for all of it, a little at a time."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from control.analytics import models as sessions
from control.db import Database, DatabaseUnavailable, Transaction
from control.statistics import models as samples

if TYPE_CHECKING:
    from mediaserver.config import Config

log = logging.getLogger(__name__)

#: Seconds between two sweeps of what is old, and of what streams that are gone have left; and until the next where something is
#: left still: others want to write as well.
INTERVAL, ORPHANED, PAUSE = 3600.0, 60.0, 1.0
#: Rows of a kind that one sweep removes, in one transaction.
MOST = 2000

_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Kept:
    """One kind of rows. ``forget(transaction, before, limit)`` removes those that are older, and says how many."""

    what: str
    days: float
    forget: Callable[[Transaction, float, int], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Owned:
    """One kind of rows that belong to a stream, in ``table``, which has an index that begins with ``stream_id``.
    ``forget(transaction, stream_id, limit)`` removes some of a stream's, and says how many."""

    table: str
    forget: Callable[[Transaction, int, int], Awaitable[int]]

    async def gone(self, tx: Transaction) -> Sequence[int]:
        """Streams that are gone and have rows still, some of them. Looks once for each stream, not at each row."""
        rows = await tx.rows(
            f"WITH RECURSIVE known (id) AS (SELECT min(stream_id) FROM {self.table} UNION ALL"  # noqa: S608 - a table of ours
            f" SELECT (SELECT min(stream_id) FROM {self.table} WHERE stream_id > known.id) FROM known WHERE known.id IS NOT NULL)"
            " SELECT id FROM known WHERE id IS NOT NULL AND id NOT IN (SELECT id FROM streams) LIMIT 100"
        )
        return [row["id"] for row in rows]


#: All of them.
OWNED = (Owned("samples", samples.forget_stream), Owned("viewer_sessions", sessions.forget_stream))


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
        old_at = 0.0
        while True:
            left = await self.sweep_orphans()
            now = self._clock()
            if now >= old_at or old_at > now + INTERVAL:  # the clock may be set back
                more = await self.sweep()
                old_at = now + (PAUSE if more else INTERVAL)
                left = left or more
            await asyncio.sleep(PAUSE if left else ORPHANED)

    async def sweep(self) -> bool:
        """Remove what is too old, a bounded number of rows of each kind. Whether there may be more."""
        left = False
        for each in self._kept:
            with _going_on(each.what):
                async with self._db.write() as tx:
                    removed = await each.forget(tx, self._clock() - each.days * _DAY, MOST)
                left = left or removed >= MOST
                if removed:
                    log.info("rows_swept", extra={"facts": {"kind": each.what, "rows": removed}})
        return left

    async def sweep_orphans(self) -> bool:
        """Remove what is left of streams that are gone, likewise."""
        left = False
        for each in OWNED:
            with _going_on(each.table):
                removed = await self._sweep_owned(each)
                left = left or removed >= MOST
        return left

    async def _sweep_owned(self, each: Owned) -> int:
        async with self._db.read() as tx:
            gone = await each.gone(tx)
        removed = 0
        for stream_id in gone:
            if removed < MOST:
                async with self._db.write() as tx:
                    removed += await each.forget(tx, stream_id, MOST - removed)
        if removed:
            log.info("rows_swept", extra={"facts": {"kind": f"{each.table} of streams that are gone", "rows": removed}})
        return removed


@contextlib.contextmanager
def _going_on(kind: str) -> Iterator[None]:
    """What one kind of rows comes to grief with is not the next one's: a bug must not fill the disk of a server that runs for
    months."""
    try:
        yield
    except DatabaseUnavailable as error:
        log.warning("rows_not_swept", extra={"facts": {"kind": kind, "reason": str(error)}})
    except Exception:
        log.exception("sweeper_failed", extra={"facts": {"kind": kind}})
