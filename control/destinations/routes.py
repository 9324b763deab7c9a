"""``/api/destinations``."""

from collections.abc import Mapping

from control import audit
from control.auth.models import hold_user
from control.db import Row
from control.destinations import models
from control.destinations.platforms import is_elsewhere, moved_address
from control.destinations.schemas import (
    Destination,
    DestinationCreateAnywhere,
    DestinationDone,
    Destinations,
    DestinationUpdate,
)
from control.destinations.sealed import read_address, sealed_address
from control.errors import ErrorCode, invalid, not_found
from control.guard import check_literal
from control.permissions import Permission
from control.rest import Call, Domain
from control.schema import Message, Page, changes
from control.streams import models as stream_rows
from control.streams import service
from control.streams.room import keep_within

destinations = Domain("Destinations")

_MISSING = (ErrorCode.NOT_FOUND,)


async def _found(call: Call, *, hold: bool = False) -> Row:
    number = call.id("destination_id", "Destination", "destination")
    row = await (models.hold_destination if hold else models.destination_by_id)(call.tx, number)
    if row is None or not call.actor.owns(row["user_id"], Permission.STREAMS_ALL):
        raise not_found("Destination", destination_id=number)
    return row


def _shown(call: Call, row: Row) -> dict[str, object]:
    state, reason = call.services.on_air.relay_of_any(row["id"])
    return {
        "id": row["id"],
        "name": row["name"],
        "platform": row["platform"],
        "rtmp_url": service.shown_address(call.services.cipher, row, own=True),
        "enabled": bool(row["enabled"]),
        "stream_id": row["stream_id"],
        "rendition": row["rendition"],
        "status": state,
        "reason": reason,
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }


@destinations.get("/destinations", permission=Permission.DESTINATIONS, query=Page, answer=Destinations)
async def list_destinations(call: Call, query: Page) -> Destinations:
    """List your destinations"""
    rows = await models.list_destinations(call.tx, call.actor.user_id, query.per_page, query.offset)
    total = await models.count_destinations(call.tx, call.actor.user_id)
    listed = [Destination.model_validate(_shown(call, row)) for row in rows]
    return Destinations(destinations=listed, total=total, page=query.page, per_page=query.per_page)


@destinations.get("/destinations/{destination_id}", permission=Permission.DESTINATIONS, answer=Destination, errors=_MISSING)
async def show_destination(call: Call) -> Destination:
    """Show a destination"""
    return Destination.model_validate(_shown(call, await _found(call)))


@destinations.post(
    "/destinations",
    permission=Permission.DESTINATIONS,
    body=DestinationCreateAnywhere,
    answer=DestinationDone,
    status=201,
    transaction=False,
    errors=(ErrorCode.STREAM_NOT_FOUND, ErrorCode.CONFLICT),
)
async def create_destination(call: Call, body: DestinationCreateAnywhere) -> DestinationDone:
    """Create a destination, of one stream or of all of yours: what is on air goes there at once"""
    return await _done(call, await call.write(lambda: _create(call, body)), "created")


async def _done(call: Call, row: Row, what: str) -> DestinationDone:
    """The answer once what is on air follows: it says what then is so."""
    await call.services.conductor.follow_destination(row)
    return DestinationDone.model_validate({**_shown(call, row), "message": f"Destination {what} successfully"})


async def _create(call: Call, body: DestinationCreateAnywhere) -> Row:
    owner = call.actor.user_id
    await check_literal(call.services.webhooks.resolve, {"rtmp_url": body.address})
    if body.stream_id is None:
        await hold_user(call.tx, owner)
    else:
        stream = await stream_rows.hold_stream(call.tx, body.stream_id)
        if stream is None or not call.actor.owns(stream["user_id"], Permission.STREAMS_ALL):
            raise not_found("Stream", stream_id=body.stream_id)
        owner = stream["user_id"]
    fields = {
        "user_id": owner,
        "stream_id": body.stream_id,
        "name": body.name,
        "platform": body.platform,
        "rtmp_url": sealed_address(call.services.cipher, body.address, keyed=bool(body.stream_key)),
        "stream_key": call.services.cipher.seal(service.STREAM_KEY, body.stream_key),
        "rendition": body.rendition,
        "enabled": int(body.enabled),
        "created_at": call.now,
        "updated_at": call.now,
    }
    number = await models.insert_destination(call.tx, fields)
    await keep_within(call, owner)
    await audit.record(call, audit.Action.DESTINATION_CREATED, "destination", number)
    return {"id": number, **fields}


def _kept_key(call: Call, row: Row) -> str | None:
    """None for one that cannot be read now, and may be under the secret that it was written under."""
    return call.services.cipher.read(service.STREAM_KEY, row["stream_key"]) if row["stream_key"] else ""


def _keep_secret(call: Call, before: Row, fields: Mapping[str, object]) -> None:
    """Whoever may aim at a server of his own could read there what no answer tells. Raises ControlError (422)."""
    if "stream_key" in fields or not is_elsewhere(before["rtmp_url"], str(fields.get("rtmp_url", before["rtmp_url"]))):
        return
    if _kept_key(call, before) != "":
        raise invalid(stream_key="is required: the one that is kept is not sent to another server")


@destinations.put(
    "/destinations/{destination_id}",
    permission=Permission.DESTINATIONS,
    body=DestinationUpdate,
    answer=DestinationDone,
    transaction=False,
    errors=_MISSING,
)
async def update_destination(call: Call, body: DestinationUpdate) -> DestinationDone:
    """Change a destination: what is on air follows at once. With another platform comes its address, unless yours is your own

    The stream key that is kept is sent to the server that it was given for and to no other: with another host, port or scheme
    (not with another path) a `stream_key` must come too, be it an empty one.
    """
    return await _done(call, await call.write(lambda: _update(call, body)), "updated")


async def _update(call: Call, body: DestinationUpdate) -> Row:
    cipher, kept = call.services.cipher, await _found(call, hold=True)
    # One that cannot be read is none: whatever is set now is somewhere else.
    before = {**kept, "rtmp_url": read_address(cipher, kept) or ""}
    fields = changes(body)
    if moved := moved_address(before, fields):
        fields["rtmp_url"] = moved
    if "rtmp_url" in fields:
        await check_literal(call.services.webhooks.resolve, {"rtmp_url": fields["rtmp_url"]})
    _keep_secret(call, before, fields)
    if "enabled" in fields:
        fields["enabled"] = int(fields["enabled"])
    sent = sorted(fields)
    if address := fields.get("rtmp_url", before["rtmp_url"] if fields else ""):
        fields["rtmp_url"] = sealed_address(cipher, address, keyed=fields.get("stream_key", _kept_key(call, kept)) != "")
    if "stream_key" in fields:
        fields["stream_key"] = cipher.seal(service.STREAM_KEY, fields["stream_key"])
    if fields:
        await models.update_destination(call.tx, before["id"], fields, call.now)
    await audit.record(call, audit.Action.DESTINATION_UPDATED, "destination", before["id"], fields=sent)
    return {**kept, **fields, "updated_at": call.now if fields else kept["updated_at"]}


@destinations.delete("/destinations/{destination_id}", permission=Permission.DESTINATIONS, answer=Message, errors=_MISSING)
async def delete_destination(call: Call) -> Message:
    """Delete a destination: what is on air goes there no more"""
    row = await _found(call)
    await models.delete_destination(call.tx, row["id"])
    await audit.record(call, audit.Action.DESTINATION_DELETED, "destination", row["id"])
    call.after(lambda: call.services.conductor.follow_destination(row))
    return Message(message="Destination deleted successfully")
