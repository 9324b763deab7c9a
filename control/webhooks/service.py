"""All of webhooks that runs: opened before the engine, closed after it, so that the last event goes out too."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING

from control.db import Database
from control.ondemand import SENDER
from control.vault import Vault
from control.webhooks.announcer import Announcer
from control.webhooks.courier import Courier, Post
from control.webhooks.outcome import Outcome
from mediaserver.ondemand import load

if TYPE_CHECKING:
    from control.webhooks.sender import Resolve
    from mediaserver.config import WebhooksConfig

#: Seconds that the last messages may take to be written down, and those on their way to arrive, when the server stops.
LAST_WORDS = 3.0


class Webhooks:
    """The Announcer fills the outbox, the Courier empties it."""

    def __init__(
        self, db: Database, vault: Vault, config: "WebhooksConfig", resolve: "Resolve", clock: Callable[[], float] = time.time
    ) -> None:
        self.config = config
        self.resolve = resolve
        self._sender = _LateSender(resolve, config)
        self.courier = Courier(db, vault, self._sender, config, clock)
        self.announcer = Announcer(db, vault, config.retry_for, self.courier.wake, clock)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Announce and send until the block is left; then finish what was begun."""
        loop = asyncio.get_running_loop()
        async with contextlib.aclosing(self._sender):
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


class _LateSender:
    """A Sender from the first POST on: a server without webhooks does without an HTTP client."""

    def __init__(self, resolve: "Resolve", config: "WebhooksConfig") -> None:
        self._resolve = resolve
        self._config = config
        self._opening = asyncio.Lock()
        self._opened = contextlib.AsyncExitStack()
        self._sender: Post | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        sender = self._sender or await self._open()
        return await sender.post(url, body, headers)

    async def _open(self) -> Post:
        async with self._opening:
            if self._sender is None:  # nobody was faster
                made = (await load(SENDER)).Sender(self._resolve, self._config.timeout, self._config.max_jobs, "mediaserver")
                opened: Post = await self._opened.enter_async_context(made)
                self._sender = opened
            return self._sender

    async def aclose(self) -> None:
        """Give back what it holds. Harmless if nothing was sent."""
        self._sender = None
        await self._opened.aclose()
