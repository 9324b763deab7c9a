"""The sampler: looks at what is on air every second and writes a row a minute, many streams in one transaction."""

import asyncio
import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from control.db import Conflict, Database, DatabaseUnavailable
from control.statistics import models
from control.statistics.crowd import Crowd
from control.streams import models as stream_rows
from control.streams.onair import OnAir, stream_id_of
from control.waits import Waits
from mediaserver.events import Event, PlayEnded, PlayStarted, PublisherLeft, PublishStarted

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
#: Viewers that are none: what sums of many seconds are off by.
_ROUNDING = 1e-6


@dataclass(slots=True)
class _Minute:
    """What one stream did in a minute: how long it was on air and was watched, by all together, what looks saw, and what came in
    within so many seconds of it: of what came between two looks, its part."""

    seconds: float = 0.0
    watched: float = 0.0
    peak: int = 0
    measured: float = 0.0
    bytes_in: float = 0.0
    frames: float = 0.0
    sent: int = 0
    dropped: int = 0

    def averaged(self, stream_id: int) -> models.Minute:
        measured, viewers = self.measured or 1.0, max(0.0, self.watched / self.seconds)
        return models.Minute(
            stream_id,
            seconds=self.seconds,
            viewers=viewers,
            # Who came and went between two looks was there too.
            peak=max(self.peak, math.ceil(viewers - _ROUNDING)),
            bitrate=self.bytes_in * 8 / measured / 1000,
            frame_rate=self.frames / measured,
            sent=self.sent,
            dropped=self.dropped,
        )


class _Seen(NamedTuple):
    """The counters of a stream or a rendition that began at ``since``, at a look."""

    since: float
    at: float
    bytes_in: int = 0
    frames: int = 0
    sent: int = 0
    dropped: int = 0


@dataclass(slots=True)
class Sampler:
    """Runs for as long as the server does. All times are Unix time."""

    db: Database
    on_air: OnAir
    #: By their beginning, the present one last; and within one by the stream.
    _minutes: dict[float, dict[int, _Minute]] = field(default_factory=dict)
    #: Until when the time on air is counted, of each stream that is.
    _counted: dict[int, float] = field(default_factory=dict)
    #: From when until when each stream was on air last that is, or has viewers still.
    _spans: dict[int, tuple[float, float]] = field(default_factory=dict)
    _crowd: Crowd = field(default_factory=Crowd)
    #: The last look at each stream and rendition; another one of that name may have begun since.
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _retry_at: float = 0.0
    _waits: Waits = field(default_factory=lambda: Waits(log, "samples_wait", "samples_go_on"))

    def on_event(self, event: Event) -> None:
        """A listener of the Feed: when streams are on air, and who watches, to the second."""
        stream_id = stream_id_of(event.name)
        if stream_id is None:
            return
        if isinstance(event, PublishStarted):
            if stream_id not in self._counted:
                self._counted[stream_id], self._spans[stream_id] = event.at, (event.at, math.inf)
        elif isinstance(event, PublisherLeft):
            self._count(stream_id, event.at)
            self._counted.pop(stream_id, None)
            self._spans[stream_id] = self._span(stream_id)[0], event.at
            self._forget_span(stream_id)
        elif isinstance(event, (PlayStarted, PlayEnded)):
            self._change_crowd(event, stream_id)

    def _change_crowd(self, event: PlayStarted | PlayEnded, stream_id: int) -> None:
        """Who came or went before now did so in what is counted already, or written even."""
        if event.at > self._counted.get(stream_id, math.inf):
            self._count(stream_id, event.at)
        by, (came, left) = self._crowd.change(event, stream_id), self._span(stream_id)
        until = self._counted.get(stream_id, left)
        for begin, seconds in _by_minute(max(event.at, came, until - JUMP), until):
            self._minute(begin, stream_id).watched += by * seconds
        self._forget_span(stream_id)

    def _span(self, stream_id: int) -> tuple[float, float]:
        return self._spans.get(stream_id, (math.inf, math.inf))

    def _forget_span(self, stream_id: int) -> None:
        if stream_id not in self._counted and not self._crowd.of(stream_id):
            self._spans.pop(stream_id, None)

    def _count(self, stream_id: int, until: float) -> None:
        """It was on air until then."""
        at = self._counted.get(stream_id, until)
        if until - at > JUMP:
            at = until
        for begin, seconds in _by_minute(at, until):
            minute = self._minute(begin, stream_id)
            minute.seconds += seconds
            minute.watched += seconds * self._crowd.of(stream_id)
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
        seen: dict[str, _Seen] = {}
        for stream in self.on_air.everything():
            stream_id = stream_id_of(stream.name)
            if stream_id is None:
                continue
            before = self._seen.get(stream.name)
            if before is None or before.since != stream.since:
                before = _Seen(stream.since, stream.since)
            if not stream.publishing:
                # What it sent in its last moment is no rate of what it sends when it is back.
                seen[stream.name] = before._replace(at=now, bytes_in=stream.bytes_in, frames=stream.frames)
                continue
            after = _Seen(stream.since, now, stream.bytes_in, stream.frames, stream.sent_packets, stream.dropped_packets)
            seen[stream.name] = after
            minute = self._minute(now - now % _MINUTE, stream_id)
            minute.sent += after.sent - before.sent
            minute.dropped += after.dropped - before.dropped
            if not stream.source:
                minute.peak = max(minute.peak, self.on_air.viewers(stream_id))
                self._add_rates(stream_id, before, after)
        self._seen = seen

    def _add_rates(self, stream_id: int, before: _Seen, after: _Seen) -> None:
        """What came in between two looks, to each of the minutes that lie there: one that had no look of its own had pictures."""
        between = after.at - before.at
        if between > JUMP:
            return
        for begin, seconds in _by_minute(before.at, after.at):
            minute = self._minute(begin, stream_id)
            minute.measured += seconds
            minute.bytes_in += (after.bytes_in - before.bytes_in) * seconds / between
            minute.frames += (after.frames - before.frames) * seconds / between

    async def _write(self, now: float) -> bool:
        """Write the minutes that are over. False if some of them have to wait: nothing of them is lost, and nothing twice."""
        async with self._writing:
            try:
                for begin in [begin for begin in sorted(self._minutes) if begin + _MINUTE <= now]:
                    await self._write_minute(begin)
            except (Conflict, DatabaseUnavailable) as error:
                self._waits.begin(str(error), minutes=len(self._minutes))
                return False
            self._waits.end()
            return True

    async def _write_minute(self, begin: float) -> None:
        minutes = self._minutes[begin]
        while minutes:
            batch = {stream_id: minutes.pop(stream_id) for stream_id in list(minutes)[:BATCH]}
            try:
                await self._add(begin, batch)
            except BaseException:
                for stream_id, minute in batch.items():
                    # Who has gone since, and was counted.
                    minute.watched += minutes.get(stream_id, _Minute()).watched
                minutes.update(batch)
                raise
        self._minutes.pop(begin, None)

    async def _add(self, begin: float, batch: Mapping[int, _Minute]) -> None:
        async with self.db.write() as tx:
            there = await stream_rows.owners(tx, set(batch))
            found = {stream_id: minute for stream_id, minute in batch.items() if stream_id in there}
            await models.add_minutes(tx, begin, [each.averaged(number) for number, each in found.items() if each.seconds > 0])
            for number, each in found.items():
                if each.watched and not each.seconds:
                    await models.add_watched(tx, begin, number, each.watched)


def _by_minute(at: float, until: float) -> Iterator[tuple[float, float]]:
    """The minutes from ``at`` to ``until``: their beginnings, and how many seconds of each lie there."""
    while at < until:
        begin = at - at % _MINUTE
        end = min(until, begin + _MINUTE)
        yield begin, end - at
        at = end
