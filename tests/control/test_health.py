"""/healthz and /readyz, for orchestrators."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, NoReturn

import pytest

from control.db import DatabaseUnavailable
from control.system import service
from control.system.porter import Porter
from control.watch import Watch
from tests.control.conftest import Client, OpenPanel
from tests.control.engine import FakeEngine


class Hanging:
    """A database that says nothing until it is let."""

    def __init__(self) -> None:
        self.asked, self.ended = 0, 0
        self.entered, self.let = asyncio.Event(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[Any]:
        self.asked += 1
        self.entered.set()
        try:
            await self.let.wait()
            yield self
        finally:
            self.ended += 1

    async def row(self, _sql: str) -> None:
        """It answers."""


async def test_alive_while_the_loop_turns_whatever_the_engine_does(engine: FakeEngine, client: Client) -> None:
    engine.now = None
    answer = await client.get("/healthz")
    assert (answer.status, await answer.json()) == (200, {"status": "ok"})


async def test_ready_only_between_start_and_drain(engine: FakeEngine, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "FRESH", 0.0)

    async def ready() -> tuple[int, str]:
        answer = await client.get("/readyz")
        return answer.status, (await answer.json())["status"]

    engine.now = None
    assert await ready() == (503, "starting")
    engine.show()
    assert await ready() == (200, "ready")
    engine.show(draining=True)
    assert await ready() == (503, "draining")


async def test_unavailable_while_the_database_is_away(
    panel: OpenPanel, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By whomever it is told; that it was busy for once is not away."""
    caplog.set_level(logging.INFO, "control.watch")

    async def never(_: Watch) -> None:
        """All looks are the test's."""

    monkeypatch.setattr(Watch, "run", never)
    monkeypatch.setattr("control.watch.PATIENCE", 60.0)
    engine.show()
    here = await panel()
    looking = here.resident.watch
    porter = Porter(service.LiveService(engine, obstacle=lambda: looking.obstacle))

    async def ready() -> tuple[int, dict[str, str]]:
        answer = await here.client.get("/readyz")
        told = porter.answer(b"GET /readyz HTTP/1.1\r\n\r\n")
        assert int(told.split()[1]) == answer.status
        assert told.partition(b"\r\n\r\n")[2] == await answer.read()
        return answer.status, await answer.json()

    def away() -> NoReturn:
        raise DatabaseUnavailable("ConnectionRefusedError")

    await looking.look()
    with monkeypatch.context() as patch:
        patch.setattr(here.control.db, "read", away)
        await looking.look()
        assert await ready() == (200, {"status": "ready"})
        for _ in range(5):
            await looking.look()
            assert await ready() == (503, {"status": "unavailable", "reason": "the database does not answer"})
        engine.show(draining=True)
        assert service.LiveService(engine, obstacle=lambda: looking.obstacle).health().status == "draining"
        engine.show()
        assert (await here.client.get("/healthz")).status == 200
    await looking.look()
    assert await ready() == (200, {"status": "ready"})
    told = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "control.watch"]
    assert told == [("WARNING", "not_ready"), ("INFO", "ready_again")]


async def test_a_database_that_says_nothing_is_away_until_it_does(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No error says so; what hangs is not asked again."""
    caplog.set_level(logging.INFO, "control.watch")
    hanging = Hanging()
    watch = Watch(hanging)  # type: ignore[arg-type]
    monkeypatch.setattr("control.watch.PATIENCE", 0.0)
    await watch.look()
    assert not watch.obstacle
    for _ in range(3):
        await watch.look()
        assert watch.obstacle == "the database does not answer"
    assert (hanging.asked, hanging.ended) == (1, 0)
    hanging.let.set()
    monkeypatch.setattr("control.watch.PATIENCE", 60.0)
    await watch.look()
    assert not watch.obstacle
    assert [record.getMessage() for record in caplog.records if record.name == "control.watch"] == ["not_ready", "ready_again"]


async def test_a_server_that_stood_still_itself_stays_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """One look is late, however long it took; its answer is there for the next."""
    hanging = Hanging()
    watch = Watch(hanging)  # type: ignore[arg-type]
    for _ in range(3):
        hanging.let.clear()
        monkeypatch.setattr("control.watch.PATIENCE", 0.0)
        await watch.look()
        assert not watch.obstacle
        hanging.let.set()
        monkeypatch.setattr("control.watch.PATIENCE", 60.0)
        await watch.look()
        assert not watch.obstacle
    assert (hanging.asked, hanging.ended) == (3, 3)


async def test_who_looks_no_more_leaves_nothing_behind() -> None:
    hanging = Hanging()
    looking = asyncio.get_running_loop().create_task(Watch(hanging).run())  # type: ignore[arg-type]
    await hanging.entered.wait()
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    assert hanging.ended == 1


def test_however_many_ask_the_engine_is_looked_at_once_a_moment(engine: FakeEngine) -> None:
    ticks = 0.0
    live = service.LiveService(engine, ticks=lambda: ticks)
    assert [live.health().status for _ in range(3)] == ["ready"] * 3
    assert engine.asked == 1
    engine.show(draining=True)
    ticks = service.FRESH
    assert live.health().status == "draining"
    assert engine.asked == 2


async def test_health_is_never_cached(client: Client) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/api/live", "/api/time"):
        assert (await client.get(path)).headers["Cache-Control"] == "no-store"


async def test_the_time_is_told_to_the_millisecond_to_any_page(client: Client) -> None:
    before = time.time()
    answer = await client.get("/api/time", headers={"Origin": "https://elsewhere.example"})
    told = datetime.fromisoformat(await answer.text())
    assert before - 0.001 <= told.timestamp() <= time.time()
    assert (await answer.text()).endswith("Z")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
