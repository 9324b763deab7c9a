"""The beat: under load the cost is the wake-up and the system call, not the bytes, so they are shared.

With few connections everything is immediate. As connections grow the beat's interval grows with them, up to
``ceiling``: publishers' sockets leave the poller, each beat reads all of them once and flushes each stream once, with one
write to each player. Reading and writing share the beat, so it adds at most one interval of latency.
"""

import asyncio
from collections.abc import Iterator
from time import monotonic
from typing import Protocol

#: Seconds of beat that each connection is worth: 500 connections reach a ceiling of 100 ms.
SECONDS_PER_CONNECTION = 0.0002
#: Below this interval the timer costs more than it saves.
SHORTEST = 0.005
#: A beat that has run this long lets other callbacks of the loop run before it goes on.
SLICE = 0.004


class BeatReader(Protocol):
    """A publisher's connection that can be read by the beat instead of by the poller."""

    def enter_beat(self) -> None:
        """Leave the poller."""

    def leave_beat(self) -> None:
        """Return to the poller."""

    def read(self) -> None:
        """Take what the socket holds now and pass it on."""


class BeatWriter(Protocol):
    """Something that gathers output between beats."""

    def flush(self) -> Iterator[None]:
        """Write out what has gathered; each step of the iterator is one small piece of work."""


class Beat:
    """Paces reading and writing for one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ceiling: float) -> None:
        self._loop = loop
        self.ceiling = ceiling
        self.interval = 0.0
        self._readers: dict[BeatReader, None] = {}
        self._dirty: list[BeatWriter] = []
        self._weight = 0
        self._handle: asyncio.Handle | None = None
        self._work: Iterator[None] | None = None
        self._due = 0.0
        self._began = 0.0
        self._took = 0.0

    def add_reader(self, reader: BeatReader) -> None:
        """``reader`` publishes from now on."""
        self._readers[reader] = None
        if self.interval:
            reader.enter_beat()
        self._adapt()

    def remove_reader(self, reader: BeatReader) -> None:
        """``reader`` has stopped publishing (or is closed). Harmless twice."""
        if reader in self._readers:
            del self._readers[reader]
            if self.interval:
                reader.leave_beat()
            self._adapt()

    def add_weight(self, connections: int) -> None:
        """So many players more (or fewer)."""
        self._weight += connections
        self._adapt()

    def mark(self, writer: BeatWriter) -> None:
        """``writer`` has something to flush. Call once per flush, not per packet."""
        self._dirty.append(writer)
        if not self.interval and self._handle is None:
            self._handle = self._loop.call_soon(self._settle)

    def close(self) -> None:
        """Stop the timer; nothing is flushed after this."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._dirty.clear()

    def _settle(self) -> None:
        """Immediate mode: flush what the last read brought."""
        self._handle = None
        for _ in self._flush_dirty():
            pass

    def _adapt(self) -> None:
        wanted = min(self.ceiling, (self._weight + len(self._readers)) * SECONDS_PER_CONNECTION)
        # Going back needs half the load that going forth took, so that one player coming and going does not flap.
        if self.interval == 0.0 and wanted >= SHORTEST:
            self.interval = wanted
            self._start()
        elif self.interval and wanted < SHORTEST / 2:
            self._stop()
        elif self.interval:
            self.interval = max(wanted, SHORTEST)

    def _start(self) -> None:
        for reader in self._readers:
            reader.enter_beat()
        if self._handle is not None:
            self._handle.cancel()
        self._due = self._loop.time()
        self._handle = self._loop.call_soon(self._tick)

    def _stop(self) -> None:
        self.interval = 0.0
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._work = None
        for reader in self._readers:
            reader.leave_beat()
        if self._dirty:
            self._handle = self._loop.call_soon(self._settle)

    def _tick(self) -> None:
        if self._work is None:
            self._work = self._one_beat()
            self._began = monotonic()
        deadline = monotonic() + SLICE
        try:
            for _ in self._work:
                if not self.interval:
                    return
                if monotonic() > deadline:
                    self._handle = self._loop.call_soon(self._tick)
                    return
        except Exception as error:  # noqa: BLE001 - one broken connection must not stop everybody's heart
            self._loop.call_exception_handler({"message": "the beat was interrupted", "exception": error})
        self._work = None
        if self.interval:
            now = monotonic()
            self._took += (now - self._began - self._took) / 8
            # The last player of a large stream is written to at the end of the work: what that takes beyond a tenth of the
            # interval is taken off it, so that the ceiling still says what a player waits at most.
            interval = self.interval - max(0.0, self._took - self.interval / 10)
            self._due = max(self._due + interval, now + SHORTEST / 2)
            self._handle = self._loop.call_at(self._due, self._tick)

    def _one_beat(self) -> Iterator[None]:
        for reader in tuple(self._readers):
            reader.read()
            if self._dirty:
                yield from self._flush_dirty()
            yield
        yield from self._flush_dirty()

    def _flush_dirty(self) -> Iterator[None]:
        while self._dirty:
            dirty, self._dirty = self._dirty, []
            for writer in dirty:
                yield from writer.flush()
