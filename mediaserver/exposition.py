"""Figures in Prometheus's words. The library is a megabyte: ``metrics`` loads this when somebody scrapes for the first time."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from mediaserver.errors import Unavailable
from mediaserver.lag import LagSampler
from mediaserver.ports import Wire
from mediaserver.snapshot import EngineSnapshot


class EngineCollector(Collector):
    """Turns one snapshot into metrics at each scrape.

    Labels hold only protocol words (wire, role, kind): never a stream's name or an address, of which anybody can make
    a million.
    """

    def __init__(self, snapshot: Callable[[], EngineSnapshot], requests: Iterable[Mapping[str, int]]) -> None:
        self._snapshot = snapshot
        self._requests = tuple(requests)

    def describe(self) -> Iterable[Metric]:
        # Told here so that registering does not ask an engine that has not started yet.
        return []

    def collect(self) -> Iterable[Metric]:
        requests = CounterMetricFamily("mediaserver_http_requests", "HTTP requests by what was asked for.", labels=["kind"])
        for kind, count in sorted(sum(map(Counter, self._requests), Counter[str]()).items()):
            requests.add_metric([kind], count)
        yield requests
        try:
            snapshot = self._snapshot()
        except Unavailable:
            return
        yield from _totals(snapshot)
        yield _sessions(snapshot)


def _totals(snapshot: EngineSnapshot) -> Iterable[Metric]:
    streams = [stream for stream in snapshot.streams if not stream.source]
    live = sum(stream.publishing for stream in streams)
    yield CounterMetricFamily("mediaserver_bytes_in", "Bytes received from publishers.", value=snapshot.bytes_in)
    yield CounterMetricFamily("mediaserver_bytes_out", "Bytes sent to players.", value=snapshot.bytes_out)
    yield GaugeMetricFamily("mediaserver_streams_live", "Streams that somebody publishes now.", value=live)
    yield GaugeMetricFamily(
        "mediaserver_streams_away", "Streams whose publisher left and may come back.", value=len(streams) - live
    )
    yield GaugeMetricFamily(
        "mediaserver_dropped_packets",
        "Packets withheld from slow players of the streams that are live now, since those began.",
        value=sum(stream.dropped_packets for stream in snapshot.streams),
    )
    yield CounterMetricFamily(
        "mediaserver_players_cut_off", "Players that took nothing for too long.", value=snapshot.players_cut_off
    )
    yield GaugeMetricFamily("mediaserver_beat_seconds", "The engine's beat; 0 when everything is immediate.", value=snapshot.beat)
    yield GaugeMetricFamily("mediaserver_start_time_seconds", "When the engine started, in Unix time.", value=snapshot.since)
    yield GaugeMetricFamily("mediaserver_draining", "1 while the engine is stopping.", value=snapshot.draining)


def _sessions(snapshot: EngineSnapshot) -> Metric:
    counts = {(role, wire): 0 for role in ("publisher", "player") for wire in Wire}
    for session in snapshot.sessions:
        if session.publishing:
            counts["publisher", session.wire] += 1
    for stream in snapshot.streams:
        for wire, players in stream.players.items():
            counts["player", wire] += players
    family = GaugeMetricFamily("mediaserver_sessions", "Who publishes and plays now, by protocol.", labels=["role", "wire"])
    for (role, wire), count in counts.items():
        family.add_metric([role, wire.value], count)
    return family


class LagCollector(Collector):
    """The event loop's lag, as it was sampled."""

    def __init__(self, lag: LagSampler) -> None:
        self._lag = lag

    def collect(self) -> Iterable[Metric]:
        buckets, total = [], 0
        for bound, count in self._lag.counts.items():
            total += count
            buckets.append((f"{bound:g}".replace("inf", "+Inf"), float(total)))
        yield HistogramMetricFamily(
            "mediaserver_event_loop_lag_seconds", "How late a due timer ran.", buckets=buckets, sum_value=self._lag.total
        )


class Exposition:
    """A registry of its own with the engine's figures, the process's (``process_*``) and the event loop's."""

    def __init__(self, snapshot: Callable[[], EngineSnapshot], requests: Iterable[Mapping[str, int]], lag: LagSampler) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._registry.register(EngineCollector(snapshot, requests))
        self._registry.register(LagCollector(lag))

    def render(self, accept: str) -> tuple[bytes, str]:
        """The body and its content type, in the format that ``accept`` (the request's header) prefers."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self._registry), content_type
