"""``/api/system``."""

import asyncio

from aiohttp import web

from control.health.schemas import Health, Performance, ServiceStates, SystemHealth, SystemStatus
from control.health.service import is_sound
from control.permissions import Permission
from control.rest import Call, Domain
from mediaserver.errors import Unavailable
from mediaserver.version import VERSION

health = Domain("System")


@health.get("/system/status", permission=Permission.SYSTEM, answer=SystemStatus, transaction=False, without_database=True)
async def show_status(call: Call) -> SystemStatus:
    """The machine, what the server stands on, and what it does now. Unhealthy exactly if /system/health says so"""
    prober = call.services.prober
    checks, usage, load = await asyncio.gather(prober.everything(), prober.usage(), prober.gauge.load())
    listens = checks.rtmp_server.status is Health.HEALTHY
    return SystemStatus(
        status=Health.HEALTHY if is_sound(checks) else Health.UNHEALTHY,
        version=VERSION,
        uptime=_uptime(call),
        system=usage,
        services=ServiceStates(
            database=checks.database.status,
            redis=checks.redis.status,
            nginx=checks.nginx.status,
            rtmp_server="running" if listens else "stopped",
        ),
        performance=_performance(call, load.media),
    )


def _uptime(call: Call) -> int:
    """Seconds since the server was started, whenever somebody asked for the first time."""
    try:
        return max(0, int(call.now - call.services.engine.snapshot().since))
    except Unavailable:
        return 0


def _performance(call: Call, media: float) -> Performance:
    """What the engine does, and the bytes that it moves in a second."""
    try:
        streams = call.services.engine.snapshot().streams
    except Unavailable:
        streams = ()
    return Performance(
        active_streams=sum(stream.publishing for stream in streams if not stream.source),
        total_bandwidth=round(media * 8 / 1000),
        concurrent_viewers=sum(sum(stream.players.values()) for stream in streams),
    )


@health.get(
    "/system/health", permission=Permission.SYSTEM, answer=SystemHealth, transaction=False, without_database=True, also=(503,)
)
async def show_health(call: Call) -> web.Response:
    """Every probe with its answer; 503 if one of them fails

    While the database does not answer, a token that the server has signed will do, and an API key that was used before.
    """
    checks = await call.services.prober.everything()
    sound = is_sound(checks)
    answer = SystemHealth(status=Health.HEALTHY if sound else Health.UNHEALTHY, checks=checks)
    return web.Response(body=answer.model_dump_json().encode(), status=200 if sound else 503, content_type="application/json")
