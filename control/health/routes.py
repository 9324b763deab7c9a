"""``/api/system``."""

import asyncio

from aiohttp import web

from control.health.schemas import (
    Checks,
    EncoderResult,
    Health,
    Performance,
    PortResult,
    ServiceStates,
    SystemHealth,
    SystemStatus,
)
from control.health.service import PATIENCE
from control.permissions import Permission
from control.rest import Call, Domain
from mediaserver.errors import Unavailable
from mediaserver.version import VERSION

health = Domain("System")


@health.get("/system/status", permission=Permission.SYSTEM, answer=SystemStatus, transaction=False)
async def show_status(call: Call) -> SystemStatus:
    """The machine, what the server stands on, and what it does now"""
    services, prober = call.services, call.services.prober
    database, redis, nginx = await asyncio.gather(prober.database(), prober.redis(), prober.nginx())
    running = services.engine.rtmp_since > 0
    sound = Health.UNHEALTHY not in {database.status, redis.status, nginx.status}
    return SystemStatus(
        status=Health.HEALTHY if sound else Health.UNHEALTHY,
        version=VERSION,
        uptime=_uptime(call),
        system=prober.usage(),
        services=ServiceStates(
            database=database.status, redis=redis.status, nginx=nginx.status, rtmp_server="running" if running else "stopped"
        ),
        performance=_performance(call),
    )


def _uptime(call: Call) -> int:
    """Seconds since the server was started, whenever somebody asked for the first time."""
    try:
        return max(0, int(call.now - call.services.engine.snapshot().since))
    except Unavailable:
        return 0


def _performance(call: Call) -> Performance:
    try:
        seen = call.services.engine.snapshot()
    except Unavailable:
        return Performance(active_streams=0, total_bandwidth=0, concurrent_viewers=0)
    sources = [stream for stream in seen.streams if not stream.source]
    traffic = sum(stream.bitrate * (1 + sum(stream.players.values())) for stream in seen.streams)
    return Performance(
        active_streams=sum(stream.publishing for stream in sources),
        total_bandwidth=traffic // 1000,
        concurrent_viewers=sum(sum(stream.players.values()) for stream in seen.streams),
    )


@health.get("/system/health", permission=Permission.SYSTEM, answer=SystemHealth, transaction=False, also=(503,))
async def show_health(call: Call) -> web.Response:
    """Every probe with its answer; 503 if one of them fails"""
    services, prober = call.services, call.services.prober
    database, redis, nginx = await asyncio.gather(prober.database(), prober.redis(), prober.nginx())
    running = services.engine.rtmp_since > 0
    checks = Checks(
        database=database,
        redis=redis,
        nginx=nginx,
        storage=prober.storage(),
        network=prober.network(),
        rtmp_server=PortResult(status=Health.HEALTHY if running else Health.UNHEALTHY, port=services.config.rtmp.port),
        encoders=await _encoders(call),
    )
    sound = Health.UNHEALTHY not in {
        database.status, redis.status, nginx.status, checks.storage.status, checks.network.status, checks.rtmp_server.status,
    }  # fmt: skip
    answer = SystemHealth(status=Health.HEALTHY if sound else Health.UNHEALTHY, checks=checks)
    return web.Response(body=answer.model_dump_json().encode(), status=200 if sound else 503, content_type="application/json")


async def _encoders(call: Call) -> EncoderResult:
    try:
        async with asyncio.timeout(PATIENCE):
            found = await call.services.engine.encoders()
    except TimeoutError:
        return EncoderResult(status=Health.UNKNOWN, encoders=[])
    return EncoderResult(status=Health.HEALTHY if found else Health.UNHEALTHY, encoders=sorted(found))
