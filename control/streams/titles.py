"""What streams are called, for whoever sees them on air."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping

from control.db import Database, DatabaseUnavailable
from control.streams import models
from control.streams.onair import stream_id_of

#: Seconds for which an answer serves again; that a database is waited for; and until one that did not answer is asked again.
FRESH, PATIENCE, AWAY = 2.0, 1.0, 10.0


class Titles:
    """The names of stream rows, by the names under which they play. ``clock`` is a monotonic one, in seconds."""

    def __init__(self, db: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._clock = clock
        self._known: dict[int, str] = {}
        self._ask_at = float("-inf")
        self._at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def of(self, names: Collection[str]) -> Mapping[str, str]:
        """Of those of ``names`` that are rows' streams or their renditions. As it was, while the database does not answer."""
        ids = {name: stream_id for name in names if (stream_id := stream_id_of(name)) is not None}
        now = self._clock()
        stale = now - self._at >= FRESH or not self._known.keys() >= set(ids.values())
        if ids and stale and now >= self._ask_at and self._reading is None:
            await self._ask(set(ids.values()), now)
        return {name: title for name, stream_id in ids.items() if (title := self._known.get(stream_id))}

    async def close(self, _app: object = None) -> None:
        """End what is still being read."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait((self._reading,), timeout=PATIENCE)

    async def _ask(self, stream_ids: Collection[int], now: float) -> None:
        reading = self._reading = asyncio.get_running_loop().create_task(self._read(stream_ids, now))
        # The list of what is live does not wait for it any longer. It is left alone, and not cancelled: to leave the
        # transaction would hang as well.
        await asyncio.wait((reading,), timeout=PATIENCE)
        if not reading.done():
            self._ask_at = now + AWAY
        elif not reading.cancelled():
            reading.result()

    async def _read(self, stream_ids: Collection[int], now: float) -> None:
        try:
            async with self._db.read() as tx:
                found = await models.names(tx, stream_ids)
            # Of a row that is gone it is known that there is nothing.
            self._known, self._at = dict.fromkeys(stream_ids, "") | found, now
        except DatabaseUnavailable:
            self._ask_at = self._clock() + AWAY
        finally:
            self._reading = None
