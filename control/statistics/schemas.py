"""Statistics as the Panel document has them."""

import enum
import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from control.schema import Given, Taken, Timestamp


class Interval(enum.Enum):
    """How long a step is."""

    MINUTE = "1m"
    FIVE_MINUTES = "5m"
    HOUR = "1h"
    DAY = "1d"

    @property
    def seconds(self) -> int:
        """The same in seconds."""
        return {"1m": 60, "5m": 300, "1h": 3600, "1d": 86400}[self.value]


_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _begins_with_a_day(value: object) -> object:
    """No number: whether that counts seconds or milliseconds nobody knows."""
    if isinstance(value, str) and not _DAY.match(value):
        raise ValueError("must be ISO 8601, as 2025-01-01T10:00:00Z")
    return value


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


#: ISO 8601; without a zone it is UTC.
Moment = Annotated[datetime, BeforeValidator(_begins_with_a_day), AfterValidator(_in_utc)]


class StatsQuery(Taken):
    """Which time, and in which steps: the first is the one that it begins in. Without a beginning the last day; without a step
    one of five minutes, or of an hour or a day where those would be too many, or are kept no longer."""

    start_time: Moment | None = None
    end_time: Moment | None = None
    interval: Interval | None = None


class Sample(Given):
    """One step, on average while on air; ``viewers`` in whole people. ``bitrate`` in kbit/s. ``packet_loss``: of the packets for
    players of RTMP and FLV, how many percent were withheld because those were too slow; players of HLS and DASH lose none."""

    timestamp: Timestamp
    viewers: int
    bitrate: float
    frame_rate: float
    packet_loss: float


class Summary(Given):
    """All of them together. ``uptime``: seconds on air; ``avg_viewers`` of these, counted until each was seen last.
    ``peak_viewers``: the most that any look, one a second, has counted. There a player of HLS or DASH counts until it has asked
    for nothing for ten seconds (or three long segments), so one that changes its protocol or is loaded anew may count twice for
    that long; `peak_concurrent_viewers` of the analytics is free of that."""

    avg_viewers: float
    peak_viewers: int
    avg_bitrate: float
    uptime: int


class Stats(Given):
    """A stream's statistics."""

    stream_id: int
    stats: list[Sample]
    summary: Annotated[Summary, Field()]
