"""In which order a receiver is told things."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from control.db import Database, Row
from control.vault import Vault
from control.webhooks import models, turns
from control.webhooks.courier import EACH, GRACE, Courier
from control.webhooks.outcome import Outcome
from mediaserver.config import WebhooksConfig
from tests.control.webhooks import killed
from tests.control.webhooks.receiver import PATIENCE
from tests.control.webhooks.test_killed import tell

FIRST = "msg_0"


class Wire:
    """Takes a few turns of the loop for every message, and as long as a test wants for the first one."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.all_came = asyncio.Event()
        self.may_end = asyncio.Event()
        self.fails = False

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        number = headers["webhook-id"]
        self.said.append(f"{number} begins")
        if sum(word.endswith("begins") for word in self.said) == 4:
            self.all_came.set()
        for _ in range(3):
            await asyncio.sleep(0)
        if number == FIRST:
            await self.may_end.wait()
        self.said.append(f"{number} ends")
        return Outcome(None, "it failed", 0.0) if self.fails else Outcome(204, "", 0.0)


async def send(database: Database, wire: Wire) -> None:
    """Four messages that are in the outbox already, until each has come."""
    await killed.prepare(database, "http://localhost/hook")
    await tell(database, 1, 4)
    # Its clock stands still: nothing is tried a second time.
    sender = Courier(database, Vault(killed.SECRET), wire, WebhooksConfig(), lambda: 1000.0)
    running = asyncio.create_task(sender.run())
    try:
        async with asyncio.timeout(PATIENCE):
            await wire.all_came.wait()
            wire.may_end.set()
            assert await sender.quiet(PATIENCE)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await sender.close()


def backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database gives rows in an order of its own."""
    claim = models.claim

    async def claimed(*given: Any) -> Sequence[Row]:
        return sorted(await claim(*given), key=lambda row: -row["id"])

    monkeypatch.setattr(models, "claim", claimed)


@pytest.mark.parametrize("fails", [False, True], ids=["it arrives", "it fails"])
async def test_what_waits_is_told_in_the_order_in_which_it_happened(
    database: Database, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    monkeypatch.setattr(turns, "TURN", 10 * PATIENCE)
    backwards(monkeypatch)
    wire = Wire()
    wire.fails = fails
    wire.may_end.set()
    await send(database, wire)
    assert wire.said == [f"msg_{number} {what}" for number in range(4) for what in ("begins", "ends")]


async def test_one_that_takes_long_does_not_hold_up_those_after_it(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN", 0.01)
    wire = Wire()
    await send(database, wire)
    assert wire.said.index("msg_3 begins") < wire.said.index("msg_0 ends")
    assert len(wire.said) == 8


async def test_a_turn_is_there_when_it_is_sent_and_not_when_it_is_taken_from_the_outbox(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "TURN", 10 * PATIENCE)
    wire, begin = Wire(), turns.Turn.begin

    def begins(turn: turns.Turn) -> None:
        wire.said.append("turn")
        begin(turn)

    monkeypatch.setattr(turns.Turn, "begin", begins)
    wire.may_end.set()
    await send(database, wire)
    assert wire.said == [word for number in range(4) for word in ("turn", f"msg_{number} begins", f"msg_{number} ends")]


async def test_who_waits_for_its_turn_does_not_count_as_dead(database: Database) -> None:
    wire = Wire()
    wire.may_end.set()
    await send(database, wire)
    async with database.read() as tx:
        until = await tx.row("SELECT min(next_at) AS at FROM webhook_deliveries")
    assert until is not None
    assert until["at"] >= 1000.0 + (EACH - 1) * turns.TURN + WebhooksConfig().timeout + GRACE


async def test_one_webhook_is_sent_no_more_than_its_share_at_a_time(database: Database) -> None:
    await killed.prepare(database, "http://localhost/hook")
    await tell(database, 1, 10)
    async with database.write() as tx:
        for sending, expected in (({}, 4), ({1: 3, 2: 4}, 1), ({2: 1, 1: 4}, 0), ({1: 7}, 0)):
            assert len(await models.claim(tx, 1.0, 100.0, 16, 4, sending)) == expected
