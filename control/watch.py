"""Whether the database answers: without it no push is let in, and who sends encoders here has to know that."""

import asyncio
import logging

from control.db import Database, DatabaseUnavailable

log = logging.getLogger(__name__)

#: Seconds between two looks, and before another one where one was in vain: a database that was busy for a moment is there.
INTERVAL, AGAIN = 5.0, 1.0


class Watch:
    """Looks now and then, whether anybody asks or not: nobody who asks has to wait."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._in_vain = 0

    @property
    def obstacle(self) -> str:
        """Why nobody can push; empty where the database answers."""
        return "the database does not answer" if self._in_vain > 1 else ""

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            try:
                await self.look()
            except Exception:  # a bug must not leave it at what was seen last
                log.exception("watch_failed")
            await asyncio.sleep(AGAIN if self._in_vain else INTERVAL)

    async def look(self) -> None:
        """Look now."""
        before = self.obstacle
        try:
            async with self._db.read() as tx:
                await tx.row("SELECT 1 AS one")
            self._in_vain = 0
        except DatabaseUnavailable as error:
            self._in_vain += 1
            if self.obstacle and not before:
                log.warning("not_ready", extra={"facts": {"reason": f"{self.obstacle}: {error}"}})
        if before and not self.obstacle:
            log.info("ready_again", extra={"facts": {"reason": "the database answers again"}})
