"""aiohttp's protocol for a server where nobody has asked for a page so far: it is made ready with the first connection."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final, cast

#: Bytes of one connection that are kept until somebody reads them.
WAITING: Final = 1 << 16

MakeLane = Callable[[], asyncio.Protocol]


class LateLane:
    """Makes protocols for connections, like what ``open`` gives; ``open`` is asked for that once, by the first connection."""

    def __init__(self, open: Callable[[], Awaitable[MakeLane]], spawn: Callable[[Coroutine[None, None, None]], object]) -> None:  # noqa: A002
        self._open = open
        self._spawn = spawn
        self._lane: MakeLane | None = None
        self._waiting: list[_Waiting] = []

    def __call__(self) -> asyncio.Protocol:
        if self._lane is not None:
            return self._lane()
        waiting = _Waiting()
        self._waiting.append(waiting)
        if len(self._waiting) == 1:
            self._spawn(self._begin())
        return waiting

    async def _begin(self) -> None:
        try:
            self._lane = await self._open()
        finally:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.go_on(self._lane)


class _Waiting(asyncio.Protocol):
    """A connection that came early: what it says is kept, and told to the one that it is for when that is there."""

    def __init__(self) -> None:
        self._lane: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._data = bytearray()
        self._ended = False

    def go_on(self, make: MakeLane | None) -> None:
        """Begin with what was kept. None: there is nobody who could answer."""
        transport = self._transport
        if transport is None:
            return  # gone meanwhile
        if make is None:
            transport.abort()
            return
        self._lane = make()
        self._lane.connection_made(transport)
        if len(self._data) >= WAITING:
            transport.resume_reading()
        self._lane.data_received(bytes(self._data))
        self._data.clear()
        if self._ended:
            self._lane.eof_received()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._lane is not None:
            self._lane.data_received(data)
            return
        self._data += data
        if len(self._data) >= WAITING and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool | None:
        if self._lane is not None:
            return self._lane.eof_received()
        self._ended = True
        return True

    def pause_writing(self) -> None:
        if self._lane is not None:
            self._lane.pause_writing()

    def resume_writing(self) -> None:
        if self._lane is not None:
            self._lane.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._data.clear()
        if self._lane is not None:
            self._lane.connection_lost(exc)
