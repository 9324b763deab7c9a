"""Answers that cost something are worked out one at a time, and kept for as long as they are worth."""

import asyncio

import pytest

from control.analytics import figures
from control.analytics.figures import Figures
from control.db import Database, DatabaseUnavailable, Transaction
from tests.control.panel import Clock

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Work:
    """Takes so long by ``clock``, and gives how often it was done."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds, self.done = clock, seconds, 0

    async def __call__(self, tx: Transaction) -> int:
        await tx.rows("SELECT 1")
        self.clock.now += self.seconds
        self.done += 1
        return self.done


@pytest.fixture
def clock() -> Clock:
    return Clock(100.0)


@pytest.fixture
def subject(database: Database, clock: Clock) -> Figures:
    return Figures(database, clock)


async def test_what_costs_little_is_worked_out_each_time(subject: Figures, clock: Clock) -> None:
    work = Work(clock, 0.1)
    assert [await subject.get("a", work) for _ in range(3)] == [1, 2, 3]


async def test_what_costs_much_is_good_for_ten_times_as_long(subject: Figures, clock: Clock) -> None:
    work, other = Work(clock, 2.0), Work(clock, 2.0)
    assert [await subject.get("a", work) for _ in range(3)] == [1, 1, 1]
    assert await subject.get("b", other) == 1
    clock.now += 17.9
    assert await subject.get("a", work) == 1
    clock.now += 0.2
    assert await subject.get("a", work) == 2


async def test_so_many_are_kept(subject: Figures, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "MOST", 2)
    works = {name: Work(clock, 1.0) for name in "abc"}
    for name, work in works.items():
        await subject.get(name, work)
    assert [await subject.get(name, works[name]) for name in "cba"] == [1, 1, 2]


async def test_one_is_worked_out_at_a_time(subject: Figures) -> None:
    at_work, most, let_go = 0, 0, asyncio.Event()

    async def work(_: Transaction) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await let_go.wait()
        at_work -= 1

    asked = [asyncio.create_task(subject.get(number, work)) for number in range(5)]
    await asyncio.sleep(0)
    let_go.set()
    await asyncio.gather(*asked)
    assert most == 1


async def test_nobody_waits_for_ever_and_a_failure_is_not_kept(
    subject: Figures, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "PATIENCE", 0.01)
    begun, let_go = asyncio.Event(), asyncio.Event()

    async def long(_: Transaction) -> None:
        begun.set()
        clock.now += 5
        await let_go.wait()
        raise DatabaseUnavailable("away")

    first = asyncio.create_task(subject.get("a", long))
    await begun.wait()
    with pytest.raises(DatabaseUnavailable, match="too many"):
        await subject.get("b", Work(clock, 0.0))
    let_go.set()
    with pytest.raises(DatabaseUnavailable, match="away"):
        await first
    assert await subject.get("a", Work(clock, 0.0)) == 1
