"""Rows of samples, and every statement about them."""

from collections.abc import Sequence

from control.db import Row, Transaction

#: The steps that are kept, in seconds.
STEPS = (60, 300, 3600, 86400)

_MERGE = (
    "INSERT INTO samples (stream_id, step, at, minutes, viewers, peak, bitrate, frame_rate, packet_loss)"
    " VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?)"
    " ON CONFLICT (stream_id, step, at) DO UPDATE SET"
    " viewers = (samples.viewers * samples.minutes + excluded.viewers) / (samples.minutes + 1),"
    " peak = CASE WHEN excluded.peak > samples.peak THEN excluded.peak ELSE samples.peak END,"
    " bitrate = (samples.bitrate * samples.minutes + excluded.bitrate) / (samples.minutes + 1),"
    " frame_rate = (samples.frame_rate * samples.minutes + excluded.frame_rate) / (samples.minutes + 1),"
    " packet_loss = (samples.packet_loss * samples.minutes + excluded.packet_loss) / (samples.minutes + 1),"
    " minutes = samples.minutes + 1"
)


async def add_minute(
    tx: Transaction, stream_id: int, at: float, viewers: float, peak: int, bitrate: float, frame_rate: float, packet_loss: float
) -> None:
    """One minute of a stream, into every step that it belongs to. Raises Conflict where the stream is gone."""
    for step in STEPS:
        begin = at - at % step
        await tx.execute(_MERGE, stream_id, step, begin, viewers, peak, bitrate, frame_rate, packet_loss)


async def samples(tx: Transaction, stream_id: int, step: int, start: float, end: float, limit: int) -> Sequence[Row]:
    """A stream's samples in time order."""
    return await tx.rows(
        "SELECT at, minutes, viewers, peak, bitrate, frame_rate, packet_loss FROM samples"
        " WHERE stream_id = ? AND step = ? AND at >= ? AND at < ? ORDER BY at LIMIT ?",
        stream_id, step, start, end, limit,
    )  # fmt: skip


async def forget(tx: Transaction, step: int, before: float) -> int:
    """Remove what is older. How many rows that were."""
    return await tx.execute("DELETE FROM samples WHERE step = ? AND at < ?", step, before)
