"""Rows of viewers' sessions, and every statement about them."""

from collections.abc import Mapping, Sequence

from control.db import Row, Transaction

#: The columns of a session, in the order of ``put``.
COLUMNS = (
    "id", "stream_id", "user_id", "life", "started", "hour", "ended", "viewer", "platform", "country", "startup", "played",
    "stalled",
)  # fmt: skip
#: What still changes once it is there.
_LATER = ("ended", "startup", "played", "stalled")
_PUT = f"INSERT INTO viewer_sessions ({', '.join(COLUMNS)}) VALUES "
_MARKS = f"({', '.join('?' for _ in COLUMNS)})"
_OR_CHANGE = " ON CONFLICT (id) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in _LATER)


async def put(tx: Transaction, sessions: Sequence[Sequence[object]]) -> None:
    """Write sessions down, new ones and again those that changed, all at once."""
    if sessions:
        values = [value for session in sessions for value in session]
        await tx.execute(_PUT + ", ".join([_MARKS] * len(sessions)) + _OR_CHANGE, *values)


# -- processes ------------------------------------------------------------------------------------------------------------


async def note_life(tx: Transaction, life: str, now: float) -> None:
    """The process ``life`` is there."""
    await tx.execute(
        "INSERT INTO viewer_lives (id, seen_at) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at",
        life,
        now,
    )


async def end_life(tx: Transaction, life: str) -> None:
    """It has written everything down."""
    await tx.execute("DELETE FROM viewer_lives WHERE id = ?", life)


async def bury(tx: Transaction, before: float) -> int:
    """Processes that were last seen then have died: their sessions ended there. How many sessions that were."""
    ended = 0
    for life in await tx.rows("SELECT id, seen_at FROM viewer_lives WHERE seen_at < ? LIMIT 100", before):
        ended += await tx.execute(
            "UPDATE viewer_sessions SET ended = CASE WHEN started > ? THEN started ELSE ? END WHERE ended = ? AND life = ?",
            life["seen_at"], life["seen_at"], float("inf"), life["id"],
        )  # fmt: skip
        await end_life(tx, life["id"])
    return ended


async def forget(tx: Transaction, before: float, limit: int) -> int:
    """Remove sessions that ended before, so many at most. How many that were."""
    return await tx.execute(
        "DELETE FROM viewer_sessions WHERE id IN (SELECT id FROM viewer_sessions WHERE ended < ? ORDER BY ended LIMIT ?)",
        before, limit,
    )  # fmt: skip


async def forget_stream(tx: Transaction, stream_id: int, limit: int) -> int:
    """Remove a stream's sessions, so many at most. How many that were."""
    return await tx.execute(
        "DELETE FROM viewer_sessions WHERE id IN (SELECT id FROM viewer_sessions WHERE stream_id = ? LIMIT ?)", stream_id, limit
    )


# -- figures --------------------------------------------------------------------------------------------------------------


class Span:
    """Which sessions are meant: those of a user's streams, of one stream, or all, as far as they lie between two moments.

    ``begin`` and ``end`` are Unix time; what lasts still has come as far as ``now``.
    """

    def __init__(self, begin: float, end: float, now: float, *, user_id: int | None = None, stream_id: int | None = None) -> None:
        self.begin = begin
        self.end = min(end, now)
        self.now = now
        where = "started < ? AND ended >= ?"
        values: list[object] = [self.end, begin]
        for column, value in (("user_id", user_id), ("stream_id", stream_id)):
            if value is not None:
                where, values = f"{column} = ? AND {where}", [value, *values]
        if stream_id is None:
            # Those of a stream that is gone are removed a little at a time, and count no more from the beginning.
            where += " AND stream_id IN (SELECT id FROM streams)"
        self._from = f"FROM viewer_sessions WHERE {where}"
        self._values = values
        # What of each lies within, and how long it is in all.
        self._seen = (
            "WITH seen AS (SELECT stream_id, viewer, hour, startup, played, stalled,"
            " CASE WHEN started > ? THEN started ELSE ? END AS begun, CASE WHEN ended < ? THEN ended ELSE ? END AS over,"
            f" CASE WHEN ended < ? THEN ended ELSE ? END - started AS length {self._from})"
        )
        self._seen_values = [begin, begin, self.end, self.end, now, now, *values]

    async def totals(self, tx: Transaction, engaged_after: float) -> Row:
        """``sessions``, ``viewers`` (different ones), ``watched`` (seconds) and ``engaged`` (sessions that long); from what pages
        said ``reported`` (how many), ``startup`` (seconds, on average or None), ``played`` and ``stalled`` (seconds)."""
        row = await tx.row(
            f"{self._seen} SELECT count(*) AS sessions, count(DISTINCT viewer) AS viewers,"
            " coalesce(sum(over - begun), 0) AS watched,"
            " coalesce(sum(CASE WHEN length >= ? THEN 1 ELSE 0 END), 0) AS engaged,"
            " count(played) AS reported, avg(startup) AS startup, coalesce(sum(played), 0) AS played,"
            " coalesce(sum(stalled), 0) AS stalled FROM seen",
            *self._seen_values, engaged_after,
        )  # fmt: skip
        assert row is not None  # noqa: S101  an aggregate gives one
        return row

    async def by_stream(self, tx: Transaction, engaged_after: float, limit: int) -> Sequence[Row]:
        """The same (without what pages said) for each stream that was watched, the longest watched first."""
        return await tx.rows(
            f"{self._seen} SELECT stream_id, count(*) AS sessions, count(DISTINCT viewer) AS viewers,"
            " sum(over - begun) AS watched, sum(CASE WHEN length >= ? THEN 1 ELSE 0 END) AS engaged"
            " FROM seen GROUP BY stream_id ORDER BY watched DESC, stream_id LIMIT ?",
            *self._seen_values, engaged_after, limit,
        )  # fmt: skip

    async def by_step(self, tx: Transaction, engaged_after: float, hours: int) -> Mapping[int, tuple[int, int]]:
        """How many sessions began in each step of so many hours, and how many of those lasted that long; by the step's number
        since 1970."""
        rows = await tx.rows(
            f"{self._seen} SELECT hour / ? AS number, count(*) AS sessions,"
            " sum(CASE WHEN length >= ? THEN 1 ELSE 0 END) AS engaged FROM seen GROUP BY 1",
            *self._seen_values, hours, engaged_after,
        )  # fmt: skip
        return {row["number"]: (row["sessions"], row["engaged"]) for row in rows}

    async def peak(self, tx: Transaction) -> int:
        """How many there were at a time, at most. Who leaves as another comes makes room for him."""
        row = await tx.row(
            f"{self._seen} SELECT max(present) AS peak FROM (SELECT sum(step) OVER (ORDER BY at, step) AS present FROM"
            " (SELECT begun AS at, 1 AS step FROM seen UNION ALL SELECT over AS at, -1 AS step FROM seen) AS steps) AS counted",
            *self._seen_values,
        )  # fmt: skip
        return int(row["peak"] or 0) if row is not None else 0

    async def spread(self, tx: Transaction, column: str) -> Mapping[str | None, int]:
        """How many different viewers there were by ``column`` (an expression of ours); under None those whose is not known."""
        rows = await tx.rows(f"SELECT {column} AS word, count(DISTINCT viewer) AS viewers {self._from} GROUP BY 1", *self._values)
        return {row["word"]: row["viewers"] for row in rows}
