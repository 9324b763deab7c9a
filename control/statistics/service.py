"""The sampler: looks at what is on air every second and writes a row a minute, many streams in one transaction."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from control.db import Conflict, Database, DatabaseUnavailable
from control.statistics import models
from control.streams import models as stream_rows
from control.streams.onair import OnAir, stream_id_of
from mediaserver.events import Event, PublisherLeft, PublishStarted
from mediaserver.snapshot import StreamSnapshot

log = logging.getLogger(__name__)

#: Seconds between two looks, and until a database that does not answer is asked again.
INTERVAL, RETRY = 1.0, 10.0
#: Streams in one statement and one transaction.
BATCH = 50
#: Minutes that may wait for the database. Beyond that the oldest is lost, and the log says so.
WAITING = 120
#: Seconds between two looks that only a clock makes which is set.
JUMP = 600.0

_MINUTE = 60.0


@dataclass(slots=True)
class _Minute:
    """What one stream did in a minute: how long it was on air, and what each look saw, added up."""

    seconds: float = 0.0
    looks: int = 0
    viewers: int = 0
    peak: int = 0
    bitrate: int = 0
    frame_rate: float = 0.0
    sent: int = 0
    dropped: int = 0

    def averaged(self, stream_id: int) -> models.Minute:
        looks = self.looks or 1
        return models.Minute(
            stream_id,
            seconds=self.seconds,
            viewers=self.viewers / looks,
            peak=self.peak,
            bitrate=self.bitrate / looks / 1000,
            frame_rate=self.frame_rate / looks,
            sent=self.sent,
            dropped=self.dropped,
        )


@dataclass(slots=True)
class Sampler:
    """Runs for as long as the server does. All times are Unix time."""

    db: Database
    on_air: OnAir
    #: By their beginning, the present one last; and within one by the stream.
    _minutes: dict[float, dict[int, _Minute]] = field(default_factory=dict)
    #: Until when the time on air is counted, of each stream that is.
    _counted: dict[int, float] = field(default_factory=dict)
    #: What was sent and withheld at the last look, of each stream and rendition; and when that began, for a name comes back.
    _packets: dict[str, tuple[float, int, int]] = field(default_factory=dict)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _retry_at: float = 0.0

    def on_event(self, event: Event) -> None:
        """A listener of the Feed: when streams are on air, to the second."""
        stream_id = stream_id_of(event.name) if isinstance(event, (PublishStarted, PublisherLeft)) else None
        if stream_id is None:
            return
        if isinstance(event, PublishStarted):
            self._counted.setdefault(stream_id, event.at)
        else:
            self._count(stream_id, event.at)
            self._counted.pop(stream_id, None)

    def _count(self, stream_id: int, until: float) -> None:
        """It was on air until then."""
        at = self._counted.get(stream_id, until)
        if until - at > JUMP:
            at = until
        while at < until:
            begin = at - at % _MINUTE
            end = min(until, begin + _MINUTE)
            self._minute(begin, stream_id).seconds += end - at
            at = end
        self._counted[stream_id] = until

    def _minute(self, begin: float, stream_id: int) -> _Minute:
        return self._minutes.setdefault(begin, {}).setdefault(stream_id, _Minute())

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                await self.sample(time.time())
            except Exception:  # a bug must not end the statistics of a server that runs for months
                log.exception("sampler_failed")

    async def sample(self, now: float) -> None:
        """Look once; write the minutes that are over."""
        self._look(now)
        over = [begin for begin in sorted(self._minutes) if begin + _MINUTE <= now]
        for begin in over[: max(0, len(over) - WAITING)]:
            del self._minutes[begin]
            log.error("samples_lost", extra={"facts": {"reason": "the database does not answer"}})
        if over and now >= self._retry_at:
            self._retry_at = now + RETRY
            if await self._write(now):
                self._retry_at = 0.0

    async def close(self, patience: float) -> None:
        """Everything is over: write that down too, within so many seconds."""
        try:
            async with asyncio.timeout(patience):
                await self._write(float("inf"))
        except TimeoutError:
            log.error("samples_lost", extra={"facts": {"reason": "the database does not answer"}})  # noqa: TRY400 - no bug
        except Exception:  # nor must it keep anything else from closing
            log.exception("sampler_failed")

    def _look(self, now: float) -> None:
        for number in tuple(self._counted):
            self._count(number, now)
        packets: dict[str, tuple[float, int, int]] = {}
        for stream in self.on_air.everything():
            stream_id = stream_id_of(stream.name)
            if stream_id is None:
                continue
            before = self._packets.get(stream.name, (stream.since, 0, 0))
            if before[0] != stream.since:
                before = (stream.since, 0, 0)  # another one of that name
            packets[stream.name] = before
            if stream.publishing:
                packets[stream.name] = (stream.since, stream.sent_packets, stream.dropped_packets)
                minute = self._minute(now - now % _MINUTE, stream_id)
                minute.sent += stream.sent_packets - before[1]
                minute.dropped += stream.dropped_packets - before[2]
                if not stream.source:
                    self._add_look(minute, stream, self.on_air.viewers(stream_id))
        self._packets = packets

    @staticmethod
    def _add_look(minute: _Minute, stream: StreamSnapshot, viewers: int) -> None:
        minute.looks += 1
        minute.viewers += viewers
        minute.peak = max(minute.peak, viewers)
        minute.bitrate += stream.bitrate
        minute.frame_rate += stream.frame_rate

    async def _write(self, now: float) -> bool:
        """Write the minutes that are over. False if some of them have to wait: nothing of them is lost, and nothing twice."""
        async with self._writing:
            try:
                for begin in [begin for begin in sorted(self._minutes) if begin + _MINUTE <= now]:
                    await self._write_minute(begin)
            except (Conflict, DatabaseUnavailable) as error:
                log.warning("samples_wait", extra={"facts": {"minutes": len(self._minutes), "reason": str(error)}})
                return False
            return True

    async def _write_minute(self, begin: float) -> None:
        minutes = self._minutes[begin]
        while minutes:
            batch = list(minutes)[:BATCH]
            await self._add(begin, [minutes[stream_id].averaged(stream_id) for stream_id in batch])
            for stream_id in batch:
                del minutes[stream_id]
        self._minutes.pop(begin, None)

    async def _add(self, begin: float, batch: Sequence[models.Minute]) -> None:
        async with self.db.write() as tx:
            there = await stream_rows.owners(tx, {minute.stream_id for minute in batch})
            await models.add_minutes(tx, begin, [each for each in batch if each.stream_id in there and each.seconds > 0])
