"""How busy the machine and the engine are: what was counted between two looks that are far enough apart to mean something."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import psutil

from mediaserver.errors import Unavailable
from mediaserver.snapshot import EngineSnapshot

#: Seconds between two looks: what is shorter shows the clock's grain; what is longer is not now any more, and measured anew.
SHORTEST, LONGEST = 1.0, 15.0


class Snapshots(Protocol):
    """The part of the engine's door that is looked through."""

    def snapshot(self) -> EngineSnapshot: ...


@dataclass(frozen=True, slots=True)
class Load:
    """``cpu`` in percent of all of it; ``network``, what the machine's interfaces move, and ``media``, what this server takes and
    sends, in bytes a second."""

    cpu: float
    network: float
    media: float


@dataclass(frozen=True, slots=True)
class _Look:
    """Counters as they were ``at`` a moment; ``relayed`` is a rate already."""

    at: float
    busy: float
    processor: float
    network: int
    media: int
    relayed: float


class Gauge:
    """Measures when asked: who asks first waits for the second look, who asks soon after gets the same answer."""

    def __init__(self, engine: Snapshots, ticks: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._ticks = ticks
        self._measuring = asyncio.Lock()
        self._before: _Look | None = None
        self._load: Load | None = None

    async def load(self) -> Load:
        """The load of the last seconds."""
        async with self._measuring:
            before = self._before
            if before is None or self._ticks() - before.at > LONGEST:
                before, self._load = self._look(), None
                self._before = before
            wait = before.at + SHORTEST - self._ticks()
            if self._load is None or wait <= 0:
                await asyncio.sleep(max(0.0, wait))
                self._before = now = self._look()
                self._load = _between(before, now)
            return self._load

    def _look(self) -> _Look:
        times = psutil.cpu_times()._asdict()
        # A guest's time is in user's and nice's too.
        total = sum(times.values()) - times.get("guest", 0.0) - times.get("guest_nice", 0.0)
        loops = {name for name, stats in psutil.net_if_stats().items() if "loopback" in stats.flags}
        counters = psutil.net_io_counters(pernic=True)
        network = sum(nic.bytes_sent + nic.bytes_recv for name, nic in counters.items() if name not in loops)
        try:
            seen = self._engine.snapshot()
        except Unavailable:
            seen = EngineSnapshot(0.0, False, 0.0, 0, 0, (), ())
        return _Look(
            at=self._ticks(),
            busy=total - times["idle"] - times.get("iowait", 0.0),
            processor=total,
            network=network,
            media=seen.bytes_in + seen.bytes_out,
            relayed=sum(relay.bitrate for relay in seen.relays) / 8,
        )


def _between(before: _Look, now: _Look) -> Load:
    seconds, processor = now.at - before.at, now.processor - before.processor
    return Load(
        cpu=min(100.0, max(0.0, round(100 * (now.busy - before.busy) / processor, 1))) if processor > 0 else 0.0,
        network=max(0, now.network - before.network) / seconds,
        media=max(0, now.media - before.media) / seconds + now.relayed,
    )
