"""``/api/analytics``."""

from collections.abc import Mapping
from datetime import date

from control.analytics import service
from control.analytics.models import Span
from control.analytics.schemas import (
    Dashboard,
    DashboardQuery,
    Days,
    Metrics,
    QualityMetrics,
    StreamAnalytics,
    StreamAnalyticsQuery,
    StreamMetrics,
)
from control.db import Row, Transaction
from control.errors import ErrorCode
from control.permissions import Permission
from control.rest import Call, Domain
from control.statistics import models as statistics
from control.streams import models as streams
from control.streams.onair import stream_id_of
from control.streams.routes import found

analytics = Domain("Analytics")

#: Streams in one answer.
MOST_STREAMS = 100


@analytics.get("/analytics/dashboard", permission=Permission.ANALYTICS, query=DashboardQuery, answer=Dashboard, transaction=False)
async def show_dashboard(call: Call, query: DashboardQuery) -> Dashboard:
    """What was watched, for how long and by how many"""
    user_id = None if call.actor.may(Permission.ANALYTICS_ALL) else call.actor.user_id
    await call.services.attendance.settle()

    async def work(tx: Transaction) -> Dashboard:
        call.tx = tx
        return await _dashboard(call, query, user_id)

    return await call.services.figures.get(("dashboard", user_id, query.period), work)


async def _dashboard(call: Call, query: DashboardQuery, user_id: int | None) -> Dashboard:
    span = Span(call.now - query.period.seconds, call.now, call.now, user_id=user_id)
    engaged_after = call.services.config.analytics.engaged_after
    totals = await span.totals(call.tx, engaged_after)
    listed = await span.by_stream(call.tx, engaged_after, MOST_STREAMS)
    unseen = await _unseen(call, span, user_id)
    watched = max(0.0, totals["watched"] - sum(unseen.values()))
    return Dashboard(
        period=query.period,
        total_streams=await streams.count_streams(call.tx, user_id),
        active_streams=await _active(call, user_id),
        total_viewers=totals["viewers"],
        peak_concurrent_viewers=await span.peak(call.tx),
        total_watch_time=round(watched),
        average_watch_time=round(watched / totals["sessions"]) if totals["sessions"] else 0,
        stream_metrics=await _by_stream(call, {row["stream_id"]: row for row in listed}, user_id, unseen),
        platform_distribution=service.percentages(await span.spread(call.tx, "platform")),
        geographic_distribution=service.percentages(await span.spread(call.tx, "country")),
    )


async def _unseen(call: Call, span: Span, user_id: int | None) -> Mapping[int, float]:
    """What rows have too much, by stream of the user's: see ``Attendance.unseen``."""
    unseen = call.services.attendance.unseen(span.begin, span.end)
    owners = await streams.owners(call.tx, set(unseen))
    return {stream_id: unseen[stream_id] for stream_id, owner in owners.items() if user_id in (None, owner)}


async def _active(call: Call, user_id: int | None) -> int:
    live = {stream_id_of(stream.name) for stream in call.services.on_air.everything() if stream.publishing and not stream.source}
    owners = await streams.owners(call.tx, {stream_id for stream_id in live if stream_id is not None})
    return sum(user_id in (None, owner) for owner in owners.values())


async def _by_stream(
    call: Call, watched: Mapping[int, Row], user_id: int | None, unseen: Mapping[int, float]
) -> list[StreamMetrics]:
    """What was watched, then what was not, as far as there is room."""
    names = await streams.names(call.tx, watched.keys())
    for row in await streams.list_streams(call.tx, user_id, MOST_STREAMS, 0):
        if len(names) < MOST_STREAMS:
            names.setdefault(row["id"], row["name"])
    listed = [stream_id for stream_id in watched if stream_id in names]
    nothing = {"viewers": 0, "watched": 0.0, "engaged": 0, "sessions": 0}
    return [
        StreamMetrics(
            stream_id=stream_id,
            name=names[stream_id],
            viewers=seen["viewers"],
            watch_time=round(max(0.0, seen["watched"] - unseen.get(stream_id, 0.0))),
            engagement_rate=service.share(seen["engaged"], seen["sessions"]),
        )
        for stream_id in [*listed, *(each for each in names if each not in watched)]
        for seen in [watched.get(stream_id, nothing)]
    ]


@analytics.get(
    "/analytics/streams/{stream_id}",
    permission=Permission.ANALYTICS,
    query=StreamAnalyticsQuery,
    answer=StreamAnalytics,
    errors=(ErrorCode.STREAM_NOT_FOUND,),
    transaction=False,
)
async def show_stream_analytics(call: Call, query: StreamAnalyticsQuery) -> StreamAnalytics:
    """How a stream was watched, day by day"""
    async with call.services.db.read() as tx:
        call.tx = tx
        row = await found(call, Permission.ANALYTICS_ALL)
    first, last = service.days(query, call.now)
    await call.services.attendance.settle()

    async def work(tx: Transaction) -> StreamAnalytics:
        call.tx = tx
        return await _stream(call, row, first, last, set(query.metrics.split(",")))

    return await call.services.figures.get(("stream", row["id"], first, last, query.metrics), work)


async def _stream(call: Call, row: Row, first: date, last: date, wanted: set[str]) -> StreamAnalytics:
    config = call.services.config
    engaged_after = config.analytics.engaged_after
    begin, end = service.midnight(first), service.midnight(last) + service.DAY
    span = Span(begin, end, call.now, stream_id=row["id"])
    totals = await span.totals(call.tx, engaged_after)
    step = service.step_for(begin, end, call.now, config.statistics.keep_hours)
    samples = await statistics.samples(call.tx, row["id"], step, begin, end, service.MOST_DAYS_OF_HOURS * 24 + service.MOST_DAYS)
    began = await span.by_step(call.tx, engaged_after, step // service.HOUR)
    watched = max(0.0, totals["watched"] - call.services.attendance.unseen(span.begin, span.end).get(row["id"], 0.0))
    sessions, seen = totals["sessions"], totals["played"] + totals["stalled"]
    return StreamAnalytics(
        stream_id=row["id"],
        name=row["name"],
        period=Days(start=first, end=last),
        metrics=Metrics(
            total_sessions=sessions,
            unique_viewers=totals["viewers"],
            total_watch_time=round(watched),
            average_session_duration=round(watched / sessions) if sessions else 0,
            peak_concurrent_viewers=await span.peak(call.tx),
            engagement_rate=service.share(totals["engaged"], sessions),
            quality_metrics=QualityMetrics(
                average_bitrate=round(statistics.average(samples, "bitrate"), 1),
                buffer_rate=service.share(totals["stalled"], seen),
                startup_time=round(totals["startup"] or 0.0, 3),
                reported_sessions=totals["reported"],
            ),
        ),
        timeline=service.timeline(begin, min(end, call.now), step, samples, began, wanted),
    )
