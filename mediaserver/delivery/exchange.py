"""What one request gets on the HTTP port: leave to ask, an answer, or a wait for media that is promised."""

import asyncio
import enum
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Final

from mediaserver.delivery.grants import RefusalError
from mediaserver.delivery.growth import Growth
from mediaserver.delivery.prepared import Prepared
from mediaserver.delivery.request import MediaRequest, Method, RequestError
from mediaserver.delivery.response import LATE, Response, no_request, refusal, render, respond
from mediaserver.delivery.sendfile import LEAST
from mediaserver.packaging.answer import Gone, Growing, Missing, Ready, Signal, TooFar, Wait
from mediaserver.packaging.lease import NEVER, Lease

if TYPE_CHECKING:
    from mediaserver.delivery.web import Web

log = logging.getLogger(__name__)


class Phase(enum.Enum):
    """READING: between two requests, or within a head. WAITING: for the authorizer, or for media that is promised.
    GROWING: sending a segment that is still being made. CLOSED: nothing that still arrives counts."""

    READING = "reading"
    WAITING = "waiting"
    GROWING = "growing"
    CLOSED = "closed"


_READING: Final = Phase.READING


class Exchange(asyncio.Protocol):
    """The answering half of a connection: one request at a time. Its deadlines are the reading half's to apply."""

    __slots__ = (
        "_asker", "_deadline", "_growth", "_head_due", "_late", "_listed", "_listed_at", "_listed_by", "_may_until", "_paused",
        "_peer", "_phase", "_prepared", "_session", "_signal", "_since", "_task", "_transport", "_web",
    )  # fmt: skip

    _transport: asyncio.Transport

    def __init__(self, web: "Web") -> None:
        self._web = web
        self._phase = _READING
        # Since when the peer is waited for, and whether for the rest of a head.
        self._since = web.now
        self._head_due = True
        self._paused = False
        self._peer = ""
        # Whom the authorizer said yes to last, and until when that holds.
        self._asker: tuple[str, str, str] | None = None
        self._may_until = 0.0
        self._task: asyncio.Task[None] | None = None
        # The request that waits or grows, what it waits for, and until when.
        self._prepared: Prepared | None = None
        self._signal: Signal | None = None
        self._deadline = 0.0
        self._late: Callable[[], Ready] | None = None
        self._growth: Growth | None = None
        # The session token of the request that is being answered, where that is not a part of what it asks for.
        self._session = ""
        # The last playlist or manifest that was asked for, when and with which token: who asks for such is a viewer.
        self._listed: MediaRequest | None = None
        self._listed_at = 0.0
        self._listed_by = ""

    def _go_on(self) -> None:
        """The request is answered: read the next one. The reading half's business."""
        raise NotImplementedError

    def _leave(self) -> None:
        """The connection is not the fast lane's any more. Likewise."""
        raise NotImplementedError

    # -- leave to play ------------------------------------------------------------------------------------------------

    @property
    def _address(self) -> str:
        """The peer's address; asked of the system once, and only if somebody wants to know."""
        if not self._peer:
            peer = self._transport.get_extra_info("peername")
            self._peer = peer[0] if peer else "local"
        return self._peer

    def _may_play(self, prepared: Prepared) -> bool:
        web = self._web
        if self._asker != prepared.asker or web.now >= self._may_until:
            # A proxy's connection serves many.
            self._note_viewer()
            self._asker = prepared.asker
            self._may_until = web.may_until(prepared.request, self._address)
        return web.now < self._may_until

    def _inquire(self, question: Coroutine[None, None, None]) -> None:
        self._phase = Phase.WAITING
        self._since = self._web.now
        self._task = self._web.spawn(question)

    async def _ask(self, prepared: Prepared) -> None:
        refused: Response | None = None
        try:
            self._may_until = await self._web.ask(prepared.request, self._address)
        except RefusalError as no:
            refused = no.response
        except Exception:  # noqa: BLE001 - it is logged
            self._fail(prepared)
            return
        self._answered(prepared, refused)

    async def _play(self, prepared: Prepared) -> None:
        """Become a player's connection, for good; or say why not."""
        try:
            refused = await self._web.play(prepared.request, self._transport, self._address)
        except RefusalError as no:
            refused = no.response
        except Exception:  # noqa: BLE001 - it is logged
            self._fail(prepared)
            return
        if refused is not None:
            self._answered(prepared, refused)
        else:
            self._task = None
            self._phase = Phase.CLOSED
            self._leave()

    def _answered(self, prepared: Prepared, refused: Response | None) -> None:
        """The authorizer has spoken."""
        self._task = None
        if self._phase is Phase.CLOSED:
            return
        self._phase = _READING
        if refused is not None:
            self._finish(prepared, refused)
        else:
            self._serve(prepared)
        self._go_on()

    def _fail(self, prepared: Prepared) -> None:
        """Whoever was asked broke down: called while that exception is handled."""
        log.exception("request_failed", extra={"facts": {"address": self._address, "name": prepared.name}})
        if self._transport.get_protocol() is not self:
            # Half a player: there is no answer left to give.
            self._task = None
            self._phase = Phase.CLOSED
            self._leave()
            self._transport.abort()
        else:
            self._break_off(prepared.request, 500, "the server could not decide whether this may be played")

    def _give_up(self) -> None:
        """Whoever was asked does not even say that it takes too long."""
        if self._task is not None:
            self._task.cancel()
        self._web.counters.timeouts += 1
        self._break_off(None, 503, "nobody could say in time whether this may be played")

    def _break_off(self, request: MediaRequest | None, status: int, reason: str) -> None:
        """Say why there is no answer, and close."""
        web = self._web
        self._task = None
        if self._phase is Phase.CLOSED:
            return
        web.counters.requests["refused"] += 1
        response = refusal(request, status, reason, web.cors)
        self._send(render(response, web.date, keep_alive=False) + bytes(response.body))
        self._close()

    def _note_viewer(self) -> None:
        listed, self._listed = self._listed, None
        if listed is not None:
            self._web.note_viewer(listed, self._listed_by, self._address, self._listed_at)

    # -- answering ----------------------------------------------------------------------------------------------------

    def _note(self, prepared: Prepared) -> None:
        """Who asks for a playlist or a manifest is a viewer."""
        if prepared.wire is not None:
            session = self._session or prepared.session
            if session != self._listed_by:
                # So does a CDN's.
                self._note_viewer()
                self._listed_by = session
            self._listed, self._listed_at = prepared.request, self._web.now

    def _repeat(self, prepared: Prepared) -> None:
        """Answer a request that is allowed as it was answered last: nobody need be asked while its lease holds."""
        self._note(prepared)
        self._write(prepared)

    def _serve(self, prepared: Prepared) -> None:
        """Answer a request that is allowed."""
        web = self._web
        self._note(prepared)
        answer = web.resolve(prepared.name, prepared.resource, prepared.query, web.clock())
        match answer:
            case Ready():
                self._give(prepared, answer, web.lease(prepared.name, prepared.resource))
            case Wait():
                self._wait(web.prepared.keep(prepared), answer)
            case Growing():
                self._grow(prepared, answer)
            case Gone() | TooFar() | Missing():
                self._finish(prepared, respond(prepared.request, answer, web.cors))

    def _give(self, prepared: Prepared, ready: Ready, lease: Lease) -> None:
        """Answer with ``ready``; so is whoever asks the same while ``lease`` holds."""
        web = self._web
        # What was rendered for others who asked the same serves here too: one render, one write each.
        prepared = web.prepared.keep(prepared)
        if ready is not prepared.ready:
            prepared.fill(ready, web.date, web.cors)
        prepared.lease = lease
        self._write(prepared)

    def _write(self, prepared: Prepared) -> None:
        web = self._web
        body = prepared.body
        if not body:
            self._transport.write(prepared.payload)
        elif (
            not isinstance(body, bytes)
            or len(body) < LEAST
            or not web.bodies.send(self._transport, prepared.payload, body, web.now)
        ):
            self._transport.writelines((prepared.payload, body))
        counters = web.counters
        counters.requests[prepared.kind] += 1
        counters.bytes_out += prepared.size
        self._head_due = False
        self._since = web.now
        if not prepared.request.keep_alive:
            self._close()

    def _finish(self, prepared: Prepared, response: Response) -> None:
        """Write an answer that nobody needs to remember."""
        web, request = self._web, prepared.request
        kind = "missing" if response.status == 404 else "refused" if response.status >= 400 else prepared.kind
        web.counters.requests[kind] += 1
        self._send(render(response, web.date, keep_alive=request.keep_alive) + bytes(response.body))
        self._head_due = False
        self._since = web.now
        if not request.keep_alive:
            self._close()

    def _refuse(self, error: RequestError, head: bytes) -> None:
        """Say what is wrong with ``head``, which is no request, and close."""
        web = self._web
        web.counters.requests["malformed"] += 1
        log.debug("malformed_request", extra={"facts": {"address": self._address, "reason": error.reason}})
        response = no_request(head, error.status, error.reason, web.cors, web.explain)
        self._send(render(response, web.date, keep_alive=False) + bytes(response.body))
        self._turn_away()

    def _turn_away(self) -> None:
        """Close behind a refusal. Not at once where more of what was refused may come: for that the system would reset the
        connection, and the answer may be lost with it (RFC 9112, 9.6)."""
        if self._transport.can_write_eof():
            self._phase = Phase.CLOSED
            self._since = self._web.now
            self._transport.write_eof()
            self._transport.resume_reading()
        else:
            self._close()

    def _send(self, data: bytes) -> None:
        self._web.counters.bytes_out += len(data)
        self._transport.write(data)

    def _close(self) -> None:
        """Close once everything written is taken; ``sweep`` does not wait for that forever."""
        self._phase = Phase.CLOSED
        self._transport.close()

    # -- waiting for media --------------------------------------------------------------------------------------------

    def _wait(self, prepared: Prepared, wait: Wait) -> None:
        self._phase = Phase.WAITING
        if self._prepared is not prepared:
            self._prepared = prepared
            self._deadline = self._web.clock() + wait.timeout
        self._late = wait.late
        self._signal = wait.signal
        wait.signal.add(self._on_signal)

    def _on_signal(self) -> None:
        prepared, self._signal = self._prepared, None
        if prepared is None:
            return
        self._phase = _READING
        self._serve(prepared)
        if self._signal is None:
            self._prepared = None
            self._go_on()

    def _grow(self, prepared: Prepared, growing: Growing) -> None:
        web, request = self._web, prepared.request
        head = render(respond(request, growing, web.cors), web.date, keep_alive=request.keep_alive, chunked=request.chunked)
        web.counters.requests[prepared.kind] += 1
        self._send(head)
        if request.method is Method.HEAD:
            self._grown(prepared)
            return
        self._phase = Phase.GROWING
        self._prepared, self._growth = prepared, Growth(growing, chunked=request.chunked)
        self._deadline = web.clock() + growing.timeout
        self._pump()

    def _pump(self) -> None:
        """Send what has grown since; then wait for more."""
        prepared, growth = self._prepared, self._growth
        self._signal = None
        if prepared is None or growth is None or self._paused:
            # A player that does not keep up is fed again when it has room.
            return
        growing = growth.growing
        pieces, complete = growth.read()
        if pieces:
            self._deadline = self._web.clock() + growing.timeout
            self._web.counters.bytes_out += sum(map(len, pieces))
            self._transport.writelines(pieces)
        if complete:
            self._grown(prepared)
        elif not self._paused:
            self._signal = growing.signal
            growing.signal.add(self._pump)

    def _grown(self, prepared: Prepared) -> None:
        self._prepared = self._growth = None
        self._phase = _READING
        self._head_due = False
        self._since = self._web.now
        if not prepared.request.keep_alive:
            self._close()
        else:
            self._go_on()

    def _unhook(self) -> None:
        signal, self._signal = self._signal, None
        if signal is not None:
            signal.discard(self._pump if self._growth is not None else self._on_signal)
        self._prepared = self._growth = None

    def _answer_late(self, prepared: Prepared) -> None:
        """What was promised did not come: say what there is, or that it did not (RFC 8216bis, 6.2.5.2)."""
        self._phase = _READING
        if self._late is not None:
            # No answer to the next one who asks: he waits as well.
            self._give(prepared, self._late(), NEVER)
        else:
            self._finish(prepared, refusal(prepared.request, 503, LATE, self._web.cors))
        self._go_on()
