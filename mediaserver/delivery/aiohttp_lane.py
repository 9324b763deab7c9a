"""Media for connections that aiohttp has: the same questions and the same answers as in the fast lane."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from mediaserver.delivery.grants import RefusalError
from mediaserver.delivery.next_head import HEARD, NextHead
from mediaserver.delivery.prepared import kind_of
from mediaserver.delivery.request import MediaRequest, Method, RequestError, media_request
from mediaserver.delivery.response import LATE, SERVER, TOO_SLOW, Response, no_request, preflight, refusal, render, respond
from mediaserver.delivery.web import Web
from mediaserver.packaging.answer import Growing, Missing, Signal, Wait

_AUTHORITY: Final = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


class Lane(web.RequestHandler):
    """aiohttp's protocol. What it refuses by itself, since it is no HTTP, says no more about the server than our answers do.
    It knows no deadline for a head: that is here."""

    __slots__ = ("_fast", "_fresh", "_head_due", "_heard", "_next")

    def __init__(self, server: web.Server, fast: Web, **options: Any) -> None:
        super().__init__(server, **options)
        self._fast = fast
        self._heard = b""
        self._next = NextHead()
        self._fresh = False
        self._head_due: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        if self._fresh:
            self._fresh, self._heard = False, self._next.text
        # A head may come in pieces, and a body behind it may look like another.
        self._heard += data[: HEARD - len(self._heard)]
        known = self._request_count
        super().data_received(data)
        came = self._request_count > known
        self._next.feed(data, self._messages[-1] if came else None)
        if came:
            self._head_came()
        elif self._waiter is not None and not self._waiter.done():
            self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        """The deadline of a head runs from its first byte, or from the last answer if that was later; until then that of an
        idle connection does."""
        if self._next.text and self._head_due is None and self.transport is not None:
            self.keep_alive(True)
            self._head_due = self._loop.call_later(self._fast.config.header_timeout, self._time_out)

    def _head_came(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _process_keepalive(self) -> None:
        if self._head_due is None:
            super()._process_keepalive()
        else:
            self._keepalive_handle = None

    def _time_out(self) -> None:
        fast = self._fast
        fast.counters.timeouts += 1
        fast.counters.requests["malformed"] += 1
        response = no_request(self._next.text, 408, TOO_SLOW, fast.cors, fast.explain)
        if self.transport is not None:
            self.transport.write(render(response, fast.date, keep_alive=False) + bytes(response.body))
        self.force_close()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        # What comes from now on is the next one's.
        self._fresh = True
        known = self._request_count
        finished = await super().finish_response(request, resp, start_time)
        if self._request_count > known:
            # What came behind an upgrade that was declined is read by now.
            self._next.feed(b"", self._messages[-1])
        if finished[0].keep_alive and not self._messages:
            self._expect_head()
        return finished

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        response = super().handle_error(request, status, exc, message)
        explain = self._fast.explain
        if isinstance(exc, HttpProcessingError) and (told := explain(self._heard, response.status, "malformed request")):
            headers, body = told
            response = web.Response(status=response.status, headers=dict(headers), body=body)
            response.force_close()
        response.headers["Server"] = SERVER
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def lane(runner: web.AppRunner, fast: Web) -> Callable[[], asyncio.Protocol]:
    """What makes the protocol of a connection to ``fast`` that is the business of ``runner``, which is set up."""
    loop, server = asyncio.get_running_loop(), cast(web.Server, runner.server)
    # None is what aiohttp documents for no access log, and does not declare.
    return lambda: Lane(server, fast, loop=loop, keepalive_timeout=fast.config.keepalive_timeout, access_log=None)


def media_handler(fast: Web) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A handler for ``/live/{tail:.*}``, all methods, that answers as ``fast`` does."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            asked = _asked(request)
        except RequestError as error:
            return _plain(refusal(None, error.status, error.reason, fast.cors), close=True)
        if asked is None:
            return _plain(refusal(None, 405, "media is asked for with GET, HEAD or OPTIONS", fast.cors), close=True)
        try:
            return await _answer(fast, request, asked)
        except RefusalError as error:
            return _plain(error.response)

    return handle


def _asked(request: web.Request) -> MediaRequest | None:
    """aiohttp's request in our words; None for a method that media does not know."""
    try:
        method = Method(request.method)
    except ValueError:
        return None
    values: dict[str, str] = {}
    for name, value in request.headers.items():
        key = name.lower()
        values[key] = f"{values[key]}, {value}" if key in values else value
    path, _, query = _AUTHORITY.sub("", request.raw_path, count=1).partition("?")
    version = f"{request.version.major}.{request.version.minor}"
    return media_request(method, version, values, path, query)


async def _answer(fast: Web, request: web.Request, asked: MediaRequest) -> web.StreamResponse:
    peer = request.remote or "local"
    if asked.method is Method.OPTIONS:
        return _count(fast, asked, _plain(preflight(asked, fast.cors)))
    if not fast.exists(asked):
        return _count(fast, asked, _plain(respond(asked, Missing(), fast.cors)))
    target = asked.place
    if target.is_flv:
        return await _play(fast, request, asked, peer)
    if fast.may_until(asked, peer) <= fast.now:
        await fast.ask(asked, peer)
    fast.note_viewer(asked, target.session, peer, fast.now)
    deadline = 0.0
    while True:
        answer = fast.resolve(target.name, target.resource, target.query, fast.clock())
        if isinstance(answer, Growing):
            return await _grow(fast, request, asked, answer)
        if not isinstance(answer, Wait):
            return _count(fast, asked, _plain(respond(asked, answer, fast.cors)))
        deadline = deadline or fast.clock() + answer.timeout
        if not await _fires(answer.signal, deadline - fast.clock()):
            late = answer.late
            said = refusal(asked, 503, LATE, fast.cors) if late is None else respond(asked, late(), fast.cors)
            return _count(fast, asked, _plain(said))


async def _play(fast: Web, request: web.Request, asked: MediaRequest, peer: str) -> web.StreamResponse:
    """Lend the connection to a player. aiohttp gets it back when it is lost, and finds that there is nothing left to do."""
    transport, lane = request.transport, request.protocol
    lost = asyncio.Event()

    def on_lost(exc: Exception | None) -> None:
        lost.set()
        lane.connection_lost(exc)

    if transport is None:
        return web.Response(status=503)
    response = await fast.play(asked, transport, peer, on_lost)
    if response is not None:
        return _count(fast, asked, _plain(response))
    try:
        await lost.wait()
    finally:
        transport.abort()
    return web.Response()


async def _grow(fast: Web, request: web.Request, asked: MediaRequest, growing: Growing) -> web.StreamResponse:
    """Send a segment while it is being made."""
    shown = respond(asked, growing, fast.cors)
    response = web.StreamResponse(status=shown.status, headers={"Server": SERVER, **dict(shown.headers)})
    if asked.chunked:
        response.enable_chunked_encoding()
    await response.prepare(request)
    _count(fast, asked, response)
    sent, complete = 0, asked.method is Method.HEAD
    while not complete:
        data, complete = growing.read(sent)
        sent += len(data)
        if data:
            await response.write(data)
        elif not complete and not await _fires(growing.signal, growing.timeout):
            if request.transport is not None:
                request.transport.abort()
            break
    fast.counters.bytes_out += sent
    return response


async def _fires(signal: Signal, patience: float) -> bool:
    """Wait for ``signal``, for so many seconds."""
    fired = asyncio.Event()
    signal.add(fired.set)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await fired.wait()
    finally:
        signal.discard(fired.set)
    return fired.is_set()


def _plain(response: Response, *, close: bool = False) -> web.Response:
    headers = {"Server": SERVER, **dict(response.headers)}
    if response.length is not None:
        # Said here because it is not the body's for HEAD.
        headers["Content-Length"] = str(response.length)
    shown = web.Response(status=response.status, headers=headers, body=bytes(response.body) or None)
    if close:
        shown.force_close()
    return shown


def _count(fast: Web, asked: MediaRequest, response: web.StreamResponse) -> web.StreamResponse:
    kind = "missing" if response.status == 404 else "refused" if response.status >= 400 else kind_of(asked)
    fast.counters.requests[kind] += 1
    fast.counters.bytes_out += response.content_length or 0
    return response
