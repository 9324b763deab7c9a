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
#: Seconds between two looks whether a reader still may read, besides the one before each update; and between two that the
#: database answers, where another node may have written.
LOOK, ASK = 0.5, 2.0
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
    said = asked = loop.time()
    while not reader.lost:
        update: Update | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(LOOK, HEARTBEAT)):
                update = await reader.queue.get()
        if reader.lost:
            break
        now = loop.time()
        if now - asked >= ASK:
            asked = now
            await _ask(call, reader)
        if not await _still_may(call, reader):
            break
        if update is not None and reader.sees(update):
            await _write(response, f"id: {updates.id_of(update)}\nevent: {update.kind}\ndata: {update.data}\n\n")
            said = now
        elif now - said >= HEARTBEAT:
            await _write(response, ": alive\n\n")
            said = now


async def _ask(call: Call, reader: Reader) -> None:
    """Another node may have changed what the reader may: then nothing that is known here counts any more."""
    services = call.services
    try:
        async with services.db.read() as tx:
            await services.accounts.confirm(tx, call.request[TOKEN], reader.actor)
    except DatabaseUnavailable:
        pass
    except ControlError:
        services.accounts.forget()


async def _still_may(call: Call, reader: Reader) -> bool:
    """False for one who logged out, or was disabled, or whose time is over. With another role it sees what that one sees."""
    try:
        reader.actor = await call.services.accounts.authenticate(call.request[TOKEN])
        reader.actor.require(Permission.STREAMS)
    except DatabaseUnavailable:
        return True  # asked once more with the next
    except ControlError:
        return False
    return True


async def _write(response: web.StreamResponse, text: str) -> None:
    async with asyncio.timeout(SLOW):
        await response.write(text.encode())
