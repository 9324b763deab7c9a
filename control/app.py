"""The control plane's web application: everything on the HTTP port that is not media."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from ipaddress import ip_network
from typing import TYPE_CHECKING, cast

from aiohttp import web
from aiohttp.log import server_logger

from control import gate, middleware
from control.live import listening
from control.live.pulse import Pulse
from control.live.service import LiveUpdates
from control.plane import ControlPlane
from control.services import RESIDENT, Resident
from control.statistics.service import Sampler
from control.streams import playback
from control.streams.conductor import Conductor
from control.streams.onair import OnAir
from control.system import routes as system
from control.system.service import Glance, LiveService, Snapshots
from control.web import routes as pages
from control.web.assets import Assets
from control.web.pages import Pages
from control.webhooks.service import Webhooks
from mediaserver.metrics import Metrics

if TYPE_CHECKING:
    from mediaserver.config import Config
    from mediaserver.engine import Engine

#: What anybody may send to an address that takes a body, in bytes.
MAX_BODY = 1 << 20


def create_app(
    engine: Snapshots, config: "Config", *, control: ControlPlane | None = None, media_requests: Mapping[str, int] | None = None
) -> web.Application:
    """Pages, health and figures for ``engine``, and the API where there is a ``control`` to answer it.

    ``media_requests`` is a live count of the players' HTTP requests by kind (playlist, segment …), which never pass
    through here; the metrics show it beside the application's own.
    """
    passed = [
        middleware.identify, middleware.count, middleware.render_errors, middleware.authenticate, middleware.limit_rate,
        middleware.read_body,
    ]  # fmt: skip
    app = web.Application(middlewares=passed, client_max_size=MAX_BODY)
    server_logger.addFilter(middleware.quiet)
    requests: Counter[str] = Counter()
    app[middleware.REQUESTS] = requests
    app[middleware.BODY_TIMEOUT] = config.http.header_timeout
    app[middleware.CORS_ORIGINS] = config.http.cors_origins
    app[middleware.TRUSTED_PROXIES] = tuple(ip_network(text) for text in config.http.trusted_proxies)
    app.on_response_prepare.append(middleware.add_headers)
    assets = Assets()
    system.setup(app, LiveService(engine), Metrics(Glance(engine).snapshot, requests, media_requests or {}))
    pages.setup(app, Pages(config, assets), assets)
    if control is not None:
        resident = app[RESIDENT] = _resident(cast("Engine", engine), config, control)
        pulse = Pulse(resident.on_air)
        listening.setup(app, control.feed, pulse, resident.webhooks, resident.live)
        playback.setup(app)
        gate.setup(app, gate.Gate(control, resident, assets))
        app.cleanup_ctx.append(_beside(Sampler(control.db, resident.on_air).run))
    return app


def _resident(engine: "Engine", config: "Config", control: ControlPlane) -> Resident:
    on_air = OnAir(engine)
    conductor = Conductor(engine, control.db, control.vault, on_air)
    control.feed.tell(conductor.on_event)
    return Resident(
        config=config,
        db=control.db,
        engine=engine,
        limiter=control.limiter,
        vault=control.vault,
        feed=control.feed,
        authorizer=control.authorizer,
        on_air=on_air,
        conductor=conductor,
        webhooks=Webhooks(control.db, control.vault, config.webhooks, engine.resolve, control.clock),
        live=LiveUpdates(control.db, control.clock),
    )


def _beside(work: Callable[[], Coroutine[None, None, None]]) -> Callable[[web.Application], AsyncIterator[None]]:
    """``work`` runs for as long as the application does."""

    async def context(_app: web.Application) -> AsyncIterator[None]:
        task = asyncio.get_running_loop().create_task(work())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    return context
