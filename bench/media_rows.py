"""The rows in which media flows: RTMP to many, from many, one to one, HTTP-FLV, memory."""

from dataclasses import dataclass, replace
from typing import Final

from bench.figures import Figures
from bench.load.bare import BareReport, BareSpec, take, write
from bench.load.process import LoadProcess
from bench.measure import LOAD_CPU, SERVER_CPU, Scene, run_scene, sleep_until, window_from_now
from bench.options import Options
from bench.row import Goal, Outcome, Row, Runs, nothing_lost, p99_at_most, ratio_at_most, value_at_most
from bench.servers import Settings, free_ports

BITRATE: Final = 2_500_000.0
SMALL_BITRATE: Final = 360_000.0
#: the tight budget: this far over nginx's own p99, of which so much is left for the beat's own length in work
TIGHT_MS: Final = 15
_TIGHT_WORK_MS: Final = 5
#: who writes the same pictures to as many players and does nothing else: no server that gives each picture on its own is cheaper
WRITES: Final = "writes alone"


@dataclass(frozen=True, slots=True)
class MediaRow:
    """``streams`` publishers, ``players`` players of each."""

    name: str
    words: str
    unit: str
    figure: str  # which of the Figures is the row's own
    streams: int
    players: int
    bitrate: float
    latency: int | None  # rtmp.max_latency; None: so that p99 stays within nginx's + 15 ms
    goals: tuple[Goal, ...]
    contestants: tuple[str, ...] = ("nginx", "ours")
    subject: str = "ours"
    reference: str | None = "nginx"
    saturates: bool = False
    divisor: float = 1.0

    def title(self, options: Options) -> str:
        row = self._with(options)
        budget = "nginx's p99 + 15" if row.latency is None else row.latency
        text = self.words.format(streams=row.streams, players=row.players, mbit=row.bitrate / 1e6)
        return f"{text}, budget {budget} ms"

    def own_numbers(self, options: Options) -> bool:
        return self._with(options) == self

    def _with(self, options: Options) -> "MediaRow":
        """This row with the numbers that were asked for."""
        one_stream = self.streams == 1
        return replace(
            self,
            players=options.players or self.players if one_stream and self.players > 1 else self.players,
            streams=(options.streams if self.players else options.publishers) or self.streams if not one_stream else 1,
            bitrate=options.bitrate or self.bitrate,
            latency=options.latency or self.latency,
        )

    def run(self, contestant: str, options: Options, past: Runs) -> Figures:
        row = self._with(options)
        if contestant == WRITES:
            return _writes_alone(row.players, row.bitrate, options.seconds)
        latency = row.latency if row.latency is not None else _tight_latency(past)
        names = tuple(f"bench{number}" for number in range(row.streams))
        figures = run_scene(
            contestant,
            Scene(names, row.bitrate, names * row.players, drain=options.drain),
            Settings(latency=latency, seconds=options.seconds),
        )
        if contestant == "ours":
            figures.notes["max_latency"] = latency
        value = getattr(figures, self.figure)
        figures.metric = 0.0 if value is None else value / self.divisor
        return figures


def _writes_alone(players: int, bitrate: float, seconds: float) -> Figures:
    """Pictures of one stream written to ``players``, by a loop with nothing around it."""
    port = free_ports(1)[0]
    figures = Figures(WRITES)
    reader: LoadProcess[int, None] = LoadProcess(take, port, LOAD_CPU)
    with reader:
        reader.wait_ready()
        writer: LoadProcess[BareSpec, BareReport] = LoadProcess(write, BareSpec(port, players, bitrate), SERVER_CPU)
        with writer:
            writer.wait_ready()
            window = window_from_now(seconds)
            writer.measure(window)
            sleep_until(window.end)
            report = writer.report()
    figures.seconds, figures.cpu_seconds, figures.gigabytes = seconds, report.cpu_seconds, report.bytes_sent / 1e9
    figures.core_percent = 100 * figures.cpu_seconds / seconds
    figures.metric = figures.cpu_per_gb = figures.cpu_seconds / figures.gigabytes
    return figures


def _tight_latency(past: Runs) -> int:
    """The beat that keeps p99 within nginx's of this round + 15 ms."""
    nginx = past.get("nginx")
    if not nginx or nginx[-1].p99 is None:
        return 40
    return max(5, min(100, int(nginx[-1].p99 + TIGHT_MS - _TIGHT_WORK_MS)))


def _within_tight(outcome: Outcome) -> bool | None:
    ours, nginx = outcome.value("p99"), outcome.value("p99", "nginx")
    return None if ours is None or nginx is None else ours <= nginx + TIGHT_MS


@dataclass(frozen=True, slots=True)
class FlvRow:
    """HTTP-FLV against RTMP, both from this server."""

    name: str = "httpflv"
    unit: str = "CPU-s/GB"
    contestants: tuple[str, ...] = ("rtmp", "http-flv")
    subject: str = "http-flv"
    reference: str | None = "rtmp"
    players: int = 500
    saturates: bool = False
    # no dearer, within what two runs of the very same differ by on a shared machine
    goals: tuple[Goal, ...] = (ratio_at_most(1.03, "RTMP (ours)"), nothing_lost())

    def title(self, options: Options) -> str:
        bitrate = (options.bitrate or BITRATE) / 1e6
        return (
            f"HTTP-FLV: 1 x {bitrate:g} Mbit/s to {options.players or self.players} players, budget {options.latency or 100} ms"
        )

    def own_numbers(self, options: Options) -> bool:
        return options.players is None and options.bitrate is None and options.latency is None

    def run(self, contestant: str, options: Options, past: Runs) -> Figures:  # noqa: ARG002 - the row's signature
        players = ("bench",) * (options.players or self.players)
        scene = Scene(("bench",), options.bitrate or BITRATE, players, http=contestant == "http-flv", drain=options.drain)
        figures = run_scene("ours", scene, Settings(latency=options.latency or 100, seconds=options.seconds))
        figures.contestant = contestant
        figures.metric = figures.cpu_per_gb or 0.0
        return figures


_TO_MANY: Final = "1 x {mbit:g} Mbit/s to {players} players"
_FROM_MANY: Final = "{streams} publishers x {mbit:g} Mbit/s, nobody plays"
_STREAMS: Final = "{streams} streams x {mbit:g} Mbit/s, {players} players each"
_PER_GB: Final = ("CPU-s/GB", "cpu_per_gb")
_CORE: Final = ("% of a core", "core_percent")
_MB: Final = 1_000_000

MEDIA_ROWS: Final[tuple[Row, ...]] = (
    MediaRow(
        "players500-tight", _TO_MANY, *_PER_GB, 1, 500, BITRATE, None,
        (ratio_at_most(0.45, "nginx"), Goal("p99 ≤ nginx's + 15 ms", _within_tight), nothing_lost()),
        ("nginx", "ours", WRITES),
    ),
    MediaRow(
        # nginx's p99 depends on how promptly the load reads: 36 ms where 0.45 was set, and then this is the budget
        "players500-51", _TO_MANY, *_PER_GB, 1, 500, BITRATE, 45,
        (ratio_at_most(0.45, "nginx"), p99_at_most(51), nothing_lost()),
    ),
    MediaRow(
        "players500", _TO_MANY, *_PER_GB, 1, 500, BITRATE, 100,
        (ratio_at_most(0.32, "nginx"), p99_at_most(110), nothing_lost()),
    ),
    MediaRow(
        "players1000", _TO_MANY, *_PER_GB, 1, 1000, BITRATE, 100,
        (ratio_at_most(0.38, "nginx"), p99_at_most(110), nothing_lost()),
    ),
    MediaRow("publishers300-50", _FROM_MANY, *_CORE, 300, 0, SMALL_BITRATE, 50, (ratio_at_most(0.9, "nginx"),)),
    MediaRow("publishers300-100", _FROM_MANY, *_CORE, 300, 0, SMALL_BITRATE, 100, (ratio_at_most(0.6, "nginx"),)),
    MediaRow(
        "streams100x5-60", _STREAMS, *_CORE, 100, 5, BITRATE, 55,
        (ratio_at_most(0.55, "nginx"), p99_at_most(60), nothing_lost()),
    ),
    MediaRow(
        "streams100x5-110", _STREAMS, *_CORE, 100, 5, BITRATE, 105,
        (ratio_at_most(0.4, "nginx"), p99_at_most(110), nothing_lost()),
    ),
    MediaRow("idle", "1 publisher of {mbit:g} Mbit/s, {players} player", "p99 ms", "p99", 1, 1, BITRATE, 100, (p99_at_most(5),)),
    MediaRow(
        "memory", "memory: " + _TO_MANY, "kB a player", "bytes_per_player", 1, 1000, BITRATE, 100,
        (value_at_most(60 * _MB, "rss_idle", "≤ 60 MB idle"), value_at_most(12_000, "bytes_per_player", "≤ 12 kB a player")),
        divisor=1000.0,
    ),
    FlvRow(),
)  # fmt: skip
