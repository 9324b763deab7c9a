"""Probes with a deadline each. No web framework in here, but for the client that asks nginx."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from control.db import Database, DatabaseUnavailable
from control.health.schemas import Health, NetworkResult, ProbeResult, StorageResult, SystemUsage

if TYPE_CHECKING:
    from mediaserver.config import Config

#: Seconds that a probe may take.
PATIENCE = 3.0
#: Seconds for which a result serves everybody who asks.
FRESH = 2.0
#: Less room than this (bytes) is none.
LEAST_ROOM = 100_000_000


@dataclass(slots=True)
class _Traffic:
    """Bytes that the machine has moved, and when that was looked at last."""

    at: float
    total: int
    rate: float = 0.0


@dataclass(slots=True)
class Prober:
    """Asks, and remembers the answers for a moment."""

    config: "Config"
    db: Database
    _known: dict[str, ProbeResult] = field(default_factory=dict)
    _traffic: _Traffic | None = None

    def __post_init__(self) -> None:
        psutil.cpu_percent()  # the first answer is of no use: it begins the measurement

    async def database(self) -> ProbeResult:
        """A statement that reads nothing."""
        return await self._ask("database", self._select)

    async def redis(self) -> ProbeResult:
        """PING, where a server is configured."""
        if not self.config.redis.url.get_secret_value():
            return _not_configured()
        return await self._ask("redis", self._ping)

    async def nginx(self) -> ProbeResult:
        """The server does its own work: there is no nginx unless somebody puts one in front, and then that one is asked."""
        if not self.config.http.nginx_status_url:
            return _not_configured()
        return await self._ask("nginx", self._get_nginx)

    async def _ask(self, name: str, question: Callable[[], Awaitable[None]]) -> ProbeResult:
        now = time.time()
        known = self._known.get(name)
        if known is not None and now - known.last_check < FRESH:
            return known
        began = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE):
                await question()
            health = Health.HEALTHY
        except (OSError, TimeoutError, DatabaseUnavailable, ProbeFailed):
            health = Health.UNHEALTHY
        milliseconds = round((time.perf_counter() - began) * 1000)
        known = self._known[name] = ProbeResult(status=health, response_time=milliseconds, last_check=now)
        return known

    async def _select(self) -> None:
        async with self.db.read() as tx:
            await tx.row("SELECT 1 AS one")

    async def _ping(self) -> None:
        from redis.asyncio import Redis  # noqa: PLC0415 - an extra
        from redis.exceptions import RedisError  # noqa: PLC0415

        client = Redis.from_url(self.config.redis.url.get_secret_value(), socket_timeout=PATIENCE)
        try:
            await client.ping()
        except RedisError as error:
            raise ProbeFailed from error
        finally:
            await client.aclose()

    async def _get_nginx(self) -> None:
        from aiohttp import ClientError, ClientSession  # noqa: PLC0415

        try:
            url = self.config.http.nginx_status_url
            async with ClientSession() as session, session.get(url, allow_redirects=False) as answer:
                if answer.status >= 500:
                    raise ProbeFailed
        except ClientError as error:
            raise ProbeFailed from error

    def storage(self) -> StorageResult:
        """The disk that holds the server's state."""
        try:
            usage = shutil.disk_usage(Path(self.config.server.data_dir))
        except OSError:
            return StorageResult(status=Health.UNHEALTHY, free_space="0GB", total_space="0GB")
        health = Health.HEALTHY if usage.free >= LEAST_ROOM else Health.UNHEALTHY
        return StorageResult(status=health, free_space=_gigabytes(usage.free), total_space=_gigabytes(usage.total))

    def network(self) -> NetworkResult:
        """Interfaces that are up, and what they move."""
        up = [stats for name, stats in psutil.net_if_stats().items() if stats.isup and name != "lo"]
        speed = sum(stats.speed for stats in up if stats.speed > 0)
        counters = psutil.net_io_counters()
        moved, now = counters.bytes_sent + counters.bytes_recv, time.monotonic()
        before = self._traffic
        if before is None:
            self._traffic = _Traffic(now, moved)
        elif now - before.at >= FRESH:
            self._traffic = _Traffic(now, moved, max(0, moved - before.total) / (now - before.at))
        rate = 0.0 if self._traffic is None else self._traffic.rate
        return NetworkResult(
            status=Health.HEALTHY,
            bandwidth_available=f"{speed}Mbps" if speed else "unknown",
            bandwidth_used=f"{round(rate * 8 / 1e6)}Mbps",
        )

    def usage(self) -> SystemUsage:
        """The machine since this was asked last."""
        try:
            disk = psutil.disk_usage(self.config.server.data_dir).percent
        except OSError:
            disk = 100.0
        return SystemUsage(
            cpu_usage=psutil.cpu_percent(),
            memory_usage=psutil.virtual_memory().percent,
            disk_usage=disk,
            load_average=[round(load, 2) for load in psutil.getloadavg()],
        )


class ProbeFailed(Exception):
    """It answered, and not well."""


def _not_configured() -> ProbeResult:
    return ProbeResult(status=Health.NOT_CONFIGURED, response_time=0, last_check=time.time())


def _gigabytes(count: int) -> str:
    return f"{count // 10**9}GB"
