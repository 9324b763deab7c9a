"""Several who change one webhook at once, on a database where they wait for each other row by row."""

import asyncio
from typing import Any

import pytest

from control.webhooks import models, outbox
from tests.control.conftest import OpenPanel
from tests.control.panel import Answer, Panel, Person
from tests.control.test_held import blocked
from tests.control.webhooks.test_webhooks import make_webhook

URL = "https://hooks.example/"
ONE = {"urls": {"stream.started": f"{URL}started"}}
CHANGES: list[dict[str, Any]] = [{"events": ["stream.started"]}, ONE, {"thresholds": [7]}, {"url": f"{URL}all"}]


async def at_once(panel: Panel, webhook_id: int, *asking: Any) -> list[Answer]:
    """All of them come to the webhook before one of them has it."""
    tasks = []
    async with panel.control.db.write() as tx:
        await models.hold_webhook(tx, webhook_id)
        for number, each in enumerate(asking, 1):
            tasks.append(asyncio.create_task(each))
            await blocked(panel, number)
    return [await task for task in tasks]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("step", [1, -1])
async def test_no_change_undoes_another(panel: OpenPanel, step: int) -> None:
    opened = await panel()
    admin = await opened.log_in()
    number = (await make_webhook(admin, url=URL))["id"]
    path = f"/api/webhooks/{number}"
    answers = await at_once(opened, number, *(admin.put(path, json=change) for change in CHANGES[::step]))
    assert [answer.status for answer in answers] == [200] * len(CHANGES)
    shown = (await admin.get(path)).json
    assert [{name: shown[name] for name in change} for change in CHANGES] == CHANGES


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_two_new_secrets_at_once_are_kept_one_after_the_other(panel: OpenPanel) -> None:
    """Whoever was given the first one is still believed for a day."""
    opened = await panel()
    admin: Person = await opened.log_in()
    number = (await make_webhook(admin, url=URL))["id"]
    path = f"/api/webhooks/{number}/secret"
    first, second = await at_once(opened, number, admin.post(path), admin.post(path))
    async with opened.control.db.read() as tx:
        row = await models.webhook_by_id(tx, number)
    assert row is not None
    cipher = (await opened.services()).cipher
    kept = {cipher.open(outbox.SECRET, row[name]) for name in ("secret", "old_secret")}
    assert kept == {first.json["secret"], second.json["secret"]}
