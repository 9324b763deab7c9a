"""Rows of destinations, and every statement about them."""

from collections.abc import Sequence

from control.db import Row, Transaction

_DESTINATION = "id, user_id, stream_id, name, platform, rtmp_url, stream_key, rendition, enabled, created_at, updated_at"


async def insert_destination(tx: Transaction, fields: Row) -> int:
    """A new destination's id."""
    marks = ", ".join("?" for _ in fields)
    row = await tx.row(f"INSERT INTO destinations ({', '.join(fields)}) VALUES ({marks}) RETURNING id", *fields.values())
    assert row is not None  # noqa: S101  RETURNING gives one
    return int(row["id"])


async def destination_by_id(tx: Transaction, destination_id: int) -> Row | None:
    """One destination."""
    return await tx.row(f"SELECT {_DESTINATION} FROM destinations WHERE id = ?", destination_id)


async def hold_destination(tx: Transaction, destination_id: int) -> Row | None:
    """The same, which nobody else changes until this transaction ends."""
    await tx.execute("UPDATE destinations SET updated_at = updated_at WHERE id = ?", destination_id)
    return await destination_by_id(tx, destination_id)


async def list_destinations(tx: Transaction, user_id: int, limit: int, offset: int) -> Sequence[Row]:
    """A user's destinations, those of single streams among them."""
    return await tx.rows(
        f"SELECT {_DESTINATION} FROM destinations WHERE user_id = ? ORDER BY id LIMIT ? OFFSET ?", user_id, limit, offset
    )


async def count_destinations(tx: Transaction, user_id: int) -> int:
    """How many those are."""
    row = await tx.row("SELECT count(*) AS number FROM destinations WHERE user_id = ?", user_id)
    return int(row["number"]) if row else 0


async def destinations_of(tx: Transaction, stream_ids: Sequence[int], user_ids: Sequence[int]) -> Sequence[Row]:
    """Where these streams of these users go: what is theirs alone, and what is all their users' streams'."""
    if not stream_ids:
        return []
    streams, users = ", ".join("?" for _ in stream_ids), ", ".join("?" for _ in user_ids)
    return await tx.rows(
        f"SELECT {_DESTINATION} FROM destinations WHERE stream_id IN ({streams})"
        f" OR (stream_id IS NULL AND user_id IN ({users})) ORDER BY id LIMIT 10000",
        *stream_ids,
        *user_ids,
    )


async def listed_destinations_of(tx: Transaction, stream_ids: Sequence[int], user_ids: Sequence[int]) -> Sequence[Row]:
    """The same in no order, with what a list shows of each."""
    if not stream_ids:
        return []
    streams, users = ", ".join("?" for _ in stream_ids), ", ".join("?" for _ in user_ids)
    return await tx.rows(
        f"SELECT id, user_id, stream_id, platform FROM destinations WHERE stream_id IN ({streams})"
        f" OR (stream_id IS NULL AND user_id IN ({users})) LIMIT 10000",
        *stream_ids,
        *user_ids,
    )


async def destinations_of_stream(tx: Transaction, stream_id: int) -> Sequence[Row]:
    """What is one stream's alone."""
    return await tx.rows(f"SELECT {_DESTINATION} FROM destinations WHERE stream_id = ? ORDER BY id LIMIT 10000", stream_id)


async def update_destination(tx: Transaction, destination_id: int, fields: Row, now: float) -> None:
    """Change the named columns."""
    columns = ", ".join(f"{name} = ?" for name in fields)
    await tx.execute(f"UPDATE destinations SET {columns}, updated_at = ? WHERE id = ?", *fields.values(), now, destination_id)


async def delete_destination(tx: Transaction, destination_id: int) -> None:
    """It is gone."""
    await tx.execute("DELETE FROM destinations WHERE id = ?", destination_id)
