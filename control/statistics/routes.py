"""``/api/streams/{stream_id}/stats``."""

from control.errors import ErrorCode, invalid
from control.permissions import Permission
from control.rest import Call, Domain
from control.statistics import models
from control.statistics.schemas import Interval, Sample, Stats, StatsQuery, Summary
from control.streams.routes import found

statistics = Domain("Streams")

#: Steps in one answer.
MOST = 2000
_DAY = 86400.0


@statistics.get(
    "/streams/{stream_id}/stats",
    permission=Permission.STREAMS,
    query=StatsQuery,
    answer=Stats,
    errors=(ErrorCode.STREAM_NOT_FOUND,),
)
async def show_stats(call: Call, query: StatsQuery) -> Stats:
    """What a stream did over time"""
    row = await found(call, Permission.STREAMS_VIEW_ALL)
    end = call.now if query.end_time is None else query.end_time.timestamp()
    start = end - _DAY if query.start_time is None else query.start_time.timestamp()
    if start >= end:
        raise (
            invalid(start_time="has not come yet")
            if query.end_time is None
            else invalid(end_time="must be later than start_time")
        )
    interval = _interval(call, query.interval, start, end)
    rows = await models.samples(call.tx, row["id"], interval.seconds, start, end, MOST + 2)
    return Stats(
        stream_id=row["id"],
        stats=[
            Sample(
                timestamp=sample["at"],
                viewers=round(sample["viewers"]),
                bitrate=round(sample["bitrate"], 1),
                frame_rate=round(sample["frame_rate"], 2),
                packet_loss=round(sample["packet_loss"], 3),
            )
            for sample in rows
        ],
        summary=Summary(
            avg_viewers=round(models.average(rows, "viewers"), 2),
            peak_viewers=max((sample["peak"] for sample in rows), default=0),
            avg_bitrate=round(models.average(rows, "bitrate"), 1),
            uptime=round(sum(sample["seconds"] for sample in rows)),
        ),
    )


def _interval(call: Call, asked: Interval | None, start: float, end: float) -> Interval:
    """``asked``, or the shortest from five minutes on that is few enough steps and still kept. Raises ControlError (422)."""
    if asked is not None:
        if (end - start) / asked.seconds > MOST:
            raise invalid(interval=f"more than {MOST} steps: take a longer one, or less time")
        return asked
    config = call.services.config.statistics
    for interval, days in ((Interval.FIVE_MINUTES, config.keep_five_minutes), (Interval.HOUR, config.keep_hours)):
        if (end - start) / interval.seconds <= MOST and (not days or start >= call.now - days * _DAY):
            return interval
    if (end - start) / Interval.DAY.seconds > MOST:
        raise invalid(start_time=f"more than {MOST} days before the end")
    return Interval.DAY
