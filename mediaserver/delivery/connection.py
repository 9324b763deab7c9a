"""One connection to the HTTP port: the fast lane, which answers requests for media itself and hands all others over."""

import asyncio
from typing import TYPE_CHECKING, Final, cast

from mediaserver.delivery.exchange import Exchange, Phase
from mediaserver.delivery.prepared import Prepared
from mediaserver.delivery.request import MAX_HEAD, Method, RequestError, looks_like_http, read_head, without_session
from mediaserver.delivery.response import TOO_SLOW, preflight, respond
from mediaserver.hub.stall import Stall, untaken
from mediaserver.packaging.answer import Missing

if TYPE_CHECKING:
    from mediaserver.delivery.web import Web

#: Requests of one connection that are answered before others get their turn.
MAX_PIPELINED: Final = 32
#: Seconds for which the rest of what was refused is read, and forgotten.
LINGER: Final = 2.0
_READING: Final = Phase.READING


class Connection(Exchange):
    """The reading half: heads, deadlines, and handing over. All deadlines are applied by ``sweep``: no timer belongs to a
    connection."""

    __slots__ = ("_buffer", "_held", "_stall")

    def __init__(self, web: "Web") -> None:
        super().__init__(web)
        self._buffer = b""
        self._held = False
        self._stall = Stall()

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if not self._web.admit(self):
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        web = self._web
        if self._phase is _READING and not self._buffer and not self._paused:
            # The hot path: one whole request that came before, byte for byte, from somebody who may play.
            prepared = web.prepared.get(data)
            if prepared is not None and self._asker == prepared.asker and web.now < self._may_until:
                self._session = ""
                if prepared.lease.holds:
                    self._repeat(prepared)
                else:
                    self._serve(prepared)
                return
        self._buffer = self._buffer + data if self._buffer else data
        self._go_on()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._phase is Phase.GROWING:
            self._pump()
        else:
            self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why it went is nobody's business here
        self._phase = Phase.CLOSED
        self._buffer = b""
        self._note_viewer()
        self._unhook()
        if self._task is not None:
            self._task.cancel()
        self._leave()

    def _leave(self) -> None:
        self._web.forget(self)

    # -- reading ------------------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Read what the buffer holds; hold back a peer that sends more than is being answered."""
        if self._buffer and self._phase is _READING and not self._paused:
            self._read_requests()
        if self._phase is _READING and self._web.stopping:
            self._close()
        if self._phase is Phase.CLOSED:
            self._buffer = b""
            return
        held = len(self._buffer) > MAX_HEAD
        if held is not self._held:
            self._held = held
            if held:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _read_requests(self) -> None:
        data, at = self._buffer, 0
        self._buffer = b""
        for _ in range(MAX_PIPELINED):
            while data.startswith(b"\r\n", at):
                # RFC 9112, 2.2: empty lines before a request line are ignored.
                at += 2
            end = data.find(b"\r\n\r\n", at, at + MAX_HEAD) + 4
            if end < 4:
                self._wait_for_head(data[at:])
                return
            try:
                if not self._take(data[at:end]):
                    self._hand_over(data[at:])
                    return
            except RequestError as error:
                self._refuse(error, data[at:end])
                return
            at = end
            if at == len(data) or self._phase is not _READING or self._paused:
                break
        else:
            self._web.loop.call_soon(self._go_on)
        self._buffer = data[at:]

    def _wait_for_head(self, data: bytes) -> None:
        if len(data) >= MAX_HEAD:
            self._refuse(RequestError(431, "request head too large"), data)
        elif data and not looks_like_http(data):
            self._refuse(RequestError(400, "this is not HTTP"), data)
        elif data:
            if not self._head_due:
                # The deadline of a head runs from its first byte.
                self._head_due = True
                self._since = self._web.now
            self._buffer = data

    def _take(self, head: bytes) -> bool:
        """Answer the request ``head``, or begin to. False: it is for the other lane."""
        web = self._web
        self._session = ""
        prepared = web.prepared.get(head)
        if prepared is None:
            head, self._session = without_session(head)
            prepared = web.prepared.get(head)
        if prepared is None:
            request = read_head(head)
            if request is None:
                return False
            prepared = Prepared(request, head)
        request = prepared.request
        if request.method is Method.OPTIONS:
            self._finish(prepared, preflight(request, web.cors))
        elif not web.exists(request):
            # Before anybody is asked: a name that does not exist leaves no state.
            self._finish(prepared, respond(request, Missing(), web.cors))
        elif request.place.is_flv:
            self._inquire(self._play(prepared))
        elif self._may_play(prepared):
            self._serve(prepared)
        else:
            self._inquire(self._ask(prepared))
        return True

    def _hand_over(self, data: bytes) -> None:
        """Give the connection to aiohttp for good, with everything of it that was not answered."""
        self._phase = Phase.CLOSED
        self._note_viewer()
        self._leave()
        self._web.hand_over(self._transport, data)

    # -- deadlines ----------------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Apply the deadlines, and say who watches; called about once a second."""
        self._note_viewer()
        waiting = untaken(self._transport)
        if self._stall.lasts(waiting, now, self._web.config.send_timeout):
            self._cut()
        elif waiting:
            # Idleness begins when the answer is taken, not when it is written.
            self._since = now
        else:
            self._sweep_reading(now)

    def _sweep_reading(self, now: float) -> None:
        config = self._web.config
        if self._phase is Phase.CLOSED:
            if now - self._since >= LINGER:
                self._transport.abort()
        elif self._phase is _READING:
            if now - self._since >= (config.header_timeout if self._head_due else config.keepalive_timeout):
                self._time_out()
        elif self._task is not None:
            if now - self._since >= config.header_timeout:
                self._give_up()
        elif self._prepared is not None and now >= self._deadline:
            prepared, waited = self._prepared, self._phase is Phase.WAITING
            self._unhook()
            if waited:
                self._answer_late(prepared)
            else:
                self._cut()

    def _time_out(self) -> None:
        self._web.counters.timeouts += 1
        if self._buffer:
            self._refuse(RequestError(408, TOO_SLOW), self._buffer)
        else:
            self._close()

    def _cut(self) -> None:
        self._web.counters.timeouts += 1
        self._transport.abort()

    def close(self) -> None:
        """The server stops: close now if nothing is being answered, else after that answer."""
        if self._phase is _READING or self._phase is Phase.CLOSED:
            self._close()
