"""Deadlines of connections, applied in small pieces: thousands that are over at once do not hold up the media of others."""

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import Protocol

#: Connections that are ended in one turn of the loop.
IN_A_ROW = 8


class Limited(Protocol):
    """A connection that has a deadline, now and then."""

    def is_late(self, now: float) -> bool:
        """Whether ``now`` (monotonic) is past its deadline."""

    def end(self) -> None:
        """End it for that."""


class Deadlines:
    """Whose deadline is to be looked at. The newcomers all have the same time from now on, so only the first of them need be."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._newcomers: dict[Limited, None] = {}
        self._others: dict[Limited, None] = {}
        self._handle: asyncio.Handle | None = None

    def expect_word(self, connection: Limited) -> None:
        """``connection`` has from now on as long as every newcomer to say what it wants."""
        self.forget(connection)
        self._newcomers[connection] = None

    def watch(self, connection: Limited) -> None:
        """``connection`` has a deadline that moves, or began before this: look at it each time."""
        self.forget(connection)
        self._others[connection] = None

    def forget(self, connection: Limited) -> None:
        """``connection`` has no deadline any more. Harmless twice."""
        self._newcomers.pop(connection, None)
        self._others.pop(connection, None)

    def apply(self, now: float) -> None:
        """End who is late: the first few at once, the others in the turns of the loop that follow."""
        if self._handle is None:
            self._go_on(self._end_the_late(now))

    def _go_on(self, work: Iterator[None]) -> None:
        self._handle = None
        if sum(1 for _ in islice(work, IN_A_ROW)) == IN_A_ROW:
            self._handle = self._loop.call_soon(self._go_on, work)

    def _end_the_late(self, now: float) -> Iterator[None]:
        for connection in tuple(self._others):
            if connection in self._others and connection.is_late(now):
                connection.end()
                yield
        while first := [connection for connection in islice(self._newcomers, IN_A_ROW) if connection.is_late(now)]:
            for connection in first:
                # It may have come to the point, or be gone, since it was looked at.
                if connection in self._newcomers and connection.is_late(now):
                    del self._newcomers[connection]
                    connection.end()
                    yield
