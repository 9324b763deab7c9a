"""``/api/events``: server-sent events (WHATWG HTML, 9.2)."""

import asyncio
import contextlib
import logging
from typing import Annotated

from aiohttp import web
from pydantic import StringConstraints

from control.asked import KEY_MARK, TOKEN
from control.db import DatabaseUnavailable
from control.errors import ControlError, ErrorCode
from control.live.service import LiveUpdates, Reader, Update
from control.permissions import Permission
from control.rest import Call, Domain
from control.schema import Taken

log = logging.getLogger(__name__)

live = Domain("Live updates")

#: Seconds without an update after which a comment shows that the connection lives.
HEARTBEAT = 15.0
#: Seconds between two looks whether a reader still may read, besides the one before each update; between two that a database
#: answers in which another node may have written; and until one that does not answer is asked again.
LOOK, ASK, AWAY = 0.5, 2.0, 15.0
#: Seconds that a reader may take nothing.
SLOW = 10.0
#: Milliseconds after which a browser comes back.
RETRY = 2000


class EventsQuery(Taken):
    """For EventSource, which sends no headers: an access token (no API key), and where to go on after a reload."""

    token: Annotated[str, StringConstraints(max_length=4096)] = ""
    last_event_id: Annotated[str, StringConstraints(max_length=64)] = ""


@live.get(
    "/events",
    permission=None,
    query=EventsQuery,
    answer="text/event-stream",
    transaction=False,
    token_in_query=True,
    errors=(ErrorCode.UNAUTHORIZED, ErrorCode.FORBIDDEN),
)
async def follow_events(call: Call, query: EventsQuery) -> web.StreamResponse:
    """Live updates of your streams as server-sent events

    ``stream.started``, ``stream.stopped``, ``stream.status``, ``input.changed``, ``transcode.changed``, ``relay.changed``,
    ``recording.finished`` and ``viewers``, each with JSON. After a pause ``Last-Event-ID`` brings what was missed; ``missed``
    says that it is too late for that.
    """
    if query.token.startswith(f"{KEY_MARK}_"):
        # Addresses end up in logs and histories: what is good for ever does not belong there.
        raise ControlError(ErrorCode.FORBIDDEN, "An API key goes into a header, never into an address")
    call.actor.require(Permission.STREAMS)
    updates, last = call.services.live, call.request.headers.get("Last-Event-ID", "")[:64] or query.last_event_id
    with updates.read(call.actor, last, lambda: call.request.transport is None) as reader:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        await response.prepare(call.request)
        if call.request.method == "HEAD":
            return response
        try:
            await _write(response, f"retry: {RETRY}\n\n" + ("event: missed\ndata: {}\n\n" if reader.missed else ""))
            await _pump(call, response, updates, reader)
            async with asyncio.timeout(SLOW):
                await response.write_eof()
        except (TimeoutError, ConnectionError):
            # Its buffers are full, or it is gone: nothing more can be said to it.
            _cut_off(call)
        except Exception:  # a page about it would stand in the middle of the updates
            log.exception("updates_failed", extra={"facts": {"request_id": call.request_id}})
            _cut_off(call)
    return response


def _cut_off(call: Call) -> None:
    if call.request.transport is not None:
        call.request.transport.abort()


async def _pump(call: Call, response: web.StreamResponse, updates: LiveUpdates, reader: Reader) -> None:
    loop = asyncio.get_running_loop()
    said = loop.time()
    standing = _Standing(call, reader)
    while not reader.lost:
        update: Update | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK):
                update = await reader.queue.get()
        if reader.lost or not await standing.holds():
            break
        now = loop.time()
        if update is not None and reader.sees(update):
            await _write(response, f"id: {updates.id_of(update)}\nevent: {update.kind}\ndata: {update.data}\n\n")
            said = now
        elif now - said >= HEARTBEAT:
            await _write(response, ": alive\n\n")
            said = now


class _Standing:
    """Whether a reader still may read. With another role it sees what that one sees."""

    def __init__(self, call: Call, reader: Reader) -> None:
        self._services = call.services
        self._token = call.request[TOKEN]
        self._reader = reader
        self._time = asyncio.get_running_loop().time
        self._asked = self._time()
        self._trusted = float("-inf")
        self._changes = 0

    async def holds(self) -> bool:
        """False for one who logged out, or was disabled, or whose time is over."""
        accounts = self._services.accounts
        changes = accounts.changes
        if self._time() < self._trusted and changes == self._changes:
            return True
        try:
            await self._look()
            if self._services.db.shared and self._time() - self._asked >= ASK:
                self._asked = self._time()
                await self._ask()
        except DatabaseUnavailable:
            # Many readers would keep it from coming back. Until then what is known counts, unless somebody's rights change.
            self._trusted, self._changes = self._time() + AWAY, changes
        except ControlError:
            return False
        return True

    async def _look(self) -> None:
        self._reader.actor = await self._services.accounts.authenticate(self._token)
        self._reader.actor.require(Permission.STREAMS)

    async def _ask(self) -> None:
        """Another node may have changed what the reader may: then nothing that is known here of it counts any more."""
        try:
            async with self._services.db.read() as tx:
                await self._services.accounts.confirm(tx, self._token, self._reader.actor)
        except ControlError:
            self._services.accounts.doubt(self._token)
            await self._look()


async def _write(response: web.StreamResponse, text: str) -> None:
    async with asyncio.timeout(SLOW):
        await response.write(text.encode())
