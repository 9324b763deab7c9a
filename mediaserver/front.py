"""Everything on the HTTP port that is not media, put together: loaded with the first connection that asks for it.

Like ``__main__`` it is a place where engine and control plane meet.
"""

from aiohttp import web

from control.app import create_app
from control.services import Resident
from mediaserver.config import Config
from mediaserver.delivery.aiohttp_lane import lane, media_handler
from mediaserver.engine import Engine

__all__ = ["build", "lane"]


def build(engine: Engine, config: Config, resident: Resident) -> web.AppRunner:
    """The pages, figures and the API of ``engine``. Made in a thread: nothing in here may touch the loop."""
    app = create_app(engine, config, resident=resident, media_requests=engine.web.counters.requests)
    app.router.add_route("*", "/live/{tail:.*}", media_handler(engine.web))
    return web.AppRunner(app, handle_signals=False)
