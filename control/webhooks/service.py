"""All of webhooks that runs: opened with the application, closed after the engine, so that the last event goes out too."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from control.db import Database
from control.vault import Vault
from control.webhooks.announcer import Announcer
from control.webhooks.courier import Courier
from control.webhooks.sender import Resolve, Sender

if TYPE_CHECKING:
    from mediaserver.config import WebhooksConfig

#: Seconds that the last messages may take to be written down, and those on their way to arrive, when the server stops.
LAST_WORDS = 3.0


class Webhooks:
    """The Announcer fills the outbox, the Courier empties it."""

    def __init__(
        self, db: Database, vault: Vault, config: "WebhooksConfig", resolve: Resolve, clock: Callable[[], float] = time.time
    ) -> None:
        self.config = config
        self.resolve = resolve
        self._sender = Sender(resolve, config.timeout, config.max_jobs, "mediaserver")
        self.courier = Courier(db, vault, self._sender, config, clock)
        self.announcer = Announcer(db, vault, config.retry_for, self.courier.wake, clock)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Announce and send until the block is left; then finish what was begun."""
        loop = asyncio.get_running_loop()
        async with self._sender:
            announcing, sending = loop.create_task(self.announcer.run()), loop.create_task(self.courier.run())
            try:
                yield
            finally:
                await self.announcer.settled(LAST_WORDS)
                self.courier.wake()
                await self.courier.quiet(LAST_WORDS)
                for task in (announcing, sending):
                    task.cancel()
                await asyncio.gather(announcing, sending, return_exceptions=True)
                await self.courier.close()
