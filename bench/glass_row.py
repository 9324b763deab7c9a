"""The row that looks at a browser's screen."""

from dataclasses import dataclass

from bench import glass
from bench.figures import Figures
from bench.load.process import LoadError
from bench.options import Options
from bench.row import Goal, Runs, note_at_most

#: Seconds of playing before the measurement.
_SETTLE = 8.0


@dataclass(frozen=True, slots=True)
class GlassRow:
    """From the drawing of a picture to its showing in Chromium with hls.js (``python -m bench.glass`` has all players)."""

    name: str = "glass"
    unit: str = "ms, p50"
    contestants: tuple[str, ...] = ("ours",)
    subject: str = "ours"
    reference: str | None = None
    # The browser draws in software, with all that a core has.
    saturates: bool = True
    goals: tuple[Goal, ...] = (note_at_most(glass.GOALS["ll-hls"], "p95", "p95 ≤ 1200 ms glass to glass"),)

    def title(self, options: Options) -> str:  # noqa: ARG002 - the row's signature
        return "LL-HLS in Chromium with hls.js, glass to glass, from stamped pictures"

    def own_numbers(self, options: Options) -> bool:  # noqa: ARG002 - likewise
        return True

    def run(self, contestant: str, options: Options, past: Runs) -> Figures:  # noqa: ARG002 - likewise
        (seen,) = glass.measure(("ll-hls",), _SETTLE, options.seconds)
        if not seen.samples:
            raise LoadError("no stamped picture was seen")
        figures = Figures(contestant)
        figures.metric = seen.p50
        figures.notes |= {"p95": seen.p95, "pictures": seen.samples, "stalls": seen.stalls, "dropped": seen.dropped}
        return figures
