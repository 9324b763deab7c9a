"""The beat: under load the cost is the wake-up and the system call, not the bytes, so they are shared.

With few connections everything is immediate. As connections grow, so does the time for which output may gather, up to
``ceiling``: first each stream has *windows* of its own, which end with a picture, so that the newest one is not held;
then, when many publish, one *beat* for all: publishers' sockets leave the poller, each beat reads all of them once and
flushes each stream once, with one write to each player. Reading and writing share the beat, so it adds at most one
interval of latency.
"""

import asyncio
import enum
from collections import deque
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Protocol

#: Seconds of interval that each player is worth: 500 players reach a ceiling of 100 ms.
SECONDS_PER_PLAYER = 0.0002
#: And each publisher: it wakes us with every message.
SECONDS_PER_PUBLISHER = 0.0005
#: Below this interval the timer costs more than it saves.
SHORTEST = 0.005
#: So many publishers are read by the beat; fewer than half of it return to the poller.
MANY_PUBLISHERS = 16
#: How many turns of two reads one publisher has in one beat if it has more: who sends faster than that waits for the next one.
TURNS = 16
#: So many are read before what came of it is written. More would save more, but what is read first would wait for the rest.
READERS_IN_A_ROW = 32
#: Work that has run this long lets other callbacks of the loop run before it goes on.
SLICE = 0.004


class Pace(enum.Enum):
    """IMMEDIATE: flush after each read. WINDOWS: each stream gathers by itself. BEAT: one beat reads and flushes all."""

    IMMEDIATE = "immediate"
    WINDOWS = "windows"
    BEAT = "beat"


class BeatReader(Protocol):
    """A publisher's connection that can be read by the beat instead of by the poller."""

    def enter_beat(self) -> None:
        """Leave the poller."""

    def leave_beat(self) -> None:
        """Return to the poller."""

    def read(self) -> bool:
        """Take what the socket holds now and pass it on. True if it may hold more: ask again when the others had their turn."""


class BeatWriter(Protocol):
    """Something that gathers output between beats."""

    def flush(self) -> Iterator[None]:
        """Write out what has gathered; each step is one small piece of work. One that is abandoned between two steps is
        begun again, and goes on where it rested."""


class Beat:
    """Paces reading and writing for one event loop. ``interval`` is in seconds, 0 while everything is immediate."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ceiling: float) -> None:
        self._loop = loop
        self.ceiling = ceiling
        self.interval = 0.0
        self.pace = Pace.IMMEDIATE
        self._readers: dict[BeatReader, None] = {}
        self._players = 0
        self._windows: dict[BeatWriter, asyncio.TimerHandle] = {}
        self._dirty: deque[BeatWriter] = deque()
        self._work: Iterator[None] | None = None
        self._handle: asyncio.Handle | None = None
        self._due = 0.0
        self._began = 0.0
        self._took = 0.0

    # -- load ---------------------------------------------------------------------------------------------------------

    def add_reader(self, reader: BeatReader) -> None:
        """``reader`` publishes from now on."""
        self._readers[reader] = None
        if self.pace is Pace.BEAT:
            reader.enter_beat()
        self._adapt()

    def remove_reader(self, reader: BeatReader) -> None:
        """``reader`` has stopped publishing (or is closed). Harmless twice."""
        if reader in self._readers:
            del self._readers[reader]
            if self.pace is Pace.BEAT:
                reader.leave_beat()
            self._adapt()

    def add_players(self, count: int) -> None:
        """So many players more (or fewer)."""
        self._players += count
        self._adapt()

    def _adapt(self) -> None:
        wanted = min(self.ceiling, self._players * SECONDS_PER_PLAYER + len(self._readers) * SECONDS_PER_PUBLISHER)
        # Going back needs half the load that going forth took, so that one player coming and going does not flap.
        if wanted >= SHORTEST or (self.interval and wanted >= SHORTEST / 2):
            self.interval = max(wanted, SHORTEST)
        else:
            self.interval = 0.0
        many = len(self._readers) >= (MANY_PUBLISHERS // 2 if self.pace is Pace.BEAT else MANY_PUBLISHERS)
        pace = Pace.IMMEDIATE if not self.interval else Pace.BEAT if many else Pace.WINDOWS
        if pace is not self.pace:
            self._change(pace)

    def _change(self, pace: Pace) -> None:
        before, self.pace = self.pace, pace
        for reader in tuple(self._readers):
            if pace is Pace.BEAT:
                reader.enter_beat()
            elif before is Pace.BEAT:
                reader.leave_beat()
        for timer in self._windows.values():
            timer.cancel()
        self._dirty.extend(self._windows)
        self._windows.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        # Work that rests is dropped: what it has not done is still marked.
        self._work = None
        if pace is Pace.BEAT:
            self._due = self._loop.time()
        if pace is Pace.BEAT or self._dirty:
            self._handle = self._loop.call_soon(self._run)

    # -- writing --------------------------------------------------------------------------------------------------------

    @property
    def window(self) -> float:
        """Seconds for which output may gather. What the work itself takes beyond a tenth of the interval comes off it: the
        last player of a large stream is written to at the work's end, and the ceiling is a promise to that one too. Not
        more than a quarter, though: on a machine that is short of time, more writes would only take more of it."""
        tenth = self.interval / 10
        return self.interval - min(max(0.0, self._took - tenth), 2.5 * tenth)

    def mark(self, writer: BeatWriter, grace: float = 0.0) -> None:
        """``writer`` has something to flush, and gathers more until its time has come. Call once per flush, not per packet.

        A window of its own lasts ``grace`` seconds longer, unless ``hurry`` ends it.
        """
        if self.pace is Pace.WINDOWS:
            self._windows[writer] = self._loop.call_later(self.window + grace, self.hurry, writer)
            return
        self._dirty.append(writer)
        if self._handle is None and self.pace is Pace.IMMEDIATE:
            self._handle = self._loop.call_soon(self._run)

    def hurry(self, writer: BeatWriter) -> None:
        """End the window of ``writer`` with what this turn of the loop still brings. Without effect if it has none."""
        timer = self._windows.pop(writer, None)
        if timer is not None:
            timer.cancel()
            self._dirty.append(writer)
            if self._handle is None:
                self._handle = self._loop.call_soon(self._run)

    def close(self) -> None:
        """Stop; nothing is flushed after this."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        for timer in self._windows.values():
            timer.cancel()
        self._windows.clear()
        self._dirty.clear()

    # -- work -----------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """One slice of work; the last one arranges for the next beat."""
        self._handle = None
        pace = self.pace
        if self._work is None:
            self._work = self._one_beat() if pace is Pace.BEAT else self._flush_dirty()
            self._began = monotonic()
        deadline = monotonic() + SLICE
        for _ in self._work:
            if self.pace is not pace:
                return
            if monotonic() > deadline:
                self._handle = self._loop.call_soon(self._run)
                return
        if self.pace is not pace:
            return
        self._work = None
        now = monotonic()
        self._took += (now - self._began - self._took) / 8
        if pace is Pace.BEAT:
            # Each connection has its place in the beat, so what the work takes does not come on top of the interval.
            self._due = max(self._due + self.interval, now + SHORTEST / 2)
            self._handle = self._loop.call_at(self._due, self._run)
        elif self._dirty:
            self._handle = self._loop.call_soon(self._run)

    def _one_beat(self) -> Iterator[None]:
        # Some reads, then their writes: the same code in a row, and who reads what we write is woken once for all of it.
        # Who has more comes after everybody's first turn is out.
        readers: Sequence[BeatReader] = tuple(self._readers)
        for _ in range(TURNS):
            more: list[BeatReader] = []
            for at in range(0, len(readers), READERS_IN_A_ROW):
                for reader in readers[at : at + READERS_IN_A_ROW]:
                    try:
                        # A keyframe is seldom in one read, and should be in one write.
                        if self._read(reader) and self._read(reader):
                            more.append(reader)
                    except Exception as error:  # noqa: BLE001 - one broken connection must not stop everybody's heart
                        self._report(error)
                    yield
                yield from self._flush_dirty()
            if not more:
                break
            readers = more
        yield from self._flush_dirty()

    def _read(self, reader: BeatReader) -> bool:
        return reader in self._readers and reader.read()

    def _flush_dirty(self) -> Iterator[None]:
        while self._dirty:
            # Taken off only when it is done: who abandons this work between two steps leaves it to be found.
            try:
                yield from self._dirty[0].flush()
            except Exception as error:  # noqa: BLE001 - likewise
                self._report(error)
            self._dirty.popleft()

    def _report(self, error: Exception) -> None:
        self._loop.call_exception_handler({"message": "a connection failed within the beat", "exception": error})
