"""Rows of samples, and every statement about them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from control.db import Row, Transaction

#: The steps that are kept, in seconds.
STEPS = (60, 300, 3600, 86400)

_ADD = "INSERT INTO samples (stream_id, step, at, seconds, viewers, peak, bitrate, frame_rate, sent, dropped) VALUES "


def _averaged(column: str) -> str:
    both = f"samples.{column} * samples.seconds + excluded.{column} * excluded.seconds"
    return f"{column} = ({both}) / (samples.seconds + excluded.seconds)"


_MERGE = (
    f" ON CONFLICT (stream_id, step, at) DO UPDATE SET {', '.join(map(_averaged, ('viewers', 'bitrate', 'frame_rate')))},"
    " peak = CASE WHEN excluded.peak > samples.peak THEN excluded.peak ELSE samples.peak END,"
    " sent = samples.sent + excluded.sent, dropped = samples.dropped + excluded.dropped,"
    " seconds = samples.seconds + excluded.seconds"
)


class Minute(NamedTuple):
    """What a stream did in the ``seconds`` (more than 0) of a minute in which it was on air: averages, but for ``peak``;
    ``bitrate`` in kbit/s. ``sent`` and ``dropped`` are packets, for each player that is connected to be sent them."""

    stream_id: int
    seconds: float
    viewers: float
    peak: int
    bitrate: float
    frame_rate: float
    sent: int
    dropped: int


async def add_minutes(tx: Transaction, at: float, minutes: Sequence[Minute]) -> None:
    """The minute that began at ``at``, of several streams, into every step that it belongs to."""
    marks, values = [], []
    for stream_id, *figures in minutes:
        for step in STEPS:
            marks.append("(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
            values += [stream_id, step, at - at % step, *figures]
    if marks:
        await tx.execute(_ADD + ", ".join(marks) + _MERGE, *values)


async def add_watched(tx: Transaction, at: float, stream_id: int, watched: float) -> None:
    """So many viewers' seconds (fewer than none: too many) were not in the minute that began at ``at`` when it was written."""
    both = "samples.viewers * samples.seconds + ?"
    steps = " OR ".join("(step = ? AND at = ?)" for _ in STEPS)
    values = [value for step in STEPS for value in (step, at - at % step)]
    await tx.execute(
        f"UPDATE samples SET viewers = CASE WHEN {both} > 0 THEN ({both}) / samples.seconds ELSE 0 END"
        f" WHERE stream_id = ? AND ({steps})",
        watched, watched, stream_id, *values,
    )  # fmt: skip


async def samples(tx: Transaction, stream_id: int, step: int, start: float, end: float, limit: int) -> Sequence[Row]:
    """A stream's samples in time order, from the step that ``start`` lies in. ``packet_loss`` in percent."""
    return await tx.rows(
        "SELECT at, seconds, viewers, peak, bitrate, frame_rate,"
        " CASE WHEN sent + dropped > 0 THEN 100.0 * dropped / (sent + dropped) ELSE 0.0 END AS packet_loss FROM samples"
        " WHERE stream_id = ? AND step = ? AND at >= ? AND at < ? ORDER BY at LIMIT ?",
        stream_id, step, start - start % step, end, limit,
    )  # fmt: skip


def average(samples: Sequence[Row], column: str) -> float:
    """Of the time on air; 0 of none."""
    seconds = sum(sample["seconds"] for sample in samples)
    return sum(sample[column] * sample["seconds"] for sample in samples) / seconds if seconds else 0.0


async def forget_stream(tx: Transaction, stream_id: int, limit: int) -> int:
    """Remove a stream's samples, so many at most. How many that were."""
    return await tx.execute(
        "DELETE FROM samples WHERE (stream_id, step, at) IN"
        " (SELECT stream_id, step, at FROM samples WHERE stream_id = ? LIMIT ?)",
        stream_id, limit,
    )  # fmt: skip


def forgetter(step: int) -> Callable[[Transaction, float, int], Awaitable[int]]:
    """What removes samples of that step that are older, so many at most, and says how many."""

    async def forget(tx: Transaction, before: float, limit: int) -> int:
        return await tx.execute(
            "DELETE FROM samples WHERE (stream_id, step, at) IN"
            " (SELECT stream_id, step, at FROM samples WHERE step = ? AND at < ? ORDER BY at LIMIT ?)",
            step, before, limit,
        )  # fmt: skip

    return forget
