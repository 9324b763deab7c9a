"""The machine and what the server stands on, over engines, disks and clocks that a test arranges."""

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from control.db import DatabaseUnavailable, Transaction
from control.health import gauge, service
from mediaserver.snapshot import EngineSnapshot
from mediaserver.version import VERSION
from tests.control.conftest import OpenPanel
from tests.control.contract.conftest import ObedientEngine
from tests.control.panel import Panel, Person

MEGABIT = 125_000
ROOM = SimpleNamespace(free=50 * 10**9, total=200 * 10**9, percent=75.0)


class Moment:
    """A clock that stands still while the machine is looked at: what is seen then is of one moment, however long that takes."""

    def __init__(self) -> None:
        self._held: float | None = None

    def hold(self) -> float:
        """The look begins."""
        self._held = time.monotonic()
        return self._held

    @property
    def now(self) -> float:
        return time.monotonic() if self._held is None else self._held

    def __call__(self) -> float:
        """Seconds; the look is over."""
        now, self._held = self.now, None
        return now


class BusyEngine(ObedientEngine):
    """Takes one megabit a second and sends three."""

    def __init__(self) -> None:
        super().__init__()
        self.moment = Moment()

    def snapshot(self) -> EngineSnapshot:
        now = self.moment.now
        return replace(super().snapshot(), bytes_in=round(now * MEGABIT), bytes_out=round(now * 3 * MEGABIT))


@pytest.fixture
def engine() -> BusyEngine:
    busy = BusyEngine()
    busy.show()
    return busy


@pytest.fixture(autouse=True)
def machine(engine: BusyEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter busy, eight megabits a second on its network and a lot more in itself."""
    moment = engine.moment
    monkeypatch.setattr(gauge, "SHORTEST", 0.1)
    monkeypatch.setattr(service, "PATIENCE", 30.0)
    monkeypatch.setattr(service, "Gauge", lambda engine: gauge.Gauge(engine, moment))
    monkeypatch.setattr(service, "FRESH", 0.0)

    kind = type(psutil.cpu_times())
    shares = {"user": 0.2, "system": 0.05, "idle": 0.7, "iowait": 0.05}

    def cpu() -> Any:
        now = moment.hold()
        return kind(**{name: now * shares.get(name, 0.0) for name in kind._fields})

    def counters(*, pernic: bool) -> Any:
        now = moment.now
        moved = {"lo": 1e9, "eth0": 8 * MEGABIT}
        return {name: SimpleNamespace(bytes_sent=now * rate / 2, bytes_recv=now * rate / 2) for name, rate in moved.items()}

    monkeypatch.setattr(psutil, "cpu_times", cpu)
    monkeypatch.setattr(psutil, "net_io_counters", counters)
    monkeypatch.setattr(psutil, "disk_usage", lambda _: ROOM)
    interfaces(monkeypatch, up=True)


def interfaces(monkeypatch: pytest.MonkeyPatch, *, up: bool) -> None:
    lo = SimpleNamespace(isup=True, flags="up,loopback,running", speed=0)
    eth0 = SimpleNamespace(isup=up, flags="up,broadcast", speed=1000)
    monkeypatch.setattr(psutil, "net_if_stats", lambda: {"lo": lo, "eth0": eth0})
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"lo": [SimpleNamespace(address="127.0.0.1")], "eth0": []})


one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
async def here(panel: OpenPanel) -> Panel:
    return await panel()


@one_database
async def test_the_uptime_is_the_server_s_and_not_that_of_the_first_question(here: Panel, engine: BusyEngine) -> None:
    assert engine.now is not None
    admin = await here.log_in()
    told = (await admin.get("/api/system/status")).json
    assert told["uptime"] == int(here.clock.now - engine.now.since)
    assert told["version"] == VERSION


async def look(person: Person) -> tuple[str, dict[str, str]]:
    """Both answers, which say the same: in a word, and what each check says."""
    status, health = await person.get("/api/system/status"), await person.get("/api/system/health")
    assert status.json["status"] == health.json["status"]
    assert health.status == (200 if health.json["status"] == "healthy" else 503)
    return health.json["status"], states(health.json)


async def only_wrong(person: Person, name: str) -> None:
    """It comes to this: nothing but ``name`` is unhealthy; with so little patience, others are too while the machine is slow."""
    async with asyncio.timeout(30):
        while one_of(states((await person.get("/api/system/health")).json)) != [name]:  # noqa: ASYNC110 - a probe announces nothing
            await asyncio.sleep(0.02)


async def healthy_again(person: Person) -> None:
    """Whatever hung comes back when it likes."""
    async with asyncio.timeout(30):
        while (await person.get("/api/system/health")).status != 200:  # noqa: ASYNC110 - a probe announces nothing
            await asyncio.sleep(0.02)


def one_of(checks: dict[str, str]) -> list[str]:
    return [name for name, state in checks.items() if state == "unhealthy"]


def states(health: dict[str, Any]) -> dict[str, str]:
    return {name: check["status"] for name, check in health["checks"].items()}


@one_database
async def test_how_busy_the_machine_is_holds_for_who_asks_first_and_for_who_asks_often(here: Panel) -> None:
    admin = await here.log_in()
    for _ in range(6):
        told = (await admin.get("/api/system/status")).json
        assert told["system"]["cpu_usage"] == pytest.approx(25, abs=0.2)
        assert told["system"]["disk_usage"] == 75
        assert told["performance"]["total_bandwidth"] == pytest.approx(4000, rel=0.02)
    network = (await admin.get("/api/system/health")).json["checks"]["network"]
    assert (network["bandwidth_used"], network["bandwidth_available"]) == ("8Mbps", "1000Mbps")


async def test_what_is_measured_is_now_and_not_since_somebody_asked_long_ago(
    engine: BusyEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = 0.0
    measured = gauge.Gauge(engine, lambda: engine.moment() + late)
    before = await measured.load()
    with monkeypatch.context() as soon:
        soon.setattr(gauge, "SHORTEST", 1000.0)
        assert before is await measured.load()
    late = gauge.LONGEST + 1  # bytes of a second ago would count for all that time
    assert (await measured.load()).media == pytest.approx(before.media, rel=0.02)


async def test_each_check_alone_makes_the_server_unhealthy(
    here: Panel, engine: BusyEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await here.log_in()
    assert await look(admin) == (
        "healthy",
        dict.fromkeys(("database", "storage", "network", "rtmp_server", "encoders"), "healthy")
        | dict.fromkeys(("redis", "nginx"), "not_configured"),
    )
    with monkeypatch.context() as changed:
        changed.setattr(psutil, "disk_usage", lambda _: SimpleNamespace(free=10**6, total=10**9, percent=99.9))
        word, checks = await look(admin)
        assert (word, one_of(checks)) == ("unhealthy", ["storage"])
    with monkeypatch.context() as changed:
        interfaces(changed, up=False)
        word, checks = await look(admin)
        assert (word, one_of(checks)) == ("unhealthy", ["network"])
    with monkeypatch.context() as changed:
        changed.setattr(engine, "rtmp_since", 0.0)
        word, checks = await look(admin)
        assert (word, one_of(checks)) == ("unhealthy", ["rtmp_server"])
    with monkeypatch.context() as changed:
        changed.setattr(engine, "encoders", nothing)
        word, checks = await look(admin)
        assert (word, one_of(checks)) == ("unhealthy", ["encoders"])
    assert (await look(admin))[0] == "healthy"


async def nothing() -> tuple[str, ...]:
    return ()


@one_database
async def test_a_server_on_loopback_needs_no_other_interface(panel: OpenPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    interfaces(monkeypatch, up=False)
    here = await panel(http={"host": "127.0.0.1"}, rtmp={"host": "127.0.0.1"})
    assert (await look(await here.log_in()))[0] == "healthy"


@one_database
async def test_a_database_that_is_locked_is_unhealthy_though_it_can_be_read(
    here: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PATIENCE", 0.5)
    admin = await here.log_in()
    other = sqlite3.connect(tmp_path / "data" / "test.db", isolation_level=None, check_same_thread=False)
    await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")  # whoever writes at the moment finishes meanwhile
    await only_wrong(admin, "database")
    assert (await admin.get("/api/users/me")).status == 200
    other.execute("ROLLBACK")
    other.close()
    await healthy_again(admin)


@one_database
async def test_a_disk_that_hangs_holds_one_thread_and_nobody_else(here: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "PATIENCE", 0.5)
    admin = await here.log_in()
    back, asked = threading.Event(), []

    def hang(folder: str) -> Any:
        asked.append(folder)
        back.wait()
        return ROOM

    monkeypatch.setattr(psutil, "disk_usage", hang)
    try:
        answers = await asyncio.gather(*(look(admin) for _ in range(3)))
        assert all("storage" in one_of(checks) for _, checks in answers)
        await only_wrong(admin, "storage")
        monkeypatch.setattr(service, "PATIENCE", 30.0)  # from here on whoever asks waits for it
        asking = asyncio.create_task(admin.get("/api/system/health"))
        assert (await here.nobody.get("/healthz")).status == 200
        assert not asking.done()
        assert len(asked) == 1
    finally:
        back.set()
    await asking
    await healthy_again(admin)


# -- without the database ---------------------------------------------------------------------------------------------


class Away:
    """The database, which does not answer from now on."""

    def __init__(self, here: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
        for begin in ("read", "write"):
            monkeypatch.setattr(here.control.db, begin, self._begin)

    @contextlib.asynccontextmanager
    async def _begin(self) -> AsyncIterator[Transaction]:
        raise DatabaseUnavailable("it is away")
        yield  # what makes it a generator


async def test_health_says_that_the_database_is_away_to_who_is_signed_for(
    panel: OpenPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nobody can say any more whose login that is; nothing else is told, and nothing to anybody else."""
    here = await panel()
    admin, gone, expired = await here.log_in(), await here.log_in(), await here.log_in()
    key = (await admin.post("/api/auth/api-keys", json={"name": "k", "scopes": ["system"]})).json["key"]
    narrow = (await admin.post("/api/auth/api-keys", json={"name": "n", "scopes": ["streams"]})).json["key"]
    await gone.post("/api/auth/logout")
    assert (await gone.get("/api/system/health")).status == 401
    for each in (key, narrow):
        await here.nobody.get("/api/system/health", headers={"X-API-Key": each})
    accounts = (await here.services()).accounts
    here.clock.now += 60
    Away(here, monkeypatch)

    async def checks(headers: dict[str, str]) -> Any:
        answer = await here.nobody.get("/api/system/health", headers=headers)
        return answer.json["checks"]["database"]["status"] if "checks" in answer.json else answer.error["code"]

    for person in (admin, expired):
        told = await person.get("/api/system/health")
        assert (told.status, told.json["checks"]["database"]["status"]) == (503, "unhealthy")
        assert (await person.get("/api/system/status")).json["services"]["database"] == "unhealthy"
        refused = await person.get("/api/streams")
        assert (refused.status, refused.error["code"]) == (503, "UNAVAILABLE")
    assert await checks({"X-API-Key": key}) == "unhealthy"
    assert await checks({"X-API-Key": narrow}) == "FORBIDDEN"
    assert await checks({"X-API-Key": f"msk_{'0' * 12}_{'x' * 43}"}) == "UNAVAILABLE"
    assert await checks({"Authorization": f"Bearer {gone.token}"}) == "UNAVAILABLE"
    assert await checks({"Authorization": f"Bearer {admin.token[:-8]}AAAAAAAA"}) == "UNAUTHORIZED"
    here.clock.now += here.config.auth.token_ttl
    assert await checks({"Authorization": f"Bearer {expired.token}"}) == "UNAUTHORIZED"
    # Whoever was never seen here, because another node knew them, say.
    here.clock.now -= here.config.auth.token_ttl
    accounts.forget()
    assert await checks({"Authorization": f"Bearer {admin.token}"}) == "unhealthy"
    assert await checks({"X-API-Key": key}) == "UNAVAILABLE"
