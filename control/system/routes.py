"""``/api/live``, ``/metrics``, ``/healthz``, ``/readyz``."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from aiohttp import web

from control.errors import NotFoundError
from control.system.porter import rendered
from control.system.schemas import Schema
from control.system.service import LiveService
from mediaserver.metrics import Metrics
from mediaserver.ports import is_name

LIVE: web.AppKey[LiveService] = web.AppKey("live", LiveService)
METRICS: web.AppKey[Metrics] = web.AppKey("metrics", Metrics)


def setup(app: web.Application, live: LiveService, metrics: Metrics) -> None:
    """Add this domain's routes and what runs beside them to ``app``."""
    app[LIVE] = live
    app[METRICS] = metrics
    app.cleanup_ctx.append(_sample_lag)
    app.router.add_get("/api/live", show_live)
    app.router.add_get("/api/live/{name}", show_stream)
    app.router.add_get("/api/time", show_time)
    app.router.add_get("/metrics", show_metrics)
    app.router.add_get("/healthz", show_alive)
    app.router.add_get("/readyz", show_ready)


async def _sample_lag(app: web.Application) -> AsyncIterator[None]:
    async with app[METRICS].lag:
        yield


async def show_live(request: web.Request) -> web.Response:
    """Everything that is live now."""
    return _json(await request.app[LIVE].everything())


async def show_stream(request: web.Request) -> web.Response:
    """One stream, null while nobody publishes it; 404 for what can be no stream's name."""
    name = request.match_info["name"]
    if not is_name(name):
        raise NotFoundError("No stream can have this name.")
    return _json(_render(await request.app[LIVE].stream(name)))


async def show_time(_request: web.Request) -> web.Response:
    """This server's time as an xs:dateTime, for a DASH player's clock (UTCTiming, ISO/IEC 23009-1, 5.8.4.11)."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return web.Response(text=now, headers={"Cache-Control": "no-store"})


async def show_metrics(request: web.Request) -> web.Response:
    """Prometheus's text, or OpenMetrics if that is what the scraper prefers."""
    body, content_type = await request.app[METRICS].render(request.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})


async def show_alive(request: web.Request) -> web.Response:
    """200 as long as the event loop turns."""
    status, body = rendered(request.app[LIVE].alive())
    return _json(body, status)


async def show_ready(request: web.Request) -> web.Response:
    """503 while starting or draining, and while no push is let in: send nobody here."""
    status, body = rendered(request.app[LIVE].health())
    return _json(body, status)


def _render(answer: Schema) -> bytes:
    return answer.model_dump_json(by_alias=True).encode()


def _json(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json", headers={"Cache-Control": "no-store"})
