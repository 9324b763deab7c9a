"""Analytics as the Panel document has them."""

import enum
import re
from datetime import date
from typing import Annotated, Required

from pydantic import BeforeValidator, Field
from typing_extensions import TypedDict  # of typing, but pydantic asks for this one before Python 3.12

from control.schema import Given, Taken, Timestamp

_DAY = re.compile(r"2\d{3}-\d{2}-\d{2}", re.ASCII)


class Period(enum.Enum):
    """How far back from now."""

    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"
    QUARTER = "90d"

    @property
    def seconds(self) -> int:
        """The same in seconds."""
        return {"24h": 1, "7d": 7, "30d": 30, "90d": 90}[self.value] * 86400


class DashboardQuery(Taken):
    """Which time."""

    period: Period = Period.DAY


class StreamMetrics(Given):
    """A stream in a period. ``viewers`` are different ones, ``watch_time`` is all of theirs in seconds, ``engagement_rate`` the
    share of visits that lasted for a while (for how long is a setting of the server: ``analytics.engaged_after``)."""

    stream_id: int
    name: str
    viewers: int
    watch_time: int
    engagement_rate: float


class Dashboard(Given):
    """One's streams in a period (a moderator's and an administrator's: all), the longest watched first. Seconds.

    ``total_viewers`` are different ones; ``average_watch_time`` is that of a visit. ``platform_distribution`` is by what viewers
    watch on, the operating system or the kind of device (``windows``, ``android``, ``tv`` …), ``geographic_distribution`` by
    country (ISO 3166-1); both in whole percents of viewers, and what is missing to 100 is not known.
    """

    period: Period
    total_streams: int
    active_streams: int
    total_viewers: int
    peak_concurrent_viewers: int
    total_watch_time: int
    average_watch_time: int
    stream_metrics: list[StreamMetrics]
    platform_distribution: dict[str, int]
    geographic_distribution: dict[str, int]


def _only_a_day(value: object) -> object:
    """Not a moment, and no number."""
    if isinstance(value, str) and not _DAY.fullmatch(value):
        raise ValueError("must be a day, YYYY-MM-DD, from 2000 to 2999")
    return value


Day = Annotated[date, BeforeValidator(_only_a_day)]

_METRIC = "(viewers|bitrate|engagement)"


class StreamAnalyticsQuery(Taken):
    """Which days (UTC), the last one included: without either the last seven. And what the timeline shows."""

    start_date: Day | None = None
    end_date: Day | None = None
    metrics: Annotated[str, Field(max_length=100, pattern=f"^{_METRIC}(,{_METRIC})*$")] = "viewers,bitrate,engagement"


class Days(Given):
    """From the first day to the last."""

    start: date
    end: date


class QualityMetrics(Given):
    """``average_bitrate`` of the stream while on air, kbit/s. From what the players of this server's pages report:
    ``buffer_rate`` is the share of the time in which the picture stood still, ``startup_time`` the seconds until it came, and
    ``reported_sessions`` says of how many visits that is known; of none, both are 0."""

    average_bitrate: float
    buffer_rate: float
    startup_time: float
    reported_sessions: int


class Metrics(Given):
    """All of these days together. Seconds. ``peak_concurrent_viewers``: the most visits at a time, each from when it began to
    when it was seen last. It is known afterwards, and may be less than the ``peak_viewers`` that was counted meanwhile: who has
    left without a word still counts there for a while."""

    total_sessions: int
    unique_viewers: int
    total_watch_time: int
    average_session_duration: int
    peak_concurrent_viewers: int
    engagement_rate: float
    quality_metrics: QualityMetrics


class Point(TypedDict, total=False):
    """An hour, or a day where there would be too many: what was asked for. ``viewers`` on average while on air, ``bitrate`` in
    kbit/s, ``engagement`` of the visits that began then."""

    timestamp: Required[Timestamp]
    viewers: float
    bitrate: float
    engagement: float


class StreamAnalytics(Given):
    """A stream on some days."""

    stream_id: int
    name: str
    period: Days
    metrics: Metrics
    timeline: list[Point]
