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

    async def of(self, names: Collection[str]) -> Mapping[str, str]:
        """Of those of ``names`` that are rows' streams or their renditions. As it was, while the database does not answer."""
        ids = {name: stream_id for name in names if (stream_id := stream_id_of(name)) is not None}
        now = self._clock()
        stale = now - self._at >= FRESH or not self._known.keys() >= set(ids.values())
        if ids and stale and now >= self._ask_at:
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._read(set(ids.values()))
                self._at = now
            except (DatabaseUnavailable, TimeoutError):
                # The list of what is live does not wait for it.
                self._ask_at = now + AWAY
        return {name: title for name, stream_id in ids.items() if (title := self._known.get(stream_id))}

    async def _read(self, stream_ids: Collection[int]) -> None:
        async with self._db.read() as tx:
            found = await models.names(tx, stream_ids)
        # Of a row that is gone it is known that there is nothing.
        self._known = dict.fromkeys(stream_ids, "") | found
