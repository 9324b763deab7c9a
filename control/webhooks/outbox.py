"""The outbox: who is told what is decided in the transaction of its cause, and sent when that is safe."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from control.db import Row, Transaction
from control.webhooks import models
from control.webhooks.messages import Message

if TYPE_CHECKING:
    from control.cipher import Cipher

URLS = "webhooks.urls"
SECRET = "webhooks.secret"  # noqa: S105 - a word
#: Seconds for which an old secret signs beside the new one.
OLD_SECRET = 86400.0


async def tell(tx: Transaction, user_id: int, message: Message, now: float, keep_trying: float) -> int:
    """Put ``message`` into the outbox for every webhook of the user that wants it: to how many."""
    told = 0
    for row in await models.enabled_webhooks(tx, user_id):
        if message.event.value in json.loads(row["events"]):
            told += await tell_one(tx, row["id"], message, now, keep_trying)
    return told


async def tell_one(tx: Transaction, webhook_id: int, message: Message, now: float, keep_trying: float) -> bool:
    """The same for one webhook. False if it was told already."""
    parts = message.id, message.event.value, message.body
    return await models.insert_delivery(tx, webhook_id, parts, now, now + keep_trying) is not None


def url_of(cipher: "Cipher", webhook: Row, event: str) -> str:
    """Where ``event`` goes; empty where no address is left for it."""
    urls: dict[str, str] = json.loads(cipher.open(URLS, webhook["urls"]))
    return urls.get(event) or urls.get("", "")


def secrets_of(cipher: "Cipher", webhook: Row, now: float) -> Sequence[str]:
    """The secrets that sign now, the one in force first."""
    sealed = [webhook["secret"]]
    if webhook["old_secret"] and webhook["old_secret_until"] > now:
        sealed.append(webhook["old_secret"])
    return [cipher.open(SECRET, text) for text in sealed]
