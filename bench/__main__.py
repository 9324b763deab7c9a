"""``python -m bench``: run the rows, print the table, write JSON and plot."""

import signal
import sys
from collections.abc import Sequence

from rich.console import Console

from bench import options as command_line
from bench.api_rows import API_ROWS
from bench.figures import Figures
from bench.glass_row import GlassRow
from bench.hostile_row import HostileRow
from bench.load.process import LoadError, raise_descriptor_limit
from bench.measure import LOAD_CPU, SERVER_CPU
from bench.media_rows import MEDIA_ROWS
from bench.options import Options
from bench.report import draw, print_results, verdict, write_json
from bench.row import Outcome, Row
from bench.transcode_row import TRANSCODE_ROWS
from bench.usage import come_first, wait_for_quiet
from bench.web_rows import WEB_ROWS

ROWS: tuple[Row, ...] = (*MEDIA_ROWS, *WEB_ROWS, *API_ROWS, HostileRow(), GlassRow(), *TRANSCODE_ROWS)
_DESCRIPTORS_NEEDED = 2048


def run_row(row: Row, options: Options, console: Console) -> Outcome:
    """All rounds of one row, the contestants in turn. A failure ends the row and is told in its place."""
    outcome = Outcome(row.subject, row.reference)
    contestants = [name for name in row.contestants if name not in ("nginx", "ours") or name in options.peers]
    if "ours" not in options.peers:
        contestants = [name for name in contestants if name == "nginx"]
    for number in range(options.rounds):
        for name in contestants:
            wait_for_quiet((SERVER_CPU, LOAD_CPU), options.patience)
            come_first(options.nice, realtime=options.realtime and not row.saturates)
            try:
                figures = row.run(name, options, outcome.runs)
            except LoadError as error:
                outcome.failure = f"{name}: {error}"
                console.print(f"{row.name}: {outcome.failure}", style="red", markup=False)
                return outcome
            outcome.runs.setdefault(name, []).append(figures)
            console.print(f"{row.name} {number + 1}/{options.rounds} {_summary(row, figures)}", highlight=False, markup=False)
    return outcome


def _summary(row: Row, figures: Figures) -> str:
    p99 = "" if figures.p99 is None else f", p99 {figures.p99:.1f} ms, lost {figures.lost}"
    return (
        f"{figures.contestant}: {figures.metric:,.3f} ({row.unit}), {figures.core_percent:.1f} % of a core{p99}, "
        f"load {figures.load_percent:.0f} %, others {figures.others_percent:.0f} %"
    )


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 when every goal that was judged was reached, 1 when one was not, or a row failed."""
    options = command_line.parse(arguments, [row.name for row in ROWS])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that servers and load end with us
    console = Console(width=190)
    progress = Console(stderr=True, width=190)
    if not come_first(options.nice, realtime=options.realtime):
        progress.print(f"Priority {options.nice} is not allowed here: what else runs on this machine disturbs the figures more.")
    limit = raise_descriptor_limit()
    if limit < _DESCRIPTORS_NEEDED:
        progress.print(f"Only {limit} descriptors are allowed (ulimit -Hn): rows with more connections than that will fail.")
    results = [(row, run_row(row, options, progress)) for row in ROWS if row.name in options.work]
    print_results(results, options, console)
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(results, options, options.out / "bench.json")
    draw(results, options, options.out / "bench.png")
    console.print(f"{options.out / 'bench.json'}  {options.out / 'bench.png'}")
    marks = [mark for row, outcome in results for _, mark in verdict(outcome, row, options)]
    return 1 if False in marks or any(outcome.failure for _, outcome in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
