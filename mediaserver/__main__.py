"""The composition root: the only place where protocols, engine and control plane meet."""

import asyncio
import contextlib
import gc
import signal
from collections.abc import Callable

from aiohttp import web

from control.app import create_app
from control.bridge import ConfigAuthorizer, LoggingSink
from mediaserver.cli import DEMO_NAME, main
from mediaserver.config import Config
from mediaserver.delivery.aiohttp_lane import lane, media_handler
from mediaserver.engine import Engine
from mediaserver.preflight import reachable

#: Seconds that players may take to get what is on its way when the server stops.
DRAIN = 5.0


async def serve(config: Config, *, demo: bool = False, ready: Callable[[], None] | None = None) -> None:
    """Serve until SIGINT or SIGTERM, then drain. ``ready`` is called once the ports are open.

    ``demo`` publishes colour bars under the name ``demo``. Raises OSError when a port is taken.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    engine = Engine(config, ConfigAuthorizer(config.auth), LoggingSink())
    app = create_app(engine, config, media_requests=engine.web.counters.requests)
    app.router.add_route("*", "/live/{tail:.*}", media_handler(engine.web))
    runner = web.AppRunner(app, handle_signals=False)
    await runner.setup()
    try:
        await engine.start(lane(runner, config.http.keepalive_timeout))
        # What exists now lives as long as the process: no collection need look at it again. And packets die by
        # reference count, so the cycle collector may sleep longer than its default of 700 allocations; not so long that a
        # look at what a crowd has brought holds up a picture (2 000 objects: 0.4 ms), nor often at what has proved to last.
        gc.collect()
        gc.freeze()
        gc.set_threshold(2_000, 500, 50)
        if ready is not None:
            ready()
        async with contextlib.AsyncExitStack() as stack:
            if demo:
                from mediaserver.ingest.colorbars import colorbars  # noqa: PLC0415 - only the demo needs it

                await stack.enter_async_context(
                    colorbars(f"rtmp://{reachable(config.rtmp.host)}:{config.rtmp.port}/{config.rtmp.app}/{DEMO_NAME}")
                )
            await stopping.wait()
    finally:
        await engine.stop(DRAIN)
        await runner.cleanup()


def run() -> None:
    """What the program ``mediaserver`` and ``python -m mediaserver`` run."""
    main(serve)


if __name__ == "__main__":
    run()
