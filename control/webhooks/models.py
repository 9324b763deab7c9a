"""Rows of webhooks, and every statement about them."""

from collections.abc import Collection, Mapping, Sequence
from enum import Enum

from control.db import Row, Transaction

_WEBHOOK = (
    "id, user_id, urls, events, thresholds, secret, old_secret, old_secret_until, enabled, disabled_reason, failing_since,"
    " created_at, updated_at"
)
_DELIVERY = (
    "id, webhook_id, message_id, event, body, state, attempts, next_at, give_up_at, status, error, replay_of, created_at,"
    " finished_at"
)

#: Rows of values in one statement.
_TOGETHER = 500


class DeliveryState(Enum):
    """``pending`` until it is ``delivered`` or given up as ``failed``; a replay is a delivery of its own."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


# -- webhooks ---------------------------------------------------------------------------------------------------------


async def insert_webhook(tx: Transaction, fields: Row) -> int:
    """A new webhook's id."""
    marks = ", ".join("?" for _ in fields)
    row = await tx.row(f"INSERT INTO webhooks ({', '.join(fields)}) VALUES ({marks}) RETURNING id", *fields.values())
    assert row is not None  # noqa: S101  RETURNING gives one
    return int(row["id"])


async def webhook_by_id(tx: Transaction, webhook_id: int) -> Row | None:
    """One webhook."""
    return await tx.row(f"SELECT {_WEBHOOK} FROM webhooks WHERE id = ?", webhook_id)


async def hold_webhook(tx: Transaction, webhook_id: int) -> Row | None:
    """The same, which nobody else changes until this transaction ends."""
    await tx.execute("UPDATE webhooks SET updated_at = updated_at WHERE id = ?", webhook_id)
    return await webhook_by_id(tx, webhook_id)


async def webhooks_by_id(tx: Transaction, webhook_ids: Collection[int]) -> Mapping[int, Row]:
    """Several, by id."""
    if not webhook_ids:
        return {}
    rows = await tx.rows(f"SELECT {_WEBHOOK} FROM webhooks WHERE id IN ({_marks(webhook_ids)})", *webhook_ids)
    return {row["id"]: row for row in rows}


async def list_webhooks(tx: Transaction, user_id: int, limit: int, offset: int) -> Sequence[Row]:
    """A user's webhooks."""
    return await tx.rows(
        f"SELECT {_WEBHOOK} FROM webhooks WHERE user_id = ? ORDER BY id LIMIT ? OFFSET ?", user_id, limit, offset
    )


async def count_webhooks(tx: Transaction, user_id: int) -> int:
    """How many there are."""
    row = await tx.row("SELECT count(*) AS number FROM webhooks WHERE user_id = ?", user_id)
    return int(row["number"]) if row else 0


async def enabled_webhooks(tx: Transaction, user_id: int) -> Sequence[Row]:
    """Those of a user that want to be told."""
    return await tx.rows(f"SELECT {_WEBHOOK} FROM webhooks WHERE user_id = ? AND enabled = 1 ORDER BY id", user_id)


async def watching_webhooks(tx: Transaction) -> Sequence[Row]:
    """Everybody's that may want to know how many watch."""
    return await tx.rows("SELECT id, user_id, events, thresholds FROM webhooks WHERE enabled = 1 AND thresholds <> '[]'")


async def update_webhook(tx: Transaction, webhook_id: int, fields: Row) -> None:
    """Change the named columns."""
    columns = ", ".join(f"{name} = ?" for name in fields)
    await tx.execute(f"UPDATE webhooks SET {columns} WHERE id = ?", *fields.values(), webhook_id)


async def delete_webhook(tx: Transaction, webhook_id: int) -> None:
    """The webhook and its log."""
    await tx.execute("DELETE FROM webhooks WHERE id = ?", webhook_id)


async def note_success(tx: Transaction, webhook_id: int) -> None:
    """It answers."""
    await tx.execute("UPDATE webhooks SET failing_since = NULL WHERE id = ? AND failing_since IS NOT NULL", webhook_id)


async def note_failure(tx: Transaction, webhook_id: int, now: float) -> float:
    """It does not. Since when."""
    row = await tx.row(
        "UPDATE webhooks SET failing_since = coalesce(failing_since, ?) WHERE id = ? RETURNING failing_since", now, webhook_id
    )
    return now if row is None else float(row["failing_since"])


async def disable_webhook(tx: Transaction, webhook_id: int, reason: str, now: float) -> None:
    """Tell it no more, and give up what waits for it."""
    await tx.execute(
        "UPDATE webhooks SET enabled = 0, disabled_reason = ?, updated_at = ? WHERE id = ? AND enabled = 1",
        reason, now, webhook_id,
    )  # fmt: skip
    await tx.execute(
        "UPDATE webhook_deliveries SET state = 'failed', error = ?, finished_at = ? WHERE webhook_id = ? AND state = 'pending'",
        reason, now, webhook_id,
    )  # fmt: skip


# -- deliveries -------------------------------------------------------------------------------------------------------


async def insert_delivery(
    tx: Transaction, webhook_id: int, message: tuple[str, str, str], now: float, give_up_at: float, replay_of: int | None = None
) -> int | None:
    """Put (message id, event, body) into the outbox. Its id; None if that message is there already."""
    row = await tx.row(
        "INSERT INTO webhook_deliveries (webhook_id, message_id, event, body, state, next_at, give_up_at, replay_of, created_at)"
        " VALUES (?, ?, ?, ?, 'pending', ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING id",
        webhook_id, *message, now, give_up_at, replay_of, now,
    )  # fmt: skip
    return None if row is None else int(row["id"])


async def delivery_by_id(tx: Transaction, webhook_id: int, delivery_id: int) -> Row | None:
    """One delivery of that webhook."""
    return await tx.row(f"SELECT {_DELIVERY} FROM webhook_deliveries WHERE id = ? AND webhook_id = ?", delivery_id, webhook_id)


async def list_deliveries(tx: Transaction, webhook_id: int, state: str | None, limit: int, offset: int) -> Sequence[Row]:
    """A webhook's deliveries, the newest first, in one state or any."""
    where, values = _of(webhook_id, state)
    return await tx.rows(
        f"SELECT {_DELIVERY} FROM webhook_deliveries WHERE {where} ORDER BY id DESC LIMIT ? OFFSET ?", *values, limit, offset
    )


async def count_deliveries(tx: Transaction, webhook_id: int, state: str | None) -> int:
    """How many there are."""
    where, values = _of(webhook_id, state)
    row = await tx.row(f"SELECT count(*) AS number FROM webhook_deliveries WHERE {where}", *values)
    return int(row["number"]) if row else 0


def _of(webhook_id: int, state: str | None) -> tuple[str, tuple[object, ...]]:
    return ("webhook_id = ?", (webhook_id,)) if state is None else ("webhook_id = ? AND state = ?", (webhook_id, state))


async def attempts_of(tx: Transaction, delivery_id: int) -> Sequence[Row]:
    """Every try that has an outcome."""
    return await tx.rows(
        "SELECT number, at, status, error, seconds, response FROM webhook_attempts WHERE delivery_id = ? ORDER BY number",
        delivery_id,
    )


async def next_due(tx: Transaction) -> float | None:
    """When the next delivery is due."""
    row = await tx.row(
        "SELECT min(d.next_at) AS at FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id"
        " WHERE d.state = 'pending' AND w.enabled = 1"
    )
    return None if row is None else row["at"]


async def claim(tx: Transaction, now: float, until: float, amount: int, each: int, sending: Mapping[int, int]) -> Sequence[Row]:
    """Take up to ``amount`` due deliveries, of a webhook as many as make ``each`` with those that it is being sent already
    (``sending``, by webhook): nobody else gets them before ``until``. Each counts as one more try."""
    taken = "CASE d.webhook_id" + " WHEN ? THEN ?" * len(sending) + " ELSE 0 END" if sending else "0"
    # Of two nodes that choose the same row, the second waits for the first and then finds that it is due no more: that is why
    # the condition stands outside once again.
    return await tx.rows(
        "UPDATE webhook_deliveries SET attempts = attempts + 1, next_at = ? WHERE state = 'pending' AND next_at <= ? AND id IN ("
        "SELECT id FROM (SELECT d.id, d.next_at, row_number() OVER (PARTITION BY d.webhook_id ORDER BY d.next_at, d.id)"
        f" + {taken} AS place"
        " FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id"
        " WHERE d.state = 'pending' AND d.next_at <= ? AND w.enabled = 1) AS due"
        " WHERE place <= ? ORDER BY next_at, id LIMIT ?)"
        " RETURNING id, webhook_id, message_id, event, body, attempts, give_up_at",
        until, now, *(word for pair in sorted(sending.items()) for word in pair), now, each, amount,
    )  # fmt: skip


async def insert_attempt(
    tx: Transaction, delivery_id: int, number: int, at: float, status: int | None, error: str, seconds: float, response: str
) -> None:
    """Write a try down. Harmless twice, and for a delivery that was deleted meanwhile."""
    await tx.execute(
        "INSERT INTO webhook_attempts (delivery_id, number, at, status, error, seconds, response)"
        " SELECT id, ?, ?, ?, ?, ?, ? FROM webhook_deliveries WHERE id = ? ON CONFLICT DO NOTHING",
        number, at, status, error, seconds, response, delivery_id,
    )  # fmt: skip


async def delivered(tx: Transaction, delivery_id: int, status: int, now: float) -> None:
    """It has arrived, whoever else may be trying."""
    await tx.execute(
        "UPDATE webhook_deliveries SET state = 'delivered', status = ?, error = '', finished_at = ? WHERE id = ?",
        status, now, delivery_id,
    )  # fmt: skip


async def put_off(
    tx: Transaction, delivery_id: int, attempts: int, status: int | None, error: str, next_at: float | None, now: float
) -> None:
    """The try number ``attempts`` failed: the next is at ``next_at``; None: given up. Nothing if somebody else tries now."""
    state = "pending" if next_at is not None else "failed"
    await tx.execute(
        "UPDATE webhook_deliveries SET state = ?, status = ?, error = ?, next_at = ?, finished_at = ?"
        " WHERE id = ? AND attempts = ? AND state = 'pending'",
        state, status, error, now if next_at is None else next_at, now if next_at is None else None, delivery_id, attempts,
    )  # fmt: skip


async def tidy(tx: Transaction, now: float, kept_since: float) -> None:
    """Give up what its webhook slept through, and forget what was over before ``kept_since``."""
    await tx.execute(
        "UPDATE webhook_deliveries SET state = 'failed', error = 'the webhook was disabled for too long', finished_at = ?"
        " WHERE state = 'pending' AND give_up_at < ? AND webhook_id IN (SELECT id FROM webhooks WHERE enabled = 0)",
        now, now,
    )  # fmt: skip
    await tx.execute("DELETE FROM webhook_deliveries WHERE finished_at < ?", kept_since)


# -- broadcasts -------------------------------------------------------------------------------------------------------


async def begin_broadcast(tx: Transaction, stream_id: int, user_id: int, stream_name: str, at: float) -> None:
    """It was announced that the stream is on air."""
    await tx.execute(
        "INSERT INTO webhook_broadcasts (stream_id, user_id, stream_name, started_at, seen_at, peak_viewers)"
        " VALUES (?, ?, ?, ?, ?, 0)",
        stream_id, user_id, stream_name, at, at,
    )  # fmt: skip


async def end_broadcast(tx: Transaction, stream_id: int) -> Row | None:
    """What was announced as started; it is no more."""
    return await tx.row(
        "DELETE FROM webhook_broadcasts WHERE stream_id = ? RETURNING stream_id, user_id, stream_name, started_at, seen_at,"
        " peak_viewers",
        stream_id,
    )


async def see_broadcasts(tx: Transaction, peaks: Mapping[int, int], now: float) -> None:
    """They are still on air, with so many viewers at most by the stream; many in one statement."""
    seen = sorted(peaks.items())
    for start in range(0, len(seen), _TOGETHER):
        some = seen[start : start + _TOGETHER]
        rows = ", ".join(["(CAST(? AS BIGINT), CAST(? AS INTEGER))"] * len(some))
        await tx.execute(
            "UPDATE webhook_broadcasts SET seen_at = ?, peak_viewers = seen.column2"
            f" FROM (VALUES {rows}) AS seen WHERE stream_id = seen.column1",
            now, *(value for row in some for value in row),
        )  # fmt: skip


async def lost_broadcasts(tx: Transaction, before: float) -> Sequence[Row]:
    """Those that nobody has seen since."""
    return await tx.rows("SELECT stream_id FROM webhook_broadcasts WHERE seen_at < ? ORDER BY stream_id LIMIT 1000", before)


def _marks(values: Collection[int]) -> str:
    return ", ".join("?" for _ in values)
