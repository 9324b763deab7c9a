"""The sampler: looks at what is on air every few seconds and writes a row a minute, many streams in one transaction."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from control.db import Conflict, Database, DatabaseUnavailable
from control.statistics import models
from control.streams import models as stream_rows
from control.streams.onair import OnAir, stream_id_of
from mediaserver.snapshot import StreamSnapshot

log = logging.getLogger(__name__)

#: Seconds between two looks.
INTERVAL = 5.0
#: Streams in one statement and one transaction.
BATCH = 50


@dataclass(slots=True)
class _Minute:
    """What one stream did in the present minute."""

    looks: int = 0
    viewers: int = 0
    peak: int = 0
    bitrate: int = 0
    frame_rate: float = 0.0
    dropped: int = 0
    frames: float = 0.0

    def averaged(self, stream_id: int) -> models.Minute:
        looks, sent = self.looks, self.frames + self.dropped
        return models.Minute(
            stream_id,
            viewers=self.viewers / looks,
            peak=self.peak,
            bitrate=self.bitrate / looks / 1000,
            frame_rate=self.frame_rate / looks,
            packet_loss=100 * self.dropped / sent if sent else 0.0,
        )


@dataclass(slots=True)
class Sampler:
    """Runs for as long as the server does."""

    db: Database
    on_air: OnAir
    _minutes: dict[int, _Minute] = field(default_factory=dict)
    _dropped: dict[str, int] = field(default_factory=dict)
    _minute: float = 0.0

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                await self.sample(time.time())
            except DatabaseUnavailable as error:
                log.warning("samples_not_written", extra={"facts": {"reason": str(error)}})
            except Exception:  # a bug must not end the statistics of a server that runs for months
                log.exception("sampler_failed")

    async def sample(self, now: float) -> None:
        """Look once; write the minute that is over."""
        minute = now - now % 60
        if self._minutes and minute != self._minute:
            minutes, self._minutes = self._minutes, {}
            await self._write(minutes, self._minute)
        self._minute = minute
        live = self.on_air.everything()
        for stream in live:
            stream_id = stream_id_of(stream.name)
            if stream_id is not None and stream.publishing and not stream.source:
                self._look(self._minutes.setdefault(stream_id, _Minute()), stream_id, stream)
        self._dropped = {stream.name: stream.dropped_packets for stream in live}

    def _look(self, minute: _Minute, stream_id: int, stream: StreamSnapshot) -> None:
        viewers = self.on_air.viewers(stream_id)
        minute.looks += 1
        minute.viewers += viewers
        minute.peak = max(minute.peak, viewers)
        minute.bitrate += stream.bitrate
        minute.frame_rate += stream.frame_rate
        minute.dropped += max(0, stream.dropped_packets - self._dropped.get(stream.name, stream.dropped_packets))
        minute.frames += stream.frame_rate * INTERVAL * viewers

    async def _write(self, minutes: dict[int, _Minute], at: float) -> None:
        done = [minute.averaged(stream_id) for stream_id, minute in minutes.items()]
        for start in range(0, len(done), BATCH):
            batch = done[start : start + BATCH]
            try:
                await self._add(at, batch)
            except Conflict:
                # A stream was deleted in that very moment.
                await self._add(at, batch)

    async def _add(self, at: float, batch: Sequence[models.Minute]) -> None:
        async with self.db.write() as tx:
            there = await stream_rows.owners(tx, {minute.stream_id for minute in batch})
            await models.add_minutes(tx, at, [minute for minute in batch if minute.stream_id in there])
