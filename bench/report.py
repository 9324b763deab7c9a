"""What comes out: one table, the same as JSON, and a plot."""

import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from bench.figures import Figures
from bench.measure import LOAD_CPU, SERVER_CPU
from bench.options import Options
from bench.row import Outcome, Row

_SATURATED: Final = 90.0
_NOISY: Final = 10.0
_MB: Final = 1e6

Results = Sequence[tuple[Row, Outcome]]


def verdict(outcome: Outcome, row: Row, options: Options) -> list[tuple[str, bool | None]]:
    """Each goal's text, and whether it was reached; None where it was not measured, or the numbers were not the goal's."""
    judged = row.own_numbers(options) and not outcome.failure
    return [(goal.text, goal.reached(outcome) if judged else None) for goal in row.goals]


def warnings(contestant: str, runs: Sequence[Figures]) -> list[str]:
    """What makes these figures doubtful."""
    found = []
    load = max((run.load_percent for run in runs), default=0.0)
    if load > _SATURATED:
        found.append(f"{contestant}: the load took {load:.0f} % of its own core, so the figures are not valid")
    others = max((run.others_percent for run in runs), default=0.0)
    if others > _NOISY:
        found.append(f"{contestant}: strangers took up to {others:.0f} % of the server's core")
    faults = [fault for run in runs for fault in run.faults]
    if faults:
        found.append(f"{contestant}: {len(faults)} faults, the first: {faults[0]}")
    return found


def _number(value: float | None, digits: int = 1) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}f}"


def _metric(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return _number(value, 3 if unit == "CPU-s/GB" else 1)


def _latency(outcome: Outcome, contestant: str) -> str:
    values = [outcome.value(name, contestant) for name in ("p50", "p99", "worst")]
    return "-" if values[0] is None else " / ".join(_number(value, 1) for value in values)


def _memory(outcome: Outcome, contestant: str) -> str:
    idle, load = (outcome.value(name, contestant) for name in ("rss_idle", "rss_load"))
    if load is None:
        return "-"
    per_player = outcome.value("bytes_per_player", contestant)
    span = f"{_number(idle / _MB, 0)}→" if idle else ""
    return f"{span}{_number(load / _MB, 0)}" + (f" ({_number(per_player / 1000)})" if per_player is not None else "")


def _lost(outcome: Outcome, contestant: str) -> str:
    runs = outcome.runs.get(contestant, [])
    frames = sum(run.frames for run in runs)
    return f"{sum(run.lost for run in runs)}/{frames}" if frames else "-"


def _marks(goals: Sequence[tuple[str, bool | None]], *, colour: bool = True) -> str:
    words = {True: ("reached", "green"), False: ("NOT REACHED", "bold red"), None: ("not judged", "dim")}
    lines = []
    for text, reached in goals:
        word, style = words[reached]
        lines.append(f"{text}: [{style}]{word}[/]" if colour else f"{text}: {word}")
    return "\n".join(lines)


def table(results: Results, options: Options) -> Table:
    """The one table: a block a row, a line a contestant."""
    made = Table(show_lines=True, caption=_caption(options), caption_justify="left", pad_edge=False)
    for heading in ("work", "server", "figure (median)"):
        made.add_column(heading, overflow="fold")
    for heading in (
        "ratio",
        "latency ms\np50 / p99 / max",
        "% of\na core",
        "CPU-s\n/GB",
        "RSS MB idle→load\n(kB a player)",
        "lost",
    ):
        made.add_column(heading, justify="right")
    made.add_column("load\n% core", justify="right")
    made.add_column("to reach", min_width=34)
    for row, outcome in results:
        names = [name for name in row.contestants if outcome.runs.get(name)]
        cells = [
            [_metric(outcome.value("metric", name), row.unit) for name in names],
            [_latency(outcome, name) for name in names],
            [_number(outcome.value("core_percent", name)) for name in names],
            [_number(outcome.value("cpu_per_gb", name), 3) for name in names],
            [_memory(outcome, name) for name in names],
            [_lost(outcome, name) for name in names],
            [_number(outcome.value("load_percent", name), 0) for name in names],
        ]
        joined = ["\n".join(lines) for lines in cells]
        shown = "-" if outcome.ratio is None else f"{outcome.ratio:.3f}"
        work = f"[bold]{row.name}[/]\n{row.title(options)}\n[dim]{row.unit}[/]"
        if outcome.failure:
            work += f"\n[bold red]failed: {outcome.failure}[/]"
        goals = _marks(verdict(outcome, row, options))
        made.add_row(work, "\n".join(names), joined[0], shown, *joined[1:], goals)
    return made


def _caption(options: Options) -> str:
    return (
        f"Medians of {options.rounds} rounds of {options.seconds:g} s, the contestants in turn; "
        f"ratio = median of the rounds' own ratios. "
        f"Server on core {SERVER_CPU}, load on core {LOAD_CPU} ({platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}), loopback, counted players read when {options.drain.value}."
    )


def notes(results: Results) -> list[str]:
    """What to know besides the table: how packaging and parts were served, what is doubtful."""
    found = []
    for row, outcome in results:
        if row.name == "packaging" and outcome.value("core_percent", "no hls") is not None:
            more = (outcome.value("core_percent") or 0) - (outcome.value("core_percent", "no hls") or 0)
            found.append(f"packaging: {more:.2f} % of a core more than without")
        if row.name == "parts" and outcome.runs:
            found.append(
                f"parts: {_number(outcome.note('parts_per_player_second'), 2)} parts/s each, "
                f"{_number(outcome.note('writes_per_answer'), 3)} writes and "
                f"{_number(outcome.note('us_per_answer'))} µs CPU an answer"
            )
        for contestant, runs in outcome.runs.items():
            found += [f"{row.name}: {text}" for text in warnings(contestant, runs)]
    return found


def print_results(results: Results, options: Options, console: Console) -> None:
    """The table, then what is to be said about it."""
    console.print(table(results, options))
    for text in notes(results):
        console.print(f"• {text}", highlight=False)


def write_json(results: Results, options: Options, file: Path) -> None:
    """All runs with all their figures."""
    document = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()},
        "rounds": options.rounds,
        "seconds": options.seconds,
        "drain": options.drain.value,
        "rows": [
            {
                "name": row.name,
                "title": row.title(options),
                "unit": row.unit,
                "ratio": outcome.ratio,
                "goals": [{"text": text, "reached": reached} for text, reached in verdict(outcome, row, options)],
                "failure": outcome.failure,
                "runs": {name: [run.as_json() for run in runs] for name, runs in outcome.runs.items()},
            }
            for row, outcome in results
        ],
    }
    file.write_text(json.dumps(document, indent=1, ensure_ascii=False))


def draw(results: Results, options: Options, file: Path) -> None:
    """Ratios as bars, green where every goal of the row was reached; beneath them the latencies."""
    shown = [(row, outcome) for row, outcome in results if outcome.ratio is not None]
    figure = Figure(figsize=(11, 4 + 0.5 * len(results)), layout="constrained")
    bars, dots = figure.subplots(2, 1)
    for place, (row, outcome) in enumerate(shown):
        reached = [mark for _, mark in verdict(outcome, row, options)]
        colour = "tab:red" if False in reached else "tab:green" if True in reached else "tab:grey"
        bars.barh(place, outcome.ratio or 0.0, color=colour)
        bars.text(outcome.ratio or 0.0, place, f" {outcome.ratio:.2f}", va="center")
    bars.axvline(1, color="black", linewidth=1)
    bars.set_yticks(range(len(shown)), [f"{row.name}: {outcome.subject} / {outcome.reference}" for row, outcome in shown])
    bars.invert_yaxis()
    bars.set_title("CPU (playlist: requests per CPU-second; idle: p99; memory: bytes a player), ratio to the peer")
    _draw_latencies(results, dots)
    figure.savefig(file, dpi=110)


def _draw_latencies(results: Results, axes: Axes) -> None:
    timed = [
        (row, name, outcome) for row, outcome in results for name in row.contestants if outcome.value("p99", name) is not None
    ]
    for place, (_, name, outcome) in enumerate(timed):
        colour = "tab:orange" if name == "nginx" else "tab:blue"
        p50, p99, worst = (outcome.value(key, name) or 0.0 for key in ("p50", "p99", "worst"))
        axes.plot([p50, p99], [place, place], color=colour, linewidth=4)
        axes.plot([p50, p99, worst], [place] * 3, "|", color=colour, markersize=10)
    axes.set_yticks(range(len(timed)), [f"{row.name}: {name}" for row, name, _ in timed])
    axes.invert_yaxis()
    axes.set_xlabel("latency of video frames, ms: p50, p99, max")
