"""What a parser that is not ours reads in an MPD, as addresses."""

from typing import Any


def starts(template: Any) -> list[int]:
    """When the segments of a SegmentTemplate begin, in units of its timescale."""
    times: list[int] = []
    time = 0
    for entry in template.segment_timelines[0].Ss:
        time = time if entry.t is None else entry.t
        for _ in range((entry.r or 0) + 1):
            times.append(time)
            time += entry.d
    return times


def addresses(template: Any) -> list[str]:
    """Where its segments are, in order."""
    return [template.media.replace("$Time$", str(time)) for time in starts(template)]
