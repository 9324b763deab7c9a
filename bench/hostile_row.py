"""The row in which good players watch while thousands of connections come and never say what they want."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from bench import usage
from bench.figures import Figures
from bench.load.attack import AttackReport, AttackSpec, attack
from bench.load.bare import take
from bench.load.process import LoadError, LoadProcess, Window
from bench.measure import LOAD_CPU, SERVER_CPU, Scene, run_scene
from bench.media_rows import BITRATE
from bench.options import Options
from bench.row import Goal, Outcome, Runs, note_at_most, nothing_lost, ratio_at_most
from bench.servers import Running, Settings, free_ports

#: Connections; as many as descriptors allow where these are fewer (ulimit -n).
HOSTILE: Final = 10_000
_KILOBYTE: Final = 1024
_GOAL_KILOBYTES: Final = 4.0
_GOAL_SECONDS: Final = 15.0


def _all_gone(outcome: Outcome) -> bool | None:
    left, seconds = outcome.note("hostile_left"), outcome.note("hostile_gone_s")
    return None if left is None or seconds is None else not left and seconds <= _GOAL_SECONDS


@dataclass(frozen=True, slots=True)
class HostileRow:
    """The latency of good players beside a crowd that floods the RTMP port, against the same without; nginx's beside it.

    ``elsewhere`` is the same crowd beside the same players, but at a port where it is taken and nothing else: what of the
    difference is the machine's, and no server's.
    """

    name: str = "hostile"
    unit: str = "ms, p99"
    contestants: tuple[str, ...] = ("quiet", "hostile", "elsewhere", "nginx quiet", "nginx hostile")
    subject: str = "hostile"
    reference: str | None = "quiet"
    saturates: bool = False
    players: int = 100
    goals: tuple[Goal, ...] = (
        ratio_at_most(1.1, "p99 without them"),
        note_at_most(_GOAL_KILOBYTES, "kb_each", f"≤ {_GOAL_KILOBYTES:g} kB each"),
        Goal(f"all gone within {_GOAL_SECONDS:g} s", _all_gone),
        nothing_lost(),
    )

    def title(self, options: Options) -> str:
        return (
            f"1 x {(options.bitrate or BITRATE) / 1e6:g} Mbit/s to {options.players or self.players} players "
            f"beside {HOSTILE} connections that never go on"
        )

    def own_numbers(self, options: Options) -> bool:
        return options.players is None and options.bitrate is None and options.latency is None

    def run(self, contestant: str, options: Options, past: Runs) -> Figures:  # noqa: ARG002 - the row's signature
        players = ("bench",) * (options.players or self.players)
        scene = Scene(("bench",), options.bitrate or BITRATE, players, drain=options.drain)
        settings = Settings(latency=options.latency or 100, seconds=options.seconds)
        server = "nginx" if contestant.startswith("nginx") else "ours"
        crowd = _Elsewhere if contestant == "elsewhere" else _Crowd if contestant.endswith("hostile") else None
        figures = run_scene(server, scene, settings, crowd)
        figures.contestant = contestant
        figures.metric = figures.p99 or 0.0
        return figures


class _Crowd:
    """The crowd beside a scene (Beside), at ``port``: the server's for RTMP if not told."""

    def __init__(self, server: Running, port: int | None = None) -> None:
        self._server = server
        spec = AttackSpec(port or server.rtmp_port, HOSTILE)
        self._process: LoadProcess[AttackSpec, AttackReport] = LoadProcess(attack, spec, LOAD_CPU)
        # Memory and descriptors of the server.
        self._before = self._after = (0, 0)

    def __enter__(self) -> Self:
        self._process.wait_ready()
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.__exit__()

    def begin(self, window: Window) -> None:
        self._before = self._weigh()
        self._process.measure(window)

    def end(self) -> None:
        self._after = self._weigh()

    def report(self, figures: Figures) -> None:
        seen = self._process.report()
        if not seen.opened:
            raise LoadError("no hostile connection was taken")
        memory, open_ones = (after - before for after, before in zip(self._after, self._before, strict=True))
        figures.notes |= {
            "hostile": seen.opened,
            "hostile_left": seen.opened - seen.closed,
            "hostile_gone_s": seen.gone_seconds,
            "hostile_at_end": open_ones,
            "kb_each": memory / _KILOBYTE / max(1, open_ones),
        }

    def _weigh(self) -> tuple[int, int]:
        descriptors = sum(1 for _ in Path(f"/proc/{self._server.pid}/fd").iterdir())
        return usage.resident_bytes(usage.tree(self._server.pid)), descriptors


class _Elsewhere(_Crowd):
    """The same crowd where it is nothing to the server (Beside)."""

    def __init__(self, server: Running) -> None:
        port = free_ports(1)[0]
        self._taker: LoadProcess[int, None] = LoadProcess(take, port, SERVER_CPU)
        super().__init__(server, port)

    def __enter__(self) -> Self:
        self._taker.wait_ready()
        return super().__enter__()

    def __exit__(self, *exc: object) -> None:
        super().__exit__()
        self._taker.__exit__()

    def report(self, figures: Figures) -> None:
        # The crowd reports when all are gone.
        self._taker.__exit__()
        super().report(figures)
