"""A database that does not answer is told of when that begins and when it ends, however often it is asked meanwhile."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control.db import DatabaseUnavailable, Transaction, open_database
from control.vault import Vault
from control.webhooks import courier
from mediaserver.config import WebhooksConfig
from tests.control.webhooks import killed
from tests.control.webhooks.test_order import Wire

PATIENCE = 30.0


async def test_the_log_says_when_webhooks_wait_and_when_they_go_on(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "control.webhooks.courier")
    monkeypatch.setattr(courier, "RETRY", 0.0)
    database = await open_database(sqlite_url, tmp_path)
    away, asked = True, 0
    write = database.write

    @contextlib.asynccontextmanager
    async def now_and_then() -> AsyncIterator[Transaction]:
        nonlocal away, asked
        asked += 1
        away = away and asked % 10 != 0
        if away:
            raise DatabaseUnavailable("it is full")
        async with write() as tx:
            yield tx

    monkeypatch.setattr(database, "write", now_and_then)
    sender = courier.Courier(database, Vault(killed.SECRET), Wire(), WebhooksConfig(), lambda: 1000.0)
    running = asyncio.create_task(sender.run())
    try:
        for _ in range(2):
            assert await sender.quiet(PATIENCE)
            away = True
            sender.wake()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await database.close()
    told = [record.getMessage() for record in caplog.records]
    assert asked >= 20
    assert [line for line in told if line.startswith("webhooks_")][:4] == ["webhooks_wait", "webhooks_go_on"] * 2
