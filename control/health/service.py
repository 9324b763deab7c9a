"""Probes with a deadline each. No web framework in here, but for the client that asks nginx."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Protocol

import psutil

from control.db import Database, DatabaseUnavailable
from control.health.gauge import Gauge, Snapshots
from control.health.schemas import (
    Checks,
    EncoderResult,
    Health,
    NetworkResult,
    PortResult,
    ProbeResult,
    StorageResult,
    SystemUsage,
)

if TYPE_CHECKING:
    from mediaserver.config import Config

#: Seconds that a probe may take.
PATIENCE = 3.0
#: Seconds for which a result serves everybody who asks.
FRESH = 2.0
#: Less room than this (bytes) is none.
LEAST_ROOM = 100_000_000


class Engine(Snapshots, Protocol):
    """The part of the engine's door that is needed here."""

    rtmp_since: float

    async def encoders(self) -> tuple[str, ...]: ...

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]: ...


@dataclass(slots=True)
class Prober:
    """Asks, and remembers the answers for a moment. What hangs is asked once, and unhealthy for as long as it does."""

    config: "Config"
    db: Database
    engine: Engine
    gauge: Gauge = field(init=False)
    _known: dict[str, ProbeResult] = field(default_factory=dict)
    _asking: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    #: What the disk and the interfaces said when they were asked last; nothing if they did not answer.
    _disk: Any = None
    _speed: int = 0

    def __post_init__(self) -> None:
        self.gauge = Gauge(self.engine)

    async def everything(self) -> Checks:
        """All probes, at the same time."""
        (database, redis, nginx, network), storage, encoders, load = await asyncio.gather(
            asyncio.gather(self._database(), self._redis(), self._nginx(), self._network()),
            self._storage(),
            self._encoders(),
            self.gauge.load(),
        )
        listens = self.engine.rtmp_since > 0
        return Checks(
            database=database,
            redis=redis,
            nginx=nginx,
            storage=storage,
            network=NetworkResult(
                status=network.status,
                bandwidth_available=f"{self._speed}Mbps" if self._speed else "unknown",
                bandwidth_used=f"{round(load.network * 8 / 1e6)}Mbps",
            ),
            rtmp_server=PortResult(status=Health.HEALTHY if listens else Health.UNHEALTHY, port=self.config.rtmp.port),
            encoders=encoders,
        )

    async def usage(self) -> SystemUsage:
        """The machine in the last seconds; a disk that does not answer has no room."""
        load, _ = await asyncio.gather(self.gauge.load(), self._storage())
        return SystemUsage(
            cpu_usage=load.cpu,
            memory_usage=psutil.virtual_memory().percent,
            disk_usage=100.0 if self._disk is None else self._disk.percent,
            load_average=[round(average, 2) for average in psutil.getloadavg()],
        )

    async def _ask(self, name: str, question: Callable[[], Awaitable[None]]) -> ProbeResult:
        known = self._known.get(name)
        if known is not None and time.time() - known.last_check < FRESH:
            return known
        asking = self._asking.get(name)
        if asking is None or asking.done():
            asking = self._asking[name] = self.engine.spawn(self._answer(name, question))
        await asyncio.wait((asking,), timeout=PATIENCE)
        if not asking.done() or asking.cancelled():
            # Left alone, and not cancelled: of a thread that waits for a disk nobody can say when it is back.
            self._known[name] = _result(Health.UNHEALTHY, PATIENCE)
        return self._known[name]

    async def _answer(self, name: str, question: Callable[[], Awaitable[None]]) -> None:
        began = time.perf_counter()
        try:
            await question()
            health = Health.HEALTHY
        except (OSError, TimeoutError, DatabaseUnavailable, ProbeFailed):
            health = Health.UNHEALTHY
        took = time.perf_counter() - began
        self._known[name] = _result(health if took <= PATIENCE else Health.UNHEALTHY, took)

    # -- services -----------------------------------------------------------------------------------------------------

    async def _database(self) -> ProbeResult:
        return await self._ask("database", self._write)

    async def _write(self) -> None:
        # One that can be read and not written to (locked, full) is of no use: a row is written as it is.
        async with self.db.write() as tx:
            await tx.execute("UPDATE migrations SET at = at WHERE number = 1")

    async def _redis(self) -> ProbeResult:
        if not self.config.redis.url.get_secret_value():
            return _not_configured()
        return await self._ask("redis", self._ping)

    async def _ping(self) -> None:
        from redis.asyncio import Redis  # noqa: PLC0415 - an extra
        from redis.exceptions import RedisError  # noqa: PLC0415

        client = Redis.from_url(self.config.redis.url.get_secret_value(), socket_timeout=PATIENCE)
        try:
            async with asyncio.timeout(PATIENCE):
                await client.ping()
        except RedisError as error:
            raise ProbeFailed from error
        finally:
            await client.aclose()

    async def _nginx(self) -> ProbeResult:
        # The server does its own work: there is no nginx unless somebody puts one in front, and then that one is asked.
        if not self.config.http.nginx_status_url:
            return _not_configured()
        return await self._ask("nginx", self._get_nginx)

    async def _get_nginx(self) -> None:
        from aiohttp import ClientError, ClientSession  # noqa: PLC0415

        try:
            url = self.config.http.nginx_status_url
            async with asyncio.timeout(PATIENCE), ClientSession() as session, session.get(url, allow_redirects=False) as answer:
                if answer.status >= 500:
                    raise ProbeFailed
        except ClientError as error:
            raise ProbeFailed from error

    # -- the machine --------------------------------------------------------------------------------------------------

    async def _storage(self) -> StorageResult:
        """The disk that holds the server's state."""
        health = (await self._ask("storage", self._look_at_disk)).status
        free, total = (0, 0) if self._disk is None else (self._disk.free, self._disk.total)
        return StorageResult(status=health, free_space=_gigabytes(free), total_space=_gigabytes(total))

    async def _look_at_disk(self) -> None:
        self._disk = None
        # In a thread: a network's disk may hang, and media goes on.
        self._disk = await asyncio.to_thread(psutil.disk_usage, self.config.server.data_dir)
        if self._disk.free < LEAST_ROOM:
            raise ProbeFailed

    async def _network(self) -> ProbeResult:
        return await self._ask("network", self._look_at_interfaces)

    async def _look_at_interfaces(self) -> None:
        stats = await asyncio.to_thread(psutil.net_if_stats)
        addresses = await asyncio.to_thread(psutil.net_if_addrs)
        outward = [each for each in stats.values() if each.isup and "loopback" not in each.flags]
        self._speed = sum(each.speed for each in outward if each.speed > 0)
        up = {name for name, each in stats.items() if each.isup}
        here = {address.address.partition("%")[0]: name for name, each in addresses.items() for address in each}
        for host in (self.config.http.host, self.config.rtmp.host):
            if not (here.get(host) in up if _is_one(host, here) else outward):
                raise ProbeFailed

    async def _encoders(self) -> EncoderResult:
        try:
            async with asyncio.timeout(PATIENCE):
                found = await self.engine.encoders()
        except TimeoutError:
            return EncoderResult(status=Health.UNKNOWN, encoders=[])
        return EncoderResult(status=Health.HEALTHY if found else Health.UNHEALTHY, encoders=sorted(found))


class ProbeFailed(Exception):
    """It answered, and not well."""


def is_sound(checks: Checks) -> bool:
    """Whether nothing that was looked at is unhealthy."""
    return all(getattr(checks, name).status is not Health.UNHEALTHY for name in Checks.model_fields)


def _is_one(host: str, here: Mapping[str, str]) -> bool:
    """Whether ``host`` is one address, rather than all of them or a name."""
    try:
        return host in here or not ip_address(host).is_unspecified
    except ValueError:
        return False


def _result(health: Health, took: float) -> ProbeResult:
    return ProbeResult(status=health, response_time=round(took * 1000), last_check=time.time())


def _not_configured() -> ProbeResult:
    return _result(Health.NOT_CONFIGURED, 0.0)


def _gigabytes(count: int) -> str:
    return f"{count // 10**9}GB"
