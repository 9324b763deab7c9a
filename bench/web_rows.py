"""The rows of players' HTTP: playlists and segments against nginx, what packaging costs, parts to many blocked players."""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from bench import usage
from bench.figures import Figures, percentile
from bench.load.hls import HlsReport, HlsSpec, watch_hls
from bench.load.process import LoadError, LoadProcess
from bench.load.publish import PublishReport, PublishSpec, publish
from bench.measure import LOAD_CPU, SERVER_CPU, Meter, Scene, run_scene, sleep_until, window_from_now
from bench.media_rows import BITRATE, SMALL_BITRATE
from bench.options import Options
from bench.row import Goal, Outcome, Row, Runs, note_at_most, ratio_at_least, ratio_at_most
from bench.servers import Nginx, Ours, Running, Settings
from bench.web import fetch, run_wrk

CONNECTIONS: Final = 64
_NAME: Final = "bench"
Publishing = LoadProcess[PublishSpec, PublishReport]


def _publish(stack: ExitStack, server: Ours, bitrate: float) -> Publishing:
    publishers: Publishing = stack.enter_context(
        LoadProcess(publish, PublishSpec(server.rtmp_port, server.app, (_NAME,), bitrate), LOAD_CPU)
    )
    publishers.wait_ready()
    return publishers


def _newest_segment(base: str) -> str:
    """The URL of the newest whole segment, as soon as there is one."""
    until = time.monotonic() + 15
    while time.monotonic() < until:
        # between two addresses stand the tags of the second: a gap is what the playlist says is not there
        blocks = fetch(f"{base}/video.m3u8").decode().split("#EXTINF:")
        segments = [block.splitlines()[1] for before, block in pairwise(blocks) if "#EXT-X-GAP" not in before]
        if segments:
            return f"{base}/{segments[-1]}"
        time.sleep(0.3)
    raise LoadError("no segment was finished")


@dataclass(frozen=True, slots=True)
class WebRow:
    """One file, or one answer of the same size, over keep-alive connections."""

    name: str
    words: str
    unit: str
    bitrate: float
    file: str  # what nginx serves it as
    segment: bool
    goals: tuple[Goal, ...]
    # ours first: nginx serves a file of the size that ours answered
    contestants: tuple[str, ...] = ("ours", "nginx")
    subject: str = "ours"
    reference: str | None = "nginx"
    saturates: bool = True

    def title(self, options: Options) -> str:  # noqa: ARG002 - the row's signature
        return self.words

    def own_numbers(self, options: Options) -> bool:  # noqa: ARG002 - the row's signature
        return True

    def run(self, contestant: str, options: Options, past: Runs) -> Figures:
        figures = Figures(contestant)
        settings = Settings(seconds=options.seconds)
        with ExitStack() as stack:
            if contestant == "nginx":
                nginx = stack.enter_context(Nginx(SERVER_CPU, settings))
                size = int(past["ours"][-1].notes["body_bytes"]) if past.get("ours") else 600_000 if self.segment else 400
                (nginx.home / "www" / self.file).write_bytes(bytes(size))
                self._load(nginx, f"http://127.0.0.1:{nginx.http_port}/{self.file}", options, figures)
            else:
                ours = stack.enter_context(Ours(SERVER_CPU, settings))
                _publish(stack, ours, self.bitrate)
                base = f"http://127.0.0.1:{ours.http_port}/live/{_NAME}"
                fetch(f"{base}/index.m3u8")
                self._load(ours, _newest_segment(base) if self.segment else f"{base}/index.m3u8", options, figures)
        return figures

    def _load(self, server: Running, url: str, options: Options, figures: Figures) -> None:
        size = len(fetch(url))
        meter = Meter(server)
        report = run_wrk(url, CONNECTIONS, options.seconds, LOAD_CPU)
        meter.read(figures)
        if not report.requests:
            raise LoadError(f"{server.name} answered nothing at {url}")
        figures.faults = list(report.faults)
        figures.load_percent = 100 * report.cpu_seconds / figures.seconds
        figures.gigabytes = report.requests * size / 1e9
        figures.cpu_per_gb = figures.cpu_seconds / figures.gigabytes
        per_cpu = report.requests / figures.cpu_seconds
        figures.notes |= {
            "body_bytes": size,
            "requests_per_second": report.requests / figures.seconds,
            "requests_per_cpu": per_cpu,
        }
        figures.metric = figures.cpu_per_gb if self.segment else per_cpu


def _watch(players: int, bitrate: float, contestant: str, seconds: float) -> Figures:
    """One stream, ``players`` LL-HLS players of it."""
    figures = Figures(contestant)
    with ExitStack() as stack:
        server = stack.enter_context(Ours(SERVER_CPU, Settings(seconds=seconds)))
        figures.rss_idle = usage.resident_bytes(usage.tree(server.pid))
        publishers = _publish(stack, server, bitrate)
        fetch(f"http://127.0.0.1:{server.http_port}/live/{_NAME}/video.m3u8")
        time.sleep(2.5)  # a segment is whole, parts flow
        figures.rss_publishing = usage.resident_bytes(usage.tree(server.pid))
        viewers: LoadProcess[HlsSpec, HlsReport] = stack.enter_context(
            LoadProcess(watch_hls, HlsSpec(server.http_port, _NAME, players, min(players, 5)), LOAD_CPU)
        )
        viewers.wait_ready()
        time.sleep(2)
        window = window_from_now(seconds)
        publishers.measure(window)
        viewers.measure(window)
        sleep_until(window.start)
        meter = Meter(server)
        sleep_until(window.end)
        meter.read(figures)
        published, report = publishers.report(), viewers.report()
    _watched(figures, report, players)
    figures.load_percent = 100 * (published.cpu_seconds + report.cpu_seconds) / figures.seconds
    figures.publish_late_ms = published.late_ms
    return figures


def _watched(figures: Figures, report: HlsReport, players: int) -> None:
    latencies = sorted(report.findings.latencies)
    if latencies:
        figures.p50, figures.p99, figures.worst = percentile(latencies, 0.5), percentile(latencies, 0.99), latencies[-1]
    answers = report.playlists + report.parts
    figures.faults, figures.frames = report.findings.faults, report.findings.frames
    figures.gigabytes = report.bytes_received / 1e9
    figures.cpu_per_gb = figures.cpu_seconds / figures.gigabytes if figures.gigabytes else None
    figures.metric = figures.core_percent
    figures.notes |= {
        "playlists": report.playlists,
        "parts": report.parts,
        "parts_per_player_second": report.parts / players / figures.seconds,
        "writes_per_answer": figures.notes["writes"] / answers if answers else 0.0,
        "us_per_answer": figures.cpu_seconds / answers * 1e6 if answers else 0.0,
    }


def _packaging_costs_little(outcome: Outcome) -> bool | None:
    with_hls, without = outcome.value("core_percent"), outcome.value("core_percent", "no hls")
    return None if with_hls is None or without is None else with_hls - without <= 3.0


@dataclass(frozen=True, slots=True)
class PackagingRow:
    """One stream with one LL-HLS player, against the same stream that nobody asks for."""

    name: str = "packaging"
    unit: str = "% of a core"
    contestants: tuple[str, ...] = ("no hls", "ll-hls")
    subject: str = "ll-hls"
    reference: str | None = "no hls"
    saturates: bool = False
    goals: tuple[Goal, ...] = (Goal("≤ 3 % of a core more", _packaging_costs_little),)

    def title(self, options: Options) -> str:
        return f"LL-HLS packaging of 1 x {(options.bitrate or BITRATE) / 1e6:g} Mbit/s, 1 player, against nobody asking"

    def own_numbers(self, options: Options) -> bool:
        return options.bitrate is None

    def run(self, contestant: str, options: Options, past: Runs) -> Figures:  # noqa: ARG002 - the row's signature
        bitrate = options.bitrate or BITRATE
        if contestant == "ll-hls":
            return _watch(1, bitrate, contestant, options.seconds)
        figures = run_scene("ours", Scene((_NAME,), bitrate), Settings(seconds=options.seconds))
        figures.contestant = contestant
        figures.metric = figures.core_percent
        return figures


@dataclass(frozen=True, slots=True)
class PartsRow:
    """Many LL-HLS players, all blocked on the same next part."""

    name: str = "parts"
    unit: str = "% of a core"
    contestants: tuple[str, ...] = ("ours",)
    subject: str = "ours"
    reference: str | None = None
    saturates: bool = False
    goals: tuple[Goal, ...] = (note_at_most(1.05, "writes_per_answer", "one write an answer"),)
    players: int = 500

    def title(self, options: Options) -> str:
        return (
            f"LL-HLS: each part of 1 x {(options.bitrate or BITRATE) / 1e6:g} Mbit/s to {options.players or self.players} players"
        )

    def own_numbers(self, options: Options) -> bool:
        return options.bitrate is None and options.players is None

    def run(self, contestant: str, options: Options, past: Runs) -> Figures:  # noqa: ARG002 - the row's signature
        return _watch(options.players or self.players, options.bitrate or BITRATE, contestant, options.seconds)


WEB_ROWS: Final[tuple[Row, ...]] = (
    WebRow(
        "playlist",
        f"HTTP: a playlist of 400 bytes, {CONNECTIONS} keep-alive connections",
        "requests per CPU-s",
        SMALL_BITRATE,
        "index.m3u8",
        segment=False,
        goals=(ratio_at_least(1.1, "nginx"),),
    ),
    WebRow(
        "segments",
        f"HTTP: segments of 600 KB, {CONNECTIONS} keep-alive connections",
        "CPU-s/GB",
        BITRATE,
        "segment.m4s",
        segment=True,
        goals=(ratio_at_most(0.9, "nginx"),),
    ),
    PackagingRow(),
    PartsRow(),
)
