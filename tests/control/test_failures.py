"""What a right password leaves of wrong ones from its address, and how long those count; on SQLite and on PostgreSQL."""

import asyncio
from typing import Any

import pytest

from control.auth import service
from tests.control.conftest import OpenPanel
from tests.control.panel import ADMIN, PASSWORD, Panel

PROXIED = {"trusted_proxies": ["127.0.0.1"]}
#: An office: many people behind one address.
OFFICE = "198.51.100.7"


async def log_in(panel: Panel, name: str, password: str = "wrong") -> Any:
    body = {"username": name, "password": password}
    return await panel.nobody.post("/api/auth/login", json=body, headers={"X-Forwarded-For": OFFICE})


async def of_office(panel: Panel) -> dict[str, Any]:
    async with panel.control.db.read() as tx:
        row = await tx.row("SELECT failures, last_at FROM login_failures WHERE subject = ?", f"address:{OFFICE}")
        assert row is not None
        return dict(row)


async def fail(panel: Panel, times: int) -> None:
    """Wrong passwords, each as soon as it is taken."""
    for number in range(times):
        answer = await log_in(panel, f"nobody{number}")
        if answer.status == 429:
            panel.clock.now += int(answer.headers["Retry-After"])
            answer = await log_in(panel, f"nobody{number}")
        assert answer.status == 401


async def test_who_logs_in_rightly_makes_nobody_behind_the_same_address_wait(panel: OpenPanel) -> None:
    here = await panel(http=PROXIED)
    await here.person("neighbour")
    await fail(here, service.FREE_FAILURES_OF_ADDRESS + 4)
    before = await of_office(here)
    assert (await log_in(here, ADMIN, PASSWORD)).status == 429  # while it waits, nobody is told what is right
    here.clock.now += 16
    for name in (ADMIN, "neighbour", ADMIN):
        assert (await log_in(here, name, PASSWORD)).status == 200
    assert await of_office(here) == before


async def test_right_passwords_keep_no_wrong_ones_alive(panel: OpenPanel) -> None:
    here = await panel(http=PROXIED)
    await fail(here, service.FREE_FAILURES_OF_ADDRESS + 4)
    for _ in range(3):
        here.clock.now += service.FORGET / 4
        assert (await log_in(here, ADMIN, PASSWORD)).status == 200
    here.clock.now += service.FORGET / 4 + 1
    assert (await log_in(here, "nobody")).status == 401
    assert (await of_office(here))["failures"] == 1


async def test_a_slip_now_and_then_never_makes_an_office_wait(panel: OpenPanel) -> None:
    here = await panel(http=PROXIED)
    for number in range(2 * service.FREE_FAILURES_OF_ADDRESS):
        assert (await log_in(here, f"nobody{number}")).status == 401
        here.clock.now += service.FORGET / 6
    assert (await of_office(here))["failures"] == 1


async def test_right_passwords_of_one_s_own_make_no_wrong_ones_older(panel: OpenPanel) -> None:
    here = await panel(http=PROXIED)
    await fail(here, service.FREE_FAILURES_OF_ADDRESS + 10)
    here.clock.now += service.LONGEST_WAIT
    before = await of_office(here)
    for _ in range(5):
        assert (await log_in(here, ADMIN, PASSWORD)).status == 200
    assert await of_office(here) == before


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1), (2, 1, 0)])
async def test_right_passwords_that_are_checked_at_once_leave_the_wrong_ones_as_they_were(
    panel: OpenPanel, monkeypatch: pytest.MonkeyPatch, order: tuple[int, ...]
) -> None:
    here = await panel(http=PROXIED)
    await fail(here, service.FREE_FAILURES_OF_ADDRESS + 4)
    before = await of_office(here)
    passwords, gates = (await here.services()).accounts.passwords, list[asyncio.Event]()
    verify, checking = passwords.verify, asyncio.Event()

    async def slow(hashed: str | None, password: str) -> bool:
        gates.append(gate := asyncio.Event())
        checking.set()
        await gate.wait()
        return await verify(hashed, password)

    monkeypatch.setattr(passwords, "verify", slow)
    asked = []
    for _ in order:
        here.clock.now += service.FORGET / 10  # two grow too old in that
        checking.clear()
        asked.append(asyncio.create_task(log_in(here, ADMIN, PASSWORD)))
        await checking.wait()
    for number in order:
        gates[number].set()
        assert (await asked[number]).status == 200
    assert await of_office(here) == before


@pytest.mark.parametrize("wrong", [3, 7])
async def test_of_many_at_once_the_wrong_ones_are_counted_and_no_others(panel: OpenPanel, wrong: int) -> None:
    here = await panel(http=PROXIED)
    for number in range(3):
        await here.person(f"user{number}")
    right = [log_in(here, f"user{number}", PASSWORD) for number in range(3)]
    answers = await asyncio.gather(*(log_in(here, f"nobody{number}") for number in range(wrong)), *right)
    assert sorted(answer.status for answer in answers) == [200] * 3 + [401] * wrong
    assert (await of_office(here))["failures"] == wrong
