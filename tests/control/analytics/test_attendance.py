"""From the engine's events to rows, on each kind of database: what is known is kept, in batches, and nothing else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from control.analytics import attendance
from control.analytics.attendance import Attendance, Quality
from control.db import Conflict, Database, DatabaseUnavailable, Transaction
from control.retention import Sweeper
from control.streams import models as streams
from control.vault import Vault
from mediaserver.events import PlayEnded, PlayStarted, PublishEnded
from mediaserver.ports import Wire
from tests.control.analytics.material import MORNING, a_stream, a_user, rows
from tests.control.panel import Clock

ADDRESS = "203.0.113.77"
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
TOKEN = "token-canary"
SEEN = Quality(startup=1.25, played=50.0, stalled=3.5)
FOREVER = float("inf")


class OneCountry:
    def country(self, address: str) -> str | None:
        return "DE" if address == ADDRESS else None


one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def clock() -> Clock:
    return Clock(MORNING)


@pytest.fixture
def subject(database: Database, clock: Clock) -> Attendance:
    return Attendance(database, Vault(b"s" * 32), OneCountry(), clock)


@pytest.fixture
async def stream(database: Database) -> int:
    return await a_stream(database, await a_user(database, "ada"))


def comes(stream: int, session_id: str = "s-1", at: float = MORNING, **fields: Any) -> PlayStarted:
    started = PlayStarted(f"stream_{stream}", session_id, at, Wire.HLS, ADDRESS, AGENT, TOKEN)
    return replace(started, **fields)


def leaves(stream: int, session_id: str = "s-1", at: float = MORNING + 60) -> PlayEnded:
    return PlayEnded(f"stream_{stream}", session_id, at, "left", None, 60.0)


# -- what is kept --------------------------------------------------------------------------------------------------------


async def test_a_session_is_a_row_while_it_lasts_and_afterwards(subject: Attendance, database: Database, stream: int) -> None:
    subject.on_event(comes(stream))
    assert await subject.flush()
    (row,) = await rows(database)
    assert row["ended"] == FOREVER
    subject.on_event(leaves(stream))
    assert await subject.flush()
    (row,) = await rows(database)
    wanted = {
        "stream_id": stream, "started": MORNING, "hour": MORNING // 3600, "ended": MORNING + 60,
        "platform": "linux", "country": "DE",
    }  # fmt: skip
    assert {name: row[name] for name in wanted} == wanted
    assert [row[name] for name in ("startup", "played", "stalled")] == [None] * 3


@one_database
async def test_no_address_agent_or_token_reaches_the_database(subject: Attendance, database: Database, stream: int) -> None:
    subject.on_event(comes(stream))
    subject.on_event(comes(stream, "s-2", address="2001:db8::77"))
    await subject.flush()
    text = repr(await rows(database)) + repr(await rows(database, "viewer_lives"))
    for secret in (ADDRESS, "2001:db8", AGENT, TOKEN):
        assert secret not in text
    assert ADDRESS not in repr(subject._present)
    # Nor can it be found by trying all addresses: the key is not in the database.
    other = Attendance(database, Vault(b"t" * 32), OneCountry())
    other.on_event(comes(stream))
    assert other._present["s-1"].viewer != subject._present["s-1"].viewer


@one_database
async def test_a_viewer_is_known_again_by_network_and_agent(subject: Attendance, database: Database, stream: int) -> None:
    again = [
        comes(stream, "a"), comes(stream, "b", wire=Wire.DASH, token="another-token"),
        comes(stream, "c", agent="another"), comes(stream, "d", address="203.0.113.78"),
        comes(stream, "e", address="2001:db8:0:1::1"), comes(stream, "f", address="2001:db8:0:1:ffff::1"),
    ]  # fmt: skip
    for event in again:
        subject.on_event(event)
    seen = {session_id: session.viewer for session_id, session in subject._present.items()}
    assert seen["a"] == seen["b"]
    assert seen["e"] == seen["f"]
    assert len(set(seen.values())) == 4


@one_database
async def test_viewers_of_renditions_are_the_stream_s_and_of_other_names_nobody_s(
    subject: Attendance, database: Database, stream: int
) -> None:
    subject.on_event(comes(stream, "s-1", name=f"stream_{stream}@720p"))
    subject.on_event(comes(stream, "s-2", name="demo"))
    subject.on_event(comes(stream, "s-3", name=f"stream_{stream + 1000}"))
    subject.on_event(PublishEnded("demo", "p-1", MORNING, "over", 0, 0.0))
    subject.on_event(leaves(stream, "never came"))
    assert await subject.flush()
    assert [row["stream_id"] for row in await rows(database)] == [stream]


@one_database
async def test_a_connection_that_plays_twice_is_two_sessions(subject: Attendance, database: Database, stream: int) -> None:
    for turn in (0, 100):
        subject.on_event(comes(stream, at=MORNING + turn, wire=Wire.RTMP, token=""))
        subject.on_event(leaves(stream, at=MORNING + turn + 10))
    await subject.flush()
    assert sorted((row["started"], row["ended"]) for row in await rows(database)) == [
        (MORNING, MORNING + 10),
        (MORNING + 100, MORNING + 110),
    ]


@one_database
async def test_an_end_before_its_beginning_is_no_time(subject: Attendance, database: Database, stream: int) -> None:
    subject.on_event(comes(stream))
    subject.on_event(leaves(stream, at=MORNING - 5))
    await subject.flush()
    assert [row["ended"] for row in await rows(database)] == [MORNING]


# -- what pages report ---------------------------------------------------------------------------------------------------


async def test_what_a_page_reports_is_its_viewer_s(subject: Attendance, database: Database, stream: int, clock: Clock) -> None:
    subject.on_event(comes(stream))
    clock.now += 60
    assert subject.report(stream, TOKEN, SEEN)
    await subject.flush()
    # One that was overtaken on its way takes nothing back.
    assert subject.report(stream, TOKEN, Quality(None, 10.0, 0.0))
    await subject.flush()
    (row,) = await rows(database)
    assert [row[name] for name in ("startup", "played", "stalled")] == [1.25, 50.0, 3.5]


@one_database
async def test_a_page_that_saw_nothing_says_so(subject: Attendance, database: Database, stream: int) -> None:
    subject.on_event(comes(stream))
    subject.report(stream, TOKEN, Quality(None, 0.0, 0.0))
    await subject.flush()
    (row,) = await rows(database)
    assert [row[name] for name in ("startup", "played", "stalled")] == [None, 0.0, 0.0]


@one_database
async def test_nobody_reports_more_time_than_he_was_there(
    subject: Attendance, database: Database, stream: int, clock: Clock
) -> None:
    subject.on_event(comes(stream))
    clock.now += 5
    subject.report(stream, TOKEN, Quality(9999.0, 9999.0, 9999.0))
    assert subject._present["s-1"].quality == Quality(15.0, 15.0, 15.0)


@one_database
async def test_who_is_not_known_is_not_heard(subject: Attendance, database: Database, stream: int) -> None:
    subject.on_event(comes(stream))
    subject.on_event(comes(stream, "s-2", wire=Wire.RTMP, token=""))
    assert not subject.report(stream, "another-token", SEEN)
    assert not subject.report(stream, "", SEEN)
    assert not subject.report(stream + 1, TOKEN, SEEN)
    subject.on_event(leaves(stream))
    assert not subject.report(stream, TOKEN, SEEN)
    assert not subject._by_token


@one_database
async def test_a_token_that_comes_again_is_the_newer_session_s(subject: Attendance, database: Database, stream: int) -> None:
    subject.on_event(comes(stream, "s-1"))
    subject.on_event(comes(stream, "s-2"))
    subject.on_event(leaves(stream, "s-1"))
    assert subject.report(stream, TOKEN, Quality(1.0, 1.0, 0.0))
    assert subject._present["s-2"].quality is not None


# -- how it is written ---------------------------------------------------------------------------------------------------


async def test_a_crowd_is_written_in_batches(subject: Attendance, database: Database, stream: int) -> None:
    number = 2 * attendance.BATCH + 1
    for each in range(number):
        subject.on_event(comes(stream, f"s-{each}", token=f"a-token-{each}"))
    await subject.flush()
    for each in range(number):
        subject.on_event(leaves(stream, f"s-{each}"))
    await subject.flush()
    found = await rows(database)
    assert len(found) == number
    assert {row["ended"] for row in found} == {MORNING + 60}
    assert not subject._changed
    assert not subject._present


async def test_a_stream_that_is_deleted_takes_its_sessions_along(subject: Attendance, database: Database, stream: int) -> None:
    other = await a_stream(database, await a_user(database, "bob"), "Other")
    for each in (stream, other):
        subject.on_event(comes(each, f"s-{each}"))
    await subject.flush()
    async with database.write() as tx:
        await streams.delete_stream(tx, stream)
    for each in (stream, other):
        subject.on_event(leaves(each, f"s-{each}"))
        subject.on_event(comes(each, f"s-late-{each}"))
    assert await subject.flush()
    # Of what is gone nothing more is written down, and what was is swept.
    assert sorted(row["stream_id"] for row in await rows(database)) == [stream, other, other]
    await Sweeper(database, []).sweep_orphans()
    assert [row["stream_id"] for row in await rows(database)] == [other, other]


class Flaky:
    """A database that fails so often."""

    def __init__(self, database: Database, *failures: Exception) -> None:
        self._database = database
        self.failures = list(failures)

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[Transaction]:
        if self.failures:
            raise self.failures.pop()
        async with self._database.write() as tx:
            yield tx


async def test_what_could_not_be_written_is_written_later(database: Database, stream: int, clock: Clock) -> None:
    flaky = Flaky(database, Conflict("in that moment"), DatabaseUnavailable("away"))
    subject = Attendance(flaky, Vault(b"s" * 32), OneCountry(), clock)  # type: ignore[arg-type]
    subject.on_event(comes(stream))
    assert not await subject.flush()
    subject.on_event(leaves(stream))
    subject.on_event(comes(stream, "s-2"))
    assert not await subject.flush()
    assert await subject.flush()
    assert sorted(row["ended"] for row in await rows(database)) == [MORNING + 60, FOREVER]


@one_database
async def test_what_waits_is_bounded(
    subject: Attendance, stream: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(attendance, "WAITING", 10)
    for each in range(12):
        subject.on_event(comes(stream, f"s-{each}"))
    assert len(subject._changed) == 10
    assert [record.getMessage() for record in caplog.records] == ["viewer_session_lost"] * 2


@one_database
async def test_it_runs_until_it_is_cancelled_whatever_happens(
    subject: Attendance, database: Database, stream: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(attendance, "INTERVAL", 0.0)
    wrong = iter([RuntimeError("a bug")])
    flush, flushed = subject.flush, asyncio.Event()

    async def flaky() -> bool:
        for error in wrong:
            raise error
        flushed.set()
        return await flush()

    monkeypatch.setattr(subject, "flush", flaky)
    running = asyncio.create_task(subject.run())
    async with asyncio.timeout(30):
        await flushed.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert "attendance_failed" in caplog.text


@one_database
async def test_of_many_who_ask_for_figures_at_once_one_writes_for_all(
    subject: Attendance, database: Database, stream: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = 0
    write, writing, go_on = database.write, asyncio.Event(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def slow() -> AsyncIterator[Transaction]:
        nonlocal begun
        begun += 1
        writing.set()
        await go_on.wait()
        raise DatabaseUnavailable("away")
        yield

    monkeypatch.setattr(database, "write", slow)
    subject.on_event(comes(stream))
    first = asyncio.create_task(subject.settle())
    await writing.wait()
    # What comes now is not in what is being written.
    subject.on_event(comes(stream, "s-2"))
    others = [asyncio.create_task(subject.settle()) for _ in range(20)]
    for _ in range(5):
        await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(first, *others)
    assert begun == 2
    monkeypatch.setattr(database, "write", write)
    await subject.settle()
    assert len(await rows(database)) == 2


@one_database
async def test_who_asks_for_figures_does_not_pay_for_a_bug_in_writing(
    subject: Attendance, stream: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(subject, "_put", broken)
    subject.on_event(comes(stream))
    await subject.settle()
    assert "attendance_failed" in caplog.text


# -- processes that die --------------------------------------------------------------------------------------------------


async def test_sessions_of_a_process_that_died_ended_when_it_was_seen_last(
    subject: Attendance, database: Database, stream: int, clock: Clock
) -> None:
    subject.on_event(comes(stream))
    subject.on_event(comes(stream, "later", at=MORNING + attendance.NOTED + 5))
    for _ in range(4):
        await subject.flush()
        clock.now += attendance.NOTED / 2
    # It was cut off. The next one begins, and others that live are let be.
    alive = Attendance(database, Vault(b"s" * 32), OneCountry(), clock)
    alive.on_event(comes(stream, "alive", at=clock.now))
    await alive.flush()
    assert [row["ended"] for row in await rows(database)] == [FOREVER] * 3
    clock.now += attendance.LOST + attendance.NOTED
    await alive.flush()
    ends = {row["started"]: row["ended"] for row in await rows(database)}
    noted = MORNING + attendance.NOTED
    assert ends == {MORNING: noted, noted + 5: noted + 5, MORNING + 2 * attendance.NOTED: FOREVER}
    assert len(await rows(database, "viewer_lives")) == 1


async def test_a_process_that_ends_in_order_leaves_nothing_to_look_after(
    subject: Attendance, database: Database, stream: int
) -> None:
    subject.on_event(comes(stream))
    await subject.flush()
    assert len(await rows(database, "viewer_lives")) == 1
    subject.on_event(leaves(stream))
    await subject.close(30.0)
    assert await rows(database, "viewer_lives") == []
    assert [row["ended"] for row in await rows(database)] == [MORNING + 60]
