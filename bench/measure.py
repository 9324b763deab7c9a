"""One run: a fresh server, publishers, players, a window of time, and what everybody used and saw in it."""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Final, Protocol

from bench import usage
from bench.figures import Figures, percentile
from bench.load.play import Drain, PlayReport, PlaySpec, play
from bench.load.process import LoadError, LoadProcess, Window
from bench.load.publish import PublishReport, PublishSpec, publish
from bench.servers import Nginx, Ours, Running, Settings

_CPUS: Final = sorted(os.sched_getaffinity(0))
#: which core serves, and which one puts the load on: the same where there is only one, with figures that mean little
SERVER_CPU: Final = _CPUS[0]
LOAD_CPU: Final = _CPUS[1 % len(_CPUS)]
#: seconds from the last player's joining to the window: a player that waits for a keyframe has it by then
SETTLE_SECONDS: Final = 2.6
SAMPLED: Final = 10


@dataclass(frozen=True, slots=True)
class Scene:
    """Who publishes and who plays. ``names`` publish at ``bitrate`` (bit/s) each; ``players`` names what each one plays."""

    names: tuple[str, ...]
    bitrate: float
    players: tuple[str, ...] = ()
    http: bool = False
    sampled: int = SAMPLED
    drain: Drain = Drain.READY


class Beside(Protocol):
    """What goes on beside a scene, from the window's beginning on."""

    def begin(self, window: Window) -> None:
        """The window is about to begin."""

    def end(self) -> None:
        """The window has ended."""

    def report(self, figures: Figures) -> None:
        """Write what was seen into ``figures``."""


CONTESTANTS: Final[dict[str, Callable[[int | None, Settings], Running]]] = {"nginx": Nginx, "ours": Ours}


class Meter:
    """What a server and its core did between two moments."""

    def __init__(self, server: Running) -> None:
        self._pids = usage.tree(server.pid)
        self._cpu = usage.cpu_seconds(self._pids)
        self._core = usage.core_time(SERVER_CPU)
        self._writes = usage.write_calls(self._pids)
        self._at = time.monotonic()

    def read(self, figures: Figures) -> None:
        """Write the difference since it was made into ``figures``."""
        figures.seconds = time.monotonic() - self._at
        figures.cpu_seconds = usage.cpu_seconds(self._pids) - self._cpu
        figures.core_percent = 100 * figures.cpu_seconds / figures.seconds
        core = usage.core_time(SERVER_CPU)
        busy = (core.busy - self._core.busy) / max(0.01, core.total - self._core.total)
        figures.others_percent = max(0.0, 100 * busy - figures.core_percent)
        figures.notes["writes"] = usage.write_calls(self._pids) - self._writes
        figures.rss_load = usage.resident_bytes(self._pids)


def sleep_until(moment_ns: int) -> None:
    """Sleep to a moment of the monotonic clock."""
    time.sleep(max(0.0, (moment_ns - time.monotonic_ns()) / 1e9))


def window_from_now(seconds: float) -> Window:
    """A window that begins when everybody has surely heard of it."""
    start = time.monotonic_ns() + 100_000_000
    return Window(start, start + round(seconds * 1e9))


def run_scene(
    contestant: str,
    scene: Scene,
    settings: Settings,
    make_beside: Callable[[Running], AbstractContextManager[Beside]] | None = None,
) -> Figures:
    """Publishers and players of one scene against one fresh server."""
    figures = Figures(contestant)
    with ExitStack() as stack:
        server = stack.enter_context(CONTESTANTS[contestant](SERVER_CPU, settings))
        time.sleep(0.5)
        figures.rss_idle = usage.resident_bytes(usage.tree(server.pid))
        publishers: LoadProcess[PublishSpec, PublishReport] = stack.enter_context(
            LoadProcess(publish, PublishSpec(server.rtmp_port, server.app, scene.names, scene.bitrate), LOAD_CPU)
        )
        publishers.wait_ready()
        time.sleep(0.5 if scene.players else SETTLE_SECONDS)
        figures.rss_publishing = usage.resident_bytes(usage.tree(server.pid))
        players: LoadProcess[PlaySpec, PlayReport] | None = None
        if scene.players:
            port = server.http_port if scene.http else server.rtmp_port
            spec = PlaySpec(port, server.app, scene.players, scene.sampled, scene.http, scene.drain)
            players = stack.enter_context(LoadProcess(play, spec, LOAD_CPU))
            players.wait_ready()
            time.sleep(SETTLE_SECONDS)
        beside = stack.enter_context(make_beside(server)) if make_beside is not None else None
        window = window_from_now(settings.seconds)
        if beside is not None:
            beside.begin(window)
        publishers.measure(window)
        if players is not None:
            players.measure(window)
        sleep_until(window.start)
        meter = Meter(server)
        sleep_until(window.end)
        meter.read(figures)
        if beside is not None:
            beside.end()
        _published(figures, publishers.report(), len(scene.names))
        if players is not None:
            _played(figures, players.report(), len(scene.players))
        if beside is not None:
            beside.report(figures)
    return figures


def _published(figures: Figures, report: PublishReport, count: int) -> None:
    figures.publish_late_ms = report.late_ms
    figures.load_percent = 100 * report.cpu_seconds / figures.seconds
    figures.notes["published_gb"] = report.bytes_sent / 1e9
    figures.notes["published_per_stream"] = report.bytes_sent / count
    if report.stalls:
        figures.notes["publisher_stalls"] = report.stalls


def _played(figures: Figures, report: PlayReport, players: int) -> None:
    if not report.findings.latencies:
        raise LoadError(f"the verifying players saw no frame: {'; '.join(report.findings.faults[:3])}")
    figures.gigabytes = report.bytes_received / 1e9
    figures.cpu_per_gb = figures.cpu_seconds / figures.gigabytes
    figures.delivered = report.bytes_received / players / figures.notes["published_per_stream"]
    figures.notes["fewest"] = report.fewest
    figures.load_percent += 100 * report.cpu_seconds / figures.seconds
    latencies = sorted(report.findings.latencies)
    figures.p50, figures.p99, figures.worst = percentile(latencies, 0.5), percentile(latencies, 0.99), latencies[-1]
    figures.frames, figures.lost = report.findings.frames, report.findings.lost
    figures.faults = report.findings.faults
    if figures.rss_load is not None and figures.rss_publishing is not None:
        figures.bytes_per_player = (figures.rss_load - figures.rss_publishing) / players
