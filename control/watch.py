"""Whether the database answers: without it no push is let in, and who sends encoders here has to know that."""

import asyncio
import logging

from control.db import Database, DatabaseUnavailable

log = logging.getLogger(__name__)

#: Seconds between two looks, and before another one where one was in vain: a database that was busy for a moment is there.
INTERVAL, AGAIN = 5.0, 1.0
#: Seconds that an answer may take: what hangs (a server, a network, a disk) does not say so.
PATIENCE = 5.0


class Watch:
    """Looks now and then, whether anybody asks or not: nobody who asks has to wait."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._in_vain = 0
        self._asking: asyncio.Task[DatabaseUnavailable | None] | None = None

    @property
    def obstacle(self) -> str:
        """Why nobody can push; empty where the database answers."""
        return "the database does not answer" if self._in_vain > 1 else ""

    async def run(self) -> None:
        """Look, for ever."""
        try:
            while True:
                try:
                    await self.look()
                except Exception:  # a bug must not leave it at what was seen last
                    log.exception("watch_failed")
                await asyncio.sleep(AGAIN if self._in_vain else INTERVAL)
        finally:
            if self._asking is not None:
                self._asking.cancel()
                await asyncio.wait((self._asking,), timeout=PATIENCE)

    async def look(self) -> None:
        """Look now, or once more for the answer to a look that hangs."""
        before = self.obstacle
        asking = self._asking = self._asking or asyncio.get_running_loop().create_task(self._ask())
        # Left alone when its time is over, and not cancelled: to leave the transaction would hang as well. A server that stood
        # still itself has waited in vain for once, and finds the answer at its next look.
        await asyncio.wait((asking,), timeout=PATIENCE)
        error: DatabaseUnavailable | None = DatabaseUnavailable(f"nothing for {PATIENCE:g} s")
        if asking.done():
            self._asking = None
            error = asking.result()
        self._in_vain = 0 if error is None else self._in_vain + 1
        if self.obstacle and not before:
            log.warning("not_ready", extra={"facts": {"reason": f"{self.obstacle}: {error}"}})
        if before and not self.obstacle:
            log.info("ready_again", extra={"facts": {"reason": "the database answers again"}})

    async def _ask(self) -> DatabaseUnavailable | None:
        try:
            async with self._db.read() as tx:
                await tx.row("SELECT 1 AS one")
        except DatabaseUnavailable as error:
            return error
        return None
