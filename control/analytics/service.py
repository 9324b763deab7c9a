"""From rows to figures. No web framework in here."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from control.analytics.schemas import Point, StreamAnalyticsQuery
from control.db import Row
from control.errors import invalid

#: Days in one answer, and how many of them may be told by the hour.
MOST_DAYS = 366
MOST_DAYS_OF_HOURS = 31
#: Days where none are asked for.
USUAL_DAYS = 7

HOUR, DAY = 3600, 86400


def share(part: float, whole: float) -> float:
    """From 0 to 1; of nothing 0."""
    return round(part / whole, 4) if whole else 0.0


def percentages(counts: Mapping[str | None, int]) -> dict[str, int]:
    """Whole percents, the largest first, that make 100 together with those of None, who are left out. What rounds to none too."""
    total = sum(counts.values())
    if not total:
        return {}
    shares = {word: 100 * count / total for word, count in counts.items()}
    whole = {word: int(value) for word, value in shares.items()}
    # What rounding down left goes to those who lost most by it.
    for word in sorted(shares, key=lambda word: (whole[word] - shares[word], word or ""))[: 100 - sum(whole.values())]:
        whole[word] += 1
    ordered = sorted(whole.items(), key=lambda item: (-item[1], item[0] or ""))
    return {word: percent for word, percent in ordered if word is not None and percent}


def days(query: StreamAnalyticsQuery, now: float) -> tuple[date, date]:
    """The first and the last day that are meant. Raises ControlError (422)."""
    today = datetime.fromtimestamp(now, UTC).date()
    last = query.end_date or today
    first = query.start_date or last - timedelta(days=USUAL_DAYS - 1)
    if first > last and query.end_date is not None:
        raise invalid(end_date="must not be before start_date")
    if first > today:
        raise invalid(**{"start_date" if query.start_date is not None else "end_date": "has not come yet"})
    if (last - first).days >= MOST_DAYS:
        raise invalid(**{"start_date" if query.end_date is None else "end_date": f"more than {MOST_DAYS} days"})
    return first, last


def midnight(day: date) -> float:
    """When ``day`` begins, Unix time."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def step_for(begin: float, end: float, now: float, keep_hours: float) -> int:
    """Seconds of a step of the timeline: an hour, if those are few and still kept (for so many days; 0: for ever)."""
    kept = not keep_hours or begin >= now - keep_hours * DAY
    return HOUR if kept and end - begin <= MOST_DAYS_OF_HOURS * DAY else DAY


def timeline(
    begin: float, end: float, step: int, samples: Sequence[Row], began: Mapping[int, tuple[int, int]], wanted: set[str]
) -> list[Point]:
    """Every step, also those in which nothing happened. ``began``: how many visits did, and how many of them lasted, by the
    step's number since 1970."""
    by_step = {round(sample["at"]): sample for sample in samples}
    points: list[Point] = []
    for at in range(round(begin), round(end), step):
        sample = by_step.get(at)
        sessions, engaged = began.get(at // step, (0, 0))
        point = Point(timestamp=float(at))
        if "viewers" in wanted:
            point["viewers"] = round(sample["viewers"], 2) if sample else 0.0
        if "bitrate" in wanted:
            point["bitrate"] = round(sample["bitrate"], 1) if sample else 0.0
        if "engagement" in wanted:
            point["engagement"] = share(engaged, sessions)
        points.append(point)
    return points
