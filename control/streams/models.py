"""Rows of streams, and every statement about them."""

from collections.abc import Collection, Mapping, Sequence

from control.auth.models import hold_user
from control.db import Row, Transaction

_STREAM = (
    "id, user_id, name, input_type, input_url, key_hash, latency_mode, record_enabled, auto_start, video_codec, audio_codec,"
    " bitrate_mode, keyframe_interval, qualities, started, starts, stopped_at, stopped_on_air, created_at, updated_at"
)

_OWNER_DISABLED = "(SELECT disabled FROM users WHERE users.id = streams.user_id) AS owner_disabled"


async def insert_stream(tx: Transaction, fields: Row) -> int:
    """A new stream's id."""
    marks = ", ".join("?" for _ in fields)
    row = await tx.row(f"INSERT INTO streams ({', '.join(fields)}) VALUES ({marks}) RETURNING id", *fields.values())
    assert row is not None  # noqa: S101  RETURNING gives one
    return int(row["id"])


async def hold_stream(tx: Transaction, stream_id: int) -> Row | None:
    """The stream, which nobody else changes until this transaction ends, nor another of its user's or whose turn it is of those
    with its key."""
    row = await stream_by_id(tx, stream_id)
    if row is None:
        return None
    await hold_user(tx, row["user_id"])
    await tx.execute("UPDATE streams SET updated_at = updated_at WHERE id = ?", stream_id)
    return await stream_by_id(tx, stream_id)


async def stream_by_id(tx: Transaction, stream_id: int) -> Row | None:
    """One stream."""
    return await tx.row(f"SELECT {_STREAM} FROM streams WHERE id = ?", stream_id)


async def streams_by_key(tx: Transaction, key_hash: str) -> Sequence[Row]:
    """The streams that are pushed with that key: those that are wanted on air come first, then those that may begin by
    themselves, the newest before the others. ``owner_disabled`` says whether their owner may stream at all."""
    return await tx.rows(
        f"SELECT {_STREAM}, {_OWNER_DISABLED} FROM streams"
        " WHERE key_hash = ? ORDER BY started DESC, auto_start DESC, id DESC LIMIT 1000",
        key_hash,
    )


async def take_key(tx: Transaction, key_hash: str, user_id: int) -> bool:
    """The key is that user's from now on. False if it is somebody else's."""
    await tx.execute(
        "INSERT INTO stream_keys (key_hash, user_id) VALUES (?, ?) ON CONFLICT (key_hash) DO NOTHING", key_hash, user_id
    )
    row = await tx.row("SELECT user_id FROM stream_keys WHERE key_hash = ?", key_hash)
    return row is not None and row["user_id"] == user_id


async def leave_key(tx: Transaction, key_hash: str) -> None:
    """The key is nobody's any more, if no stream has it."""
    await tx.execute(
        "DELETE FROM stream_keys WHERE key_hash = ? AND NOT EXISTS (SELECT 1 FROM streams WHERE key_hash = ?)", key_hash, key_hash
    )


async def end_turns(tx: Transaction, key_hash: str, stream_id: int) -> None:
    """That stream alone is wanted on air with this key."""
    await tx.execute("UPDATE streams SET started = 0 WHERE key_hash = ? AND id <> ? AND started = 1", key_hash, stream_id)


async def hold_on(tx: Transaction, key_hash: str, since: float, now: float) -> None:
    """What was stopped after ``since`` and has that key counts as stopped ``now``."""
    await tx.execute("UPDATE streams SET stopped_at = ? WHERE key_hash = ? AND stopped_at > ?", now, key_hash, since)


async def start_stream(tx: Transaction, stream_id: int, now: float) -> None:
    """It is wanted on air. ``starts`` tells this time from others."""
    await tx.execute(
        "UPDATE streams SET started = 1, starts = starts + 1, stopped_at = NULL, updated_at = ? WHERE id = ?", now, stream_id
    )


async def end_start(tx: Transaction, stream_id: int, starts: int, stopped_at: float | None) -> None:
    """It is wanted no more, unless it was stopped or started again since then."""
    await tx.execute(
        "UPDATE streams SET started = 0, stopped_at = ? WHERE id = ? AND starts = ? AND started = 1",
        stopped_at,
        stream_id,
        starts,
    )


async def end_all_of(tx: Transaction, user_id: int) -> Sequence[int]:
    """None of a user's streams is wanted on air. All of their ids."""
    await tx.execute("UPDATE streams SET started = 0 WHERE user_id = ? AND started = 1", user_id)
    return [row["id"] for row in await tx.rows("SELECT id FROM streams WHERE user_id = ? ORDER BY id", user_id)]


async def page_of_streams(tx: Transaction, user_id: int | None, limit: int, offset: int) -> tuple[Sequence[Row], int]:
    """What a list shows of a user's streams, or of everybody's (None), and how many there are altogether."""
    whose, values = ("", ()) if user_id is None else (" WHERE user_id = ?", (user_id,))
    rows = await tx.rows(
        f"SELECT id, user_id, name, key_hash, input_url, latency_mode, started, starts, created_at, updated_at,"
        f" (SELECT count(*) FROM streams{whose}) AS number FROM streams{whose} ORDER BY id LIMIT ? OFFSET ?",
        *values, *values, limit, offset,
    )  # fmt: skip
    return rows, int(rows[0]["number"]) if rows else await count_streams(tx, user_id)


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


async def wanted_pulls(tx: Transaction) -> Sequence[int]:
    """The ids of those that are to be fetched: after a restart of the server they are."""
    rows = await tx.rows(
        "SELECT id FROM streams WHERE started = 1 AND key_hash IS NULL"
        " AND EXISTS (SELECT 1 FROM users WHERE users.id = streams.user_id AND disabled = 0) ORDER BY id LIMIT 10000"
    )
    return [row["id"] for row in rows]


async def streams_by_ids(tx: Transaction, stream_ids: Collection[int]) -> Sequence[Row]:
    """Those that are there. ``owner_disabled`` says whether their owner may stream at all."""
    if not stream_ids:
        return []
    marks = ", ".join("?" for _ in stream_ids)
    return await tx.rows(f"SELECT {_STREAM}, {_OWNER_DISABLED} FROM streams WHERE id IN ({marks}) ORDER BY id", *stream_ids)


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
    """Change the named columns."""
    columns = ", ".join(f"{name} = ?" for name in fields)
    await tx.execute(f"UPDATE streams SET {columns}, updated_at = ? WHERE id = ?", *fields.values(), now, stream_id)


async def delete_stream(tx: Transaction, stream_id: int) -> None:
    """The stream, and what hangs on it."""
    await tx.execute("DELETE FROM streams WHERE id = ?", stream_id)
