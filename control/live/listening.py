"""Who listens to what the engine tells, for as long as the application lives."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from control.feed import Feed
from control.live.pulse import Pulse
from control.live.service import LiveUpdates
from control.webhooks.service import Webhooks


def setup(app: web.Application, feed: Feed, pulse: Pulse, webhooks: Webhooks, updates: LiveUpdates) -> None:
    """Begin with ``app``, before the engine; end with it, after the engine, whose last events are told too."""
    feed.tell(webhooks.announcer.on_event)
    feed.tell(updates.on_event)
    pulse.tell(webhooks.announcer.on_watched)
    pulse.tell(updates.on_watched)

    async def running(_: web.Application) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        async with webhooks.running():
            tasks = [loop.create_task(pulse.run()), loop.create_task(updates.run())]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def close(_: web.Application) -> None:
        updates.close()

    app.cleanup_ctx.append(running)
    # Before connections are waited for: a reader would stay for ever.
    app.on_shutdown.append(close)
