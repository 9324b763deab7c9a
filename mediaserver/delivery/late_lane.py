"""aiohttp's protocol for a server where nobody has asked for a page so far: it is made ready with the first connection."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final, cast

#: Bytes of one connection that are kept until somebody reads them.
WAITING: Final = 1 << 16

MakeLane = Callable[[], asyncio.Protocol]
#: All that is to be said to a request before its connection is closed; empty where that is not for the porter to say.
Porter = Callable[[bytes], bytes]


class LateLane:
    """Makes protocols for connections, like what ``open`` gives; ``open`` is asked for that once, by the first connection that
    wants more than ``porter`` knows."""

    def __init__(
        self,
        open: Callable[[], Awaitable[MakeLane]],  # noqa: A002
        spawn: Callable[[Coroutine[None, None, None]], object],
        porter: Porter,
    ) -> None:
        self.porter = porter
        self._open = open
        self._spawn = spawn
        self._lane: MakeLane | None = None
        self._waiting: list[_Early] = []

    def __call__(self) -> asyncio.Protocol:
        return _Early(self) if self._lane is None else self._lane()

    def wake(self, early: "_Early") -> None:
        """``early`` wants to go on."""
        if self._lane is not None:
            early.go_on(self._lane)
            return
        self._waiting.append(early)
        if len(self._waiting) == 1:
            self._spawn(self._begin())

    async def _begin(self) -> None:
        try:
            self._lane = await self._open()
        finally:
            waiting, self._waiting = self._waiting, []
            for early in waiting:
                early.go_on(self._lane)


class _Early(asyncio.Protocol):
    """A connection that came early: what it says is kept, and told to the one that it is for when that is there."""

    def __init__(self, late: LateLane) -> None:
        self._late = late
        self._lane: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._data = b""
        self._waits = self._ended = False

    def go_on(self, make: MakeLane | None) -> None:
        """Begin with what was kept. None: there is nobody who could answer."""
        transport, data = self._transport, self._data
        if transport is None:
            return  # gone meanwhile
        if make is None:
            transport.abort()
            return
        self._data = b""
        self._lane = make()
        self._lane.connection_made(transport)
        transport.resume_reading()
        self._lane.data_received(data)
        if self._ended:
            self._lane.eof_received()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        if self._lane is not None:
            self._lane.data_received(data)
        elif transport is not None:
            self._data += data
            if self._waits:
                if len(self._data) >= WAITING:
                    transport.pause_reading()
            elif answer := self._late.porter(self._data):
                transport.write(answer)
                transport.close()
            else:
                self._waits = True
                self._late.wake(self)

    def eof_received(self) -> bool | None:
        if self._lane is not None:
            return self._lane.eof_received()
        self._ended = True
        return self._waits  # what was asked is answered, to who still listens

    def pause_writing(self) -> None:
        if self._lane is not None:
            self._lane.pause_writing()

    def resume_writing(self) -> None:
        if self._lane is not None:
            self._lane.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._data = b""
        if self._lane is not None:
            self._lane.connection_lost(exc)
