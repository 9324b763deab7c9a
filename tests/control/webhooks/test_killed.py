"""Kill -9 of the sender, and two of them at once. ``python -m tests.control.webhooks.killed`` is the long run."""

import asyncio
import os
from pathlib import Path

import pytest

from control.db import Database, open_database
from control.vault import Vault
from control.webhooks import models, outbox, service
from control.webhooks.messages import EventName, Message
from control.webhooks.service import Webhooks
from mediaserver.config import WebhooksConfig
from mediaserver.transport import targets
from tests.control.webhooks import killed
from tests.control.webhooks.receiver import HANG, Receiver, eventually

KILLS = int(os.environ.get("WEBHOOK_KILLS", "2"))
MANY = 200


async def judge(host: str, port: int) -> tuple[targets.Target, ...]:
    return targets.resolve(host, port, allow_private=True)


def sender(db: Database, **config: float) -> Webhooks:
    return Webhooks(db, Vault(killed.SECRET), WebhooksConfig.model_validate(config), judge)


async def tell(db: Database, user_id: int, amount: int) -> None:
    async with db.write() as tx:
        for number in range(amount):
            await outbox.tell(tx, user_id, Message(f"msg_{number}", EventName.STREAM_STARTED, "{}"), 0.0, 1e12)


async def test_none_is_lost_and_few_come_twice(database_url: str, tmp_path: Path) -> None:
    figures = await killed.run(database_url, tmp_path, KILLS)
    assert figures.told >= KILLS
    assert figures.lost == 0
    assert figures.ids_that_changed == 0
    # What was on its way when the sender was killed may have arrived, and what was answered too late; nothing else.
    assert figures.twice <= KILLS * killed.CONFIG.max_jobs + figures.late, str(figures)


async def test_two_nodes_on_one_database_send_each_message_once(
    database_url: str, database: Database, tmp_path: Path, receiver: Receiver
) -> None:
    await killed.prepare(database, receiver.url())
    await tell(database, 1, MANY)
    other = await open_database(database_url, tmp_path)
    try:
        async with sender(database).running(), sender(other).running():
            await receiver.wait_for(MANY)

            async def done() -> bool:
                async with database.read() as tx:
                    return await models.count_deliveries(tx, 1, "delivered") == MANY

            await eventually(done)
    finally:
        await other.close()
    assert sorted(receiver.accepted) == sorted(f"msg_{number}" for number in range(MANY))


async def test_a_receiver_that_hangs_leaves_room_for_the_others(
    database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Receiver(lambda _: HANG).running() as hanging:
        await killed.prepare(database, hanging.url())
        await tell(database, 1, 50)
        async with database.write() as tx:
            await models.update_webhook(tx, 1, {"enabled": 0})
            row = await models.webhook_by_id(tx, 1)
            assert row is not None
            urls = (await Vault(killed.SECRET).cipher()).seal(outbox.URLS, f'{{"": "{receiver.url()}"}}')
            fields = {name: value for name, value in row.items() if name != "id"} | {"urls": urls, "enabled": 1}
            await models.insert_webhook(tx, fields)
        await tell(database, 1, 50)
        async with database.write() as tx:
            await models.update_webhook(tx, 1, {"enabled": 1})
        monkeypatch.setattr(service, "LAST_WORDS", 0.0)  # for those that hang
        async with sender(database, timeout=60.0).running():
            await receiver.wait_for(50)
            await hanging.wait_for(1)
            assert len(hanging.posts) <= 8


async def test_what_a_dead_sender_had_taken_is_sent_by_another(database: Database, receiver: Receiver) -> None:
    """Taken and never sent: due again when whoever took it counts as dead."""
    await killed.prepare(database, receiver.url())
    await tell(database, 1, 1)
    async with database.write() as tx:
        (taken,) = await models.claim(tx, 10.0, 20.0, 5, 5, {})
        assert await models.claim(tx, 19.0, 30.0, 5, 5, {}) == []
    assert taken["attempts"] == 1
    async with sender(database).running():
        (came,) = await receiver.wait_for(1)
    assert came.id == "msg_0"


async def test_a_message_is_put_into_the_outbox_once(database: Database) -> None:
    await killed.prepare(database, "http://localhost/")
    for _ in range(2):
        await tell(database, 1, 3)
    async with database.read() as tx:
        assert await models.count_deliveries(tx, 1, None) == 3


async def test_what_is_old_is_forgotten(database: Database) -> None:
    await killed.prepare(database, "http://localhost/")
    await tell(database, 1, 2)
    async with database.write() as tx:
        await models.delivered(tx, 1, 200, 1000.0)
        await models.insert_attempt(tx, 1, 1, 1000.0, 200, "", 0.1, "")
        await models.tidy(tx, 5000.0, 999.0)
        assert await models.count_deliveries(tx, 1, None) == 2
        await models.tidy(tx, 5000.0, 1001.0)
        assert await models.count_deliveries(tx, 1, None) == 1
        assert await models.attempts_of(tx, 1) == []


async def test_a_sender_that_is_stopped_lets_its_last_messages_arrive(
    database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LAST_WORDS", 30.0)
    await killed.prepare(database, receiver.url())
    webhooks = sender(database)
    async with webhooks.running():
        await asyncio.sleep(0)
        await tell(database, 1, 5)
    assert len(receiver.accepted) == 5
