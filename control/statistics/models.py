"""Rows of samples, and every statement about them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from control.db import Row, Transaction

#: The steps that are kept, in seconds.
STEPS = (60, 300, 3600, 86400)

_ADD = "INSERT INTO samples (stream_id, step, at, minutes, viewers, peak, bitrate, frame_rate, packet_loss) VALUES "
_MERGE = (
    " ON CONFLICT (stream_id, step, at) DO UPDATE SET"
    " viewers = (samples.viewers * samples.minutes + excluded.viewers) / (samples.minutes + 1),"
    " peak = CASE WHEN excluded.peak > samples.peak THEN excluded.peak ELSE samples.peak END,"
    " bitrate = (samples.bitrate * samples.minutes + excluded.bitrate) / (samples.minutes + 1),"
    " frame_rate = (samples.frame_rate * samples.minutes + excluded.frame_rate) / (samples.minutes + 1),"
    " packet_loss = (samples.packet_loss * samples.minutes + excluded.packet_loss) / (samples.minutes + 1),"
    " minutes = samples.minutes + 1"
)


class Minute(NamedTuple):
    """What a stream did in a minute: averages, but for ``peak``; ``bitrate`` in kbit/s, ``packet_loss`` in percent."""

    stream_id: int
    viewers: float
    peak: int
    bitrate: float
    frame_rate: float
    packet_loss: float


async def add_minutes(tx: Transaction, at: float, minutes: Sequence[Minute]) -> None:
    """The minute that began at ``at``, of several streams, into every step that it belongs to. Raises Conflict where a stream
    is gone."""
    marks, values = [], []
    for stream_id, *figures in minutes:
        for step in STEPS:
            marks.append("(?, ?, ?, 1, ?, ?, ?, ?, ?)")
            values += [stream_id, step, at - at % step, *figures]
    if marks:
        await tx.execute(_ADD + ", ".join(marks) + _MERGE, *values)


async def samples(tx: Transaction, stream_id: int, step: int, start: float, end: float, limit: int) -> Sequence[Row]:
    """A stream's samples in time order."""
    return await tx.rows(
        "SELECT at, minutes, viewers, peak, bitrate, frame_rate, packet_loss FROM samples"
        " WHERE stream_id = ? AND step = ? AND at >= ? AND at < ? ORDER BY at LIMIT ?",
        stream_id, step, start, end, limit,
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
