"""A connection that aiohttp has: everything is passed on to it; what it does not look after itself is looked after here."""

import asyncio
from typing import TYPE_CHECKING

from mediaserver.hub.stall import Stall, untaken

if TYPE_CHECKING:
    from mediaserver.delivery.web import Web


class HandedConnection(asyncio.Protocol):
    """Stands between the transport and aiohttp's protocol, which knows no deadline for a peer that does not read."""

    __slots__ = ("_lane", "_stall", "_web", "transport")

    def __init__(self, web: "Web", transport: asyncio.Transport, lane: asyncio.Protocol) -> None:
        self._web = web
        self._lane = lane
        self._stall = Stall()
        self.transport = transport

    def start(self, data: bytes) -> None:
        """Take the connection over, with the bytes of it that nobody has answered."""
        self.transport.set_protocol(self)
        self._lane.connection_made(self.transport)
        self._lane.data_received(data)

    def data_received(self, data: bytes) -> None:
        self._lane.data_received(data)

    def eof_received(self) -> bool | None:
        return self._lane.eof_received()

    def pause_writing(self) -> None:
        self._lane.pause_writing()

    def resume_writing(self) -> None:
        self._lane.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._web.forget_handed(self.transport)
        self._lane.connection_lost(exc)

    def sweep(self, now: float) -> None:
        """Cut off a peer that does not read."""
        if self._stall.lasts(untaken(self.transport), now, self._web.config.send_timeout):
            self._web.counters.timeouts += 1
            self.transport.abort()

    def close(self) -> None:
        """The server stops. What aiohttp is answering now its runner waits for; an idle one would only outlast its keep-alive."""
        if not self.transport.get_write_buffer_size():
            self.transport.close()
