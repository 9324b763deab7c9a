"""The figures of one run, and how rounds of them become one line: values only."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field


@dataclass(slots=True)
class Figures:
    """What one run of one contestant gave. None: not measured in this kind of work."""

    contestant: str
    metric: float = 0.0  # the row's own figure, in the row's unit
    core_percent: float = 0.0  # CPU of the server, % of one core
    cpu_seconds: float = 0.0
    seconds: float = 0.0
    gigabytes: float = 0.0
    cpu_per_gb: float | None = None
    p50: float | None = None  # ms, video frame sent to frame whole at a player
    p99: float | None = None
    worst: float | None = None
    frames: int = 0  # that the sampled players verified
    lost: int = 0
    delivered: float | None = None  # bytes a player got / bytes that its publisher sent
    faults: list[str] = field(default_factory=list)
    rss_idle: int | None = None  # bytes
    rss_publishing: int | None = None
    rss_load: int | None = None
    bytes_per_player: float | None = None
    load_percent: float = 0.0  # CPU of the load processes, % of their core
    publish_late_ms: float = 0.0
    others_percent: float = 0.0  # what strangers took of the server's core meanwhile
    notes: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that ``share`` of the values do not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def median_of(runs: Sequence[Figures], name: str) -> float | None:
    """The median over rounds of one field; None where no run has it."""
    values = [value for run in runs if (value := getattr(run, name)) is not None]
    return statistics.median(values) if values else None


def ratio(subject: Sequence[Figures], reference: Sequence[Figures]) -> float | None:
    """The median over rounds of subject / reference, pairwise: what slows a round slows both."""
    pairs = [mine.metric / theirs.metric for mine, theirs in zip(subject, reference, strict=False) if theirs.metric]
    return statistics.median(pairs) if pairs else None
