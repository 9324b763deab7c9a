"""Rows of streams, and every statement about them."""

from collections.abc import Collection, Mapping, Sequence

from control.db import Row, Transaction

_STREAM = (
    "id, user_id, name, input_type, input_url, key_hash, latency_mode, record_enabled, auto_start, video_codec, audio_codec,"
    " bitrate_mode, keyframe_interval, qualities, started, stopped_at, created_at, updated_at"
)


async def insert_stream(tx: Transaction, fields: Row) -> int:
    """A new stream's id. Raises Conflict for a key that is taken."""
    marks = ", ".join("?" for _ in fields)
    row = await tx.row(f"INSERT INTO streams ({', '.join(fields)}) VALUES ({marks}) RETURNING id", *fields.values())
    assert row is not None  # noqa: S101  RETURNING gives one
    return int(row["id"])


async def stream_by_id(tx: Transaction, stream_id: int) -> Row | None:
    """One stream."""
    return await tx.row(f"SELECT {_STREAM} FROM streams WHERE id = ?", stream_id)


async def stream_by_key(tx: Transaction, key_hash: str) -> Row | None:
    """The stream that is pushed with that key, if its owner may stream at all."""
    return await tx.row(
        f"SELECT {_STREAM} FROM streams WHERE key_hash = ?"
        " AND EXISTS (SELECT 1 FROM users WHERE users.id = streams.user_id AND users.disabled = 0)",
        key_hash,
    )


async def list_streams(tx: Transaction, user_id: int | None, limit: int, offset: int) -> Sequence[Row]:
    """A user's streams, or everybody's (None)."""
    if user_id is None:
        return await tx.rows(f"SELECT {_STREAM} FROM streams ORDER BY id LIMIT ? OFFSET ?", limit, offset)
    return await tx.rows(f"SELECT {_STREAM} FROM streams WHERE user_id = ? ORDER BY id LIMIT ? OFFSET ?", user_id, limit, offset)


async def count_streams(tx: Transaction, user_id: int | None) -> int:
    """How many there are."""
    if user_id is None:
        row = await tx.row("SELECT count(*) AS number FROM streams")
    else:
        row = await tx.row("SELECT count(*) AS number FROM streams WHERE user_id = ?", user_id)
    return int(row["number"]) if row else 0


async def started_streams(tx: Transaction) -> Sequence[Row]:
    """Those that are to be on air: after a restart of the server they are."""
    return await tx.rows(f"SELECT {_STREAM} FROM streams WHERE started = 1 ORDER BY id LIMIT 10000")


async def owners(tx: Transaction, stream_ids: Collection[int]) -> Mapping[int, int]:
    """Whose streams those are; one that is gone is left out."""
    return {row["id"]: row["user_id"] for row in await _some(tx, "user_id", stream_ids)}


async def names(tx: Transaction, stream_ids: Collection[int]) -> dict[int, str]:
    """What those are called, likewise."""
    return {row["id"]: row["name"] for row in await _some(tx, "name", stream_ids)}


async def _some(tx: Transaction, column: str, stream_ids: Collection[int]) -> Sequence[Row]:
    if not stream_ids:
        return []
    marks = ", ".join("?" for _ in stream_ids)
    return await tx.rows(f"SELECT id, {column} FROM streams WHERE id IN ({marks})", *stream_ids)


async def update_stream(tx: Transaction, stream_id: int, fields: Row, now: float) -> None:
    """Change the named columns. Raises Conflict."""
    columns = ", ".join(f"{name} = ?" for name in fields)
    await tx.execute(f"UPDATE streams SET {columns}, updated_at = ? WHERE id = ?", *fields.values(), now, stream_id)


async def delete_stream(tx: Transaction, stream_id: int) -> None:
    """The stream, and what hangs on it."""
    await tx.execute("DELETE FROM streams WHERE id = ?", stream_id)
