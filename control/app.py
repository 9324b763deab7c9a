"""The control plane's web application: everything on the HTTP port that is not media."""

from collections import Counter
from collections.abc import Mapping
from ipaddress import ip_network
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.log import server_logger

from control import gate, middleware
from control.analytics import reports
from control.services import Resident
from control.streams import playback
from control.streams.titles import Titles
from control.system import routes as system
from control.system.service import Glance, LiveService, Snapshots
from control.web import routes as pages
from control.web.assets import Assets
from control.web.pages import Pages
from mediaserver.metrics import Metrics

if TYPE_CHECKING:
    from mediaserver.config import Config

#: What anybody may send to an address that takes a body, in bytes.
MAX_BODY = 1 << 18


def create_app(
    engine: Snapshots, config: "Config", *, resident: Resident | None = None, media_requests: Mapping[str, int] | None = None
) -> web.Application:
    """Pages, health and figures for ``engine``, and the API where there is a ``resident`` to answer it.

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
    titles = None if resident is None else Titles(resident.control.db)
    obstacle = None if resident is None else lambda: resident.watch.obstacle
    live = LiveService(engine, titles=titles, obstacle=obstacle)
    system.setup(app, live, Metrics(Glance(engine).snapshot, requests, media_requests or {}))
    pages.setup(app, Pages(config, assets), assets)
    if titles is not None:
        app.on_cleanup.append(titles.close)
    if resident is not None:
        playback.setup(app, resident.on_air)
        reports.setup(app, resident.attendance, resident.control.limiter)
        gate.setup(app, gate.Gate(resident, assets))
    return app
