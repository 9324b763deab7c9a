"""What is too old goes, a little at a time, and nothing else; on each kind of database."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest

from control import retention
from control.analytics.models import Span
from control.db import Database, DatabaseUnavailable, Row, Transaction
from control.retention import Sweeper, kept
from control.statistics import models as samples
from control.streams import models as streams
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
@pytest.mark.parametrize("error", [DatabaseUnavailable("away"), RuntimeError("a bug")], ids=["away", "a bug"])
async def test_a_kind_that_fails_does_not_keep_the_others(
    error: Exception, database: Database, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(database, 10)
    first, *others = kept(KEPT)

    async def fails(tx: Transaction, before: float, limit: int) -> int:
        raise error

    assert not await Sweeper(database, [replace(first, forget=fails), *others], clock).sweep()
    assert await left(database) == {60: 10, 300: 2, 3600: 3, 86400: 4, "sessions": 5, "audit": 6}
    expected = "rows_not_swept" if isinstance(error, DatabaseUnavailable) else "sweeper_failed"
    assert [record.getMessage() for record in caplog.records if record.levelname != "INFO"] == [expected]


async def test_what_is_left_of_streams_that_are_gone_goes_a_little_at_a_time(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MOST", 4)
    user = await a_user(database, "ada")
    one, two, three, stays = [await a_stream(database, user, name) for name in ("one", "two", "three", "stays")]
    for stream in (one, three, stays):
        async with database.write() as tx:
            await samples.add_minutes(tx, MORNING, [samples.Minute(stream, 60.0, 1.0, 1, 1.0, 1.0, 1, 0)])
        await put(database, *(session(stream, user, MORNING - 60, MORNING) for _ in range(3)))
    sweeper = Sweeper(database, [], clock)
    assert not await sweeper.sweep_orphans()
    assert (len(await rows(database)), len(await rows(database, "samples"))) == (9, 12)
    async with database.write() as tx:
        for stream in (one, two, three):
            await streams.delete_stream(tx, stream)
    # Nothing hangs on the row: it goes at once however long it was watched.
    assert (len(await rows(database)), len(await rows(database, "samples"))) == (9, 12)
    counts = []
    for _ in range(3):
        more = await sweeper.sweep_orphans()
        counts.append((len(await rows(database)), len(await rows(database, "samples")), more))
    assert counts == [(5, 8, True), (3, 4, True), (3, 4, False)]
    assert {row["stream_id"] for table in ("viewer_sessions", "samples") for row in await rows(database, table)} == {stays}


async def test_viewers_of_a_stream_that_is_gone_count_no_more_at_once(database: Database) -> None:
    user = await a_user(database, "ada")
    gone, stays = await a_stream(database, user, "gone"), await a_stream(database, user, "stays")
    for stream in (gone, gone, stays):
        await put(database, session(stream, user, MORNING - 60, MORNING))
    async with database.write() as tx:
        await streams.delete_stream(tx, gone)
    for who in (user, None):
        span = Span(MORNING - DAY, MORNING, MORNING, user_id=who)
        async with database.read() as tx:
            assert (await span.totals(tx, 30.0))["viewers"] == 1


@one_database
async def test_what_is_gone_is_found_without_looking_at_every_row(database: Database) -> None:
    async with database.read() as tx:
        for owned in retention.OWNED:
            seen = list[str]()
            await owned.gone(SimpleNamespace(rows=_collector(seen)))  # type: ignore[arg-type]
            plan = " ".join(row["detail"] for row in await tx.rows(f"EXPLAIN QUERY PLAN {seen[0]}"))
            assert plan.count(f"SEARCH {owned.table} USING COVERING INDEX") == 2, plan
            assert f"SCAN {owned.table}" not in plan


def _collector(seen: list[str]) -> Callable[[str], Awaitable[list[Row]]]:
    async def rows_of(sql: str) -> list[Row]:
        seen.append(sql)
        return []

    return rows_of


@one_database
async def test_it_goes_on_and_sooner_where_something_is_left(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    olds, gones = iter([True, False, False]), iter([False, False, True, False])
    sweeper, slept, done = Sweeper(database, [], clock), list[float](), asyncio.Event()

    async def sweep() -> bool:
        return next(olds)

    async def sweep_orphans() -> bool:
        return next(gones)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.now += seconds if len(slept) < 3 else retention.INTERVAL
        if len(slept) == 4:
            done.set()
            await asyncio.Event().wait()

    monkeypatch.setattr(sweeper, "sweep", sweep)
    monkeypatch.setattr(sweeper, "sweep_orphans", sweep_orphans)
    monkeypatch.setattr(retention.asyncio, "sleep", sleep)
    running = asyncio.create_task(sweeper.run())
    async with asyncio.timeout(30):
        await done.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert slept == [retention.PAUSE, retention.ORPHANED, retention.PAUSE, retention.ORPHANED]
    assert (list(olds), list(gones)) == ([], [])
