"""What is too old goes, a little at a time, and nothing else; on each kind of database."""

import asyncio

import pytest

from control import retention
from control.db import Database, DatabaseUnavailable
from control.retention import Sweeper, kept
from control.statistics import models as samples
from mediaserver.config import AnalyticsConfig, AuditConfig, Config, StatisticsConfig
from tests.control.analytics.material import DAY, MORNING, a_stream, a_user, put, rows, session
from tests.control.panel import Clock

#: Days for which each kind is kept here.
KEPT = Config(
    statistics=StatisticsConfig(keep_minutes=1, keep_five_minutes=2, keep_hours=3, keep_days=4),
    analytics=AnalyticsConfig(keep=5),
    audit=AuditConfig(keep=6),
)


one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def clock() -> Clock:
    return Clock(MORNING)


async def fill(database: Database, days: int) -> None:
    """A minute of a stream, a viewer and an entry of the audit log on each of the last days."""
    user = await a_user(database, "ada")
    stream = await a_stream(database, user)
    for ago in range(days):
        at = MORNING - ago * DAY - 60
        await put(database, session(stream, user, at - 100, at))
        async with database.write() as tx:
            await samples.add_minutes(tx, at, [samples.Minute(stream, 60.0, 1.0, 1, 1.0, 1.0, 1, 0)])
            await tx.execute(
                "INSERT INTO audit_log (at, action, object_type, object_id, address, request_id, details)"
                " VALUES (?, 'login', 'user', '1', '', '', '{}')",
                at,
            )


async def left(database: Database) -> dict[object, int]:
    """How many rows there are of each kind."""
    steps = [row["step"] for row in await rows(database, "samples")]
    found: dict[object, int] = {step: steps.count(step) for step in sorted(set(steps))}  # type: ignore[type-var]
    return {**found, "sessions": len(await rows(database)), "audit": len(await rows(database, "audit_log"))}


async def test_each_kind_is_kept_for_its_own_days(database: Database, clock: Clock) -> None:
    await fill(database, 10)
    assert not await Sweeper(database, kept(KEPT), clock).sweep()
    # A day's row begins at midnight, so it is older than what is in it.
    assert await left(database) == {60: 1, 300: 2, 3600: 3, 86400: 4, "sessions": 5, "audit": 6}


@one_database
async def test_what_shall_stay_for_ever_stays(database: Database, clock: Clock) -> None:
    await fill(database, 3)
    before = await left(database)
    for_ever = Config(
        statistics=StatisticsConfig(keep_minutes=0, keep_five_minutes=0, keep_hours=0, keep_days=0),
        analytics=AnalyticsConfig(keep=0),
        audit=AuditConfig(keep=0),
    )
    clock.now += 1000 * DAY
    assert not await Sweeper(database, kept(for_ever), clock).sweep()
    assert await left(database) == before


async def test_a_sweep_removes_so_much_and_says_that_there_is_more(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MOST", 4)
    await fill(database, 9)
    clock.now += 100 * DAY
    sweeper = Sweeper(database, kept(KEPT), clock)
    counts = []
    for _ in range(3):
        more = await sweeper.sweep()
        counts.append((sum((await left(database)).values()), more))
    assert counts == [(54 - 6 * 4, True), (54 - 6 * 8, True), (0, False)]


@one_database
async def test_who_still_watches_is_kept(database: Database, clock: Clock) -> None:
    user = await a_user(database, "ada")
    stream = await a_stream(database, user)
    await put(database, session(stream, user, MORNING - 100 * DAY, float("inf")))
    await Sweeper(database, kept(KEPT), clock).sweep()
    assert len(await rows(database)) == 1


@one_database
async def test_it_goes_on_whatever_happens_and_sooner_where_something_is_left(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers = iter([True, DatabaseUnavailable("away"), RuntimeError("a bug"), False])
    sweeper, slept, done = Sweeper(database, []), list[float](), asyncio.Event()

    async def sweep() -> bool:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 4:
            done.set()
            await asyncio.Event().wait()

    monkeypatch.setattr(sweeper, "sweep", sweep)
    monkeypatch.setattr(retention.asyncio, "sleep", sleep)
    running = asyncio.create_task(sweeper.run())
    async with asyncio.timeout(10):
        await done.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert slept == [retention.PAUSE, retention.INTERVAL, retention.INTERVAL, retention.INTERVAL]
    assert [record.getMessage() for record in caplog.records] == ["rows_not_swept", "sweeper_failed"]
