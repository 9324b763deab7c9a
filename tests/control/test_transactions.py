"""What is given up in favour of another is begun anew, it alone; and rows are held in one order, so that this is rare."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from control import db
from control.auth import models, service
from control.db import Database, DatabaseUnavailable, Deadlocked, Transaction
from control.permissions import Role
from control.transactions import TRIES, transact
from control.vault import Vault
from control.webhooks import models as webhook_rows
from control.webhooks.courier import Courier
from control.webhooks.outcome import Outcome
from mediaserver.config import WebhooksConfig
from tests.control.conftest import OpenPanel
from tests.control.panel import ADMIN, PASSWORD, Answer, Panel
from tests.control.streams.test_conductor import FETCHED, TARGET, made
from tests.control.test_held import blocked, blocked_in
from tests.control.webhooks import killed
from tests.control.webhooks.receiver import PATIENCE
from tests.control.webhooks.test_killed import tell

postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
async def here(panel: OpenPanel, monkeypatch: pytest.MonkeyPatch) -> Panel:
    monkeypatch.setattr(db, "LOCKED", 60.0)  # a machine that stands still is no lock
    return await panel()


def give_up(monkeypatch: pytest.MonkeyPatch, rows: Any, statement: str, times: int = 1) -> list[int]:
    """The transactions that come to ``statement`` are given up at first. What it is called with is counted."""
    execute, calls = getattr(rows, statement), list[int]()

    async def given_up(*given: Any) -> Any:
        calls.append(len(calls))
        if len(calls) <= times:
            raise Deadlocked("in favour of another")
        return await execute(*given)

    monkeypatch.setattr(rows, statement, given_up)
    return calls


# -- begun anew -------------------------------------------------------------------------------------------------------


@sqlite
@pytest.mark.parametrize("times", [0, 1, TRIES - 1])
async def test_a_transaction_is_begun_anew_with_nothing_of_the_one_before(database: Database, times: int) -> None:
    tries = list[int]()

    async def work(tx: Transaction) -> int:
        tries.append(len(await tx.rows("SELECT id FROM audit_log")))
        await tx.execute(
            "INSERT INTO audit_log (at, action, object_type, object_id, address, request_id, details)"
            " VALUES (0, '', '', '', '', '', '')"
        )
        if len(tries) <= times:
            raise Deadlocked("in favour of another")
        return 7

    assert await transact(database.write, work) == 7
    assert tries == [0] * (times + 1)


@sqlite
async def test_it_is_not_tried_for_ever(database: Database) -> None:
    tries = list[Transaction]()

    async def work(tx: Transaction) -> None:
        tries.append(tx)
        raise Deadlocked("in favour of another")

    with pytest.raises(Deadlocked):
        await transact(database.write, work)
    assert len(tries) == TRIES


async def failures(here: Panel) -> dict[str, int]:
    async with here.control.db.read() as tx:
        rows = await tx.rows("SELECT subject, failures FROM login_failures WHERE failures > 0")
    return {row["subject"].partition(":")[0]: row["failures"] for row in rows}


async def log_in(here: Panel, password: str = PASSWORD) -> Answer:
    return await here.nobody.post("/api/auth/login", json={"username": ADMIN, "password": password})


@sqlite
async def test_a_log_in_whose_end_is_given_up_is_one_try(here: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(service.FREE_FAILURES - 1):
        assert (await log_in(here, "a wrong password")).status == 401
    calls = give_up(monkeypatch, models, "insert_login", TRIES - 1)
    assert (await log_in(here)).status == 200
    assert len(calls) == TRIES
    assert await failures(here) == {"address": service.FREE_FAILURES - 1}


@sqlite
async def test_a_wrong_password_is_one_whatever_is_given_up(here: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [give_up(monkeypatch, rows, what) for rows, what in ((models, "set_failures"), (service.audit, "note"))]
    assert (await log_in(here, "a wrong password")).status == 401
    assert [len(each) for each in calls] == [3, 2]  # the account's failure, once in vain, and the address's
    assert await failures(here) == {"user": 1, "address": 1}


@sqlite
async def test_the_present_password_is_checked_once(here: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = await here.log_in()
    calls = give_up(monkeypatch, models, "end_generation", TRIES - 1)
    checks = give_up(monkeypatch, models, "clear_failures", 0)
    body = {"current_password": PASSWORD, "new_password": "quite another one"}
    assert (await admin.post("/api/auth/password", json=body)).status == 200
    assert (len(calls), len(checks)) == (TRIES, 1)
    assert (await log_in(here, "quite another one")).status == 200


# -- one order --------------------------------------------------------------------------------------------------------

#: What hangs on a user. NOWAIT: who finds one of them held is told so.
ROWS = ("stream_keys", "streams", "destinations")


async def while_held(here: Panel, number: int, ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer to who came while the user ``number`` was held, and who held nothing of that user's while it waited."""
    async with here.control.db.write() as tx:
        await models.hold_user(tx, number)
        asking = asyncio.ensure_future(ask())
        await blocked(here)
        for table in ROWS:
            await tx.rows(f"SELECT 1 FROM {table} WHERE user_id = ? FOR UPDATE NOWAIT", number)
    return await asking


@postgresql
async def test_whoever_changes_what_is_a_user_s_holds_the_user_first(here: Panel) -> None:
    number, user = await here.person("bob")
    admin = await here.log_in()
    pushed = {"name": "Pushed", "input_url": "rtmp://localhost/live/bob-and-nobody-else"}
    stream = await made(user, "streams", **pushed, destinations=[TARGET])
    path, more = f"/api/streams/{stream}", {"destinations": [TARGET, TARGET | {"name": "Elsewhere"}]}
    asking: list[Callable[[], Awaitable[Answer]]] = [
        lambda: user.post("/api/streams", json=FETCHED),
        lambda: user.put(path, json=more),
        lambda: user.put(path, json={"input_url": "rtmp://localhost/live/another-key-of-bob"}),
        lambda: user.post(f"{path}/start"),
        lambda: user.post(f"{path}/stop"),
        lambda: user.post("/api/destinations", json=TARGET),
        lambda: user.post("/api/destinations", json=TARGET | {"stream_id": stream}),
        lambda: user.delete(path),
        lambda: admin.put(f"/api/users/{number}", json={"enabled": False}),
        lambda: admin.put(f"/api/users/{number}", json={"enabled": True}),
        lambda: admin.delete(f"/api/users/{number}"),
    ]
    assert [(await while_held(here, number, ask)).status // 100 for ask in asking] == [2] * len(asking)


@postgresql
async def test_what_is_deleted_meanwhile_gets_nothing_more(here: Panel) -> None:
    number, user = await here.person("bob")
    stream = await made(user, "streams", **FETCHED)
    async with here.control.db.write() as tx:
        await models.hold_user(tx, number)
        asking = asyncio.ensure_future(user.post("/api/destinations", json=TARGET | {"stream_id": stream}))
        await blocked(here)
        await tx.execute("DELETE FROM streams WHERE id = ?", stream)
    assert (await asking).status == 404


@postgresql
async def test_administrators_are_held_by_their_ids(here: Panel) -> None:
    second, _ = await here.person("second", Role.ADMINISTRATOR)
    admin = await here.log_in()
    async with here.control.db.write() as tx:
        await models.hold_user(tx, 1)  # whose row lies behind the other one's from now on
    async with here.control.db.write() as tx:
        await models.hold_user(tx, 1)
        asking = asyncio.ensure_future(admin.put(f"/api/users/{second}", json={"role": "user"}))
        await blocked(here)
        await tx.rows("SELECT 1 FROM users WHERE id = ? FOR UPDATE NOWAIT", second)
    assert (await asking).status == 200


@postgresql
async def test_who_becomes_an_administrator_while_they_are_held_is_held_too(here: Panel) -> None:
    second, _ = await here.person("second")
    held, may_end = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with here.control.db.write() as tx:
            await models.hold_administrators(tx)
            held.set()
            await may_end.wait()

    async with here.control.db.write() as tx:
        await models.hold_administrators(tx)
        holding = asyncio.create_task(hold())
        await blocked(here)
        await models.update_user(tx, second, {"role": Role.ADMINISTRATOR.value}, 0.0)
    await asyncio.wait_for(held.wait(), PATIENCE)
    with pytest.raises(DatabaseUnavailable):
        async with here.control.db.write() as tx:
            await tx.rows("SELECT 1 FROM users WHERE id = ? FOR UPDATE NOWAIT", second)
    may_end.set()
    await holding


@postgresql
async def test_who_is_disabled_while_the_password_is_checked_has_no_login(here: Panel) -> None:
    async with here.control.db.write() as tx:
        await models.hold_user(tx, 1)
        asking = asyncio.ensure_future(log_in(here))
        await blocked(here)
        await models.update_user(tx, 1, {"disabled": 1}, 0.0)
        await models.end_generation(tx, 1, 0.0)
    assert (await asking).status == 401
    async with here.control.db.read() as tx:
        assert await tx.rows("SELECT 1 FROM logins WHERE revoked_at IS NULL") == []


@postgresql
async def test_who_writes_down_what_came_of_a_message_holds_its_webhook_first(database: Database) -> None:
    await killed.prepare(database, "http://localhost/hook")
    await tell(database, 1, 1)
    sent, may_end = asyncio.Event(), asyncio.Event()

    class Fails:
        async def post(self, *_: Any) -> Outcome:
            sent.set()
            await may_end.wait()
            return Outcome(None, "it failed", 0.0)

    courier = Courier(database, Vault(killed.SECRET), Fails(), WebhooksConfig(), lambda: 1000.0)
    running = asyncio.create_task(courier.run())
    await asyncio.wait_for(sent.wait(), PATIENCE)
    async with database.write() as tx:
        await webhook_rows.hold_webhook(tx, 1)
        may_end.set()
        await blocked_in(database)
        await tx.rows("SELECT 1 FROM webhook_deliveries FOR UPDATE NOWAIT")
    assert await courier.quiet(PATIENCE)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await courier.close()
