"""``/api/streams``."""

import json
from collections.abc import Sequence

from control import audit
from control.auth.models import hold_user
from control.db import Row, Transaction
from control.destinations import models as destination_rows
from control.destinations.schemas import DestinationCreate
from control.destinations.sealed import sealed_address
from control.errors import ControlError, ErrorCode, invalid, not_found
from control.guard import check_literal
from control.permissions import Permission
from control.ratelimit import Limit
from control.rest import Call, Domain
from control.schema import Message, Page, changes
from control.site import site
from control.streams import models, service, shown
from control.streams.conductor import CannotEncode, OwnerDisabled
from control.streams.grants import held_at
from control.streams.kinds import StreamInput, StreamStatus
from control.streams.room import keep_within
from control.streams.schemas import (
    OutputUrl,
    Stream,
    StreamCreate,
    StreamCreated,
    Streams,
    StreamStarted,
    StreamState,
    StreamStopped,
    StreamUpdate,
)
from control.transactions import transact
from control.vault import Unreadable
from mediaserver.errors import Refused

streams = Domain("Streams")

_MISSING = (ErrorCode.STREAM_NOT_FOUND,)


# -- finding ----------------------------------------------------------------------------------------------------------


async def found(call: Call, everybody: Permission, *, hold: bool = False) -> Row:
    """The stream in the path; with ``hold`` nobody else changes it until the call is done.

    Raises ControlError (404) where there is none, or it is none of the asker's business.
    """
    number = call.id("stream_id", "Stream", "stream")
    row = await (models.hold_stream if hold else models.stream_by_id)(call.tx, number)
    if row is None or not (
        call.actor.owns(row["user_id"], everybody) or call.actor.owns(row["user_id"], Permission.STREAMS_VIEW_ALL)
    ):
        raise not_found("Stream", stream_id=number)
    if not call.actor.owns(row["user_id"], everybody):
        raise ControlError(ErrorCode.FORBIDDEN, "Insufficient permissions")
    return row


# -- reading ----------------------------------------------------------------------------------------------------------


@streams.get("/streams", permission=Permission.STREAMS, query=Page, answer=Streams)
async def list_streams(call: Call, query: Page) -> Streams:
    """List streams"""
    user_id = None if call.actor.may(Permission.STREAMS_VIEW_ALL) else call.actor.user_id
    rows, total = await models.page_of_streams(call.tx, user_id, query.per_page, query.offset)
    users = sorted({row["user_id"] for row in rows})
    theirs = await destination_rows.listed_destinations_of(call.tx, [row["id"] for row in rows], users)
    destinations = service.destinations_by_stream(rows, theirs)
    listed = [shown.listed(call, row, destinations[row["id"]]) for row in rows]
    return Streams(streams=listed, total=total, page=query.page, per_page=query.per_page)


@streams.get("/streams/{stream_id}", permission=Permission.STREAMS, answer=Stream, errors=_MISSING)
async def show_stream(call: Call) -> Stream:
    """Show a stream"""
    return await shown.full(call, await found(call, Permission.STREAMS_VIEW_ALL))


@streams.get("/streams/{stream_id}/status", permission=Permission.STREAMS, answer=StreamState, errors=_MISSING)
async def show_status(call: Call) -> StreamState:
    """What a stream is doing, as measured"""
    return shown.state(call, await found(call, Permission.STREAMS_VIEW_ALL))


# -- changing ---------------------------------------------------------------------------------------------------------


@streams.post(
    "/streams", permission=Permission.STREAMS, body=StreamCreate, answer=StreamCreated, status=201, errors=(ErrorCode.CONFLICT,)
)
async def create_stream(call: Call, body: StreamCreate) -> StreamCreated:
    """Create a stream"""
    if body.destinations:
        call.actor.require(Permission.DESTINATIONS)
    await hold_user(call.tx, call.actor.user_id)
    fields = {
        "user_id": call.actor.user_id,
        "name": body.name,
        **await _source(call, call.actor.user_id, body.input_type, body.input_url, "input_url"),
        "latency_mode": body.latency_mode.value,
        "record_enabled": int(body.record_enabled),
        "auto_start": int(body.auto_start),
        "video_codec": body.video_codec.value,
        "audio_codec": body.audio_codec.value,
        "bitrate_mode": body.bitrate_mode.value,
        # What nobody asked for is not forced.
        "keyframe_interval": body.keyframe_interval if "keyframe_interval" in body.model_fields_set else None,
        "qualities": json.dumps(service.check_qualities(body.qualities)),
        "created_at": call.now,
        "updated_at": call.now,
    }
    number = await models.insert_stream(call.tx, fields)
    await _check_destinations(call, body.destinations)
    for destination in body.destinations:
        await _add_destination(call, number, call.actor.user_id, destination)
    await keep_within(call, call.actor.user_id)
    await audit.record(call, audit.Action.STREAM_CREATED, "stream", number)
    call.after(call.services.conductor.forget)
    return StreamCreated(id=number, name=body.name, status=StreamStatus.STOPPED, message="Stream created successfully")


async def _source(call: Call, owner: int, input_type: StreamInput, input_url: str, faulty: str) -> dict[str, object]:
    """Where it comes from, as columns. Raises ControlError for a key that is somebody else's, and where nothing can come from
    there: the field ``faulty`` is to blame."""
    service.check_source(input_type, input_url, faulty)
    services, key_hash = call.services, None
    key = service.pushed_key(services.config, input_type, input_url, call.request.host)
    if key is not None:
        service.check_key(key)
        service.check_free(services.config, key)
        key_hash = services.vault.look_up("stream key", key)
        if not await models.take_key(call.tx, key_hash, owner):
            raise service.taken()
    elif input_type is not StreamInput.FILE:
        await check_literal(services.webhooks.resolve, {faulty: input_url})
    elif not call.actor.may(Permission.STREAMS_ALL):
        raise ControlError(ErrorCode.FORBIDDEN, "Files of the server are an administrator's")
    return {
        "input_type": input_type.value,
        "input_url": services.cipher.seal(service.INPUT_URL, input_url),
        "key_hash": key_hash,
    }


async def _check_destinations(call: Call, wanted: Sequence[DestinationCreate]) -> None:
    """Raises ControlError (422) for those that lead where the server may not go."""
    urls = {f"destinations.{number}.rtmp_url": each.address for number, each in enumerate(wanted)}
    await check_literal(call.services.webhooks.resolve, urls)


async def _add_destination(call: Call, stream_id: int, owner: int, destination: DestinationCreate) -> None:
    fields = {
        "user_id": owner,
        "stream_id": stream_id,
        "name": destination.name,
        "platform": destination.platform,
        "rtmp_url": sealed_address(call.services.cipher, destination.address, keyed=bool(destination.stream_key)),
        "stream_key": call.services.cipher.seal(service.STREAM_KEY, destination.stream_key),
        "rendition": destination.rendition,
        "enabled": int(destination.enabled),
        "created_at": call.now,
        "updated_at": call.now,
    }
    await destination_rows.insert_destination(call.tx, fields)


@streams.put(
    "/streams/{stream_id}",
    permission=Permission.STREAMS,
    body=StreamUpdate,
    answer=Stream,
    errors=(*_MISSING, ErrorCode.CONFLICT),
)
async def update_stream(call: Call, body: StreamUpdate) -> Stream:
    """Change a stream: its name, recording and destinations at once, all else from its next start on

    While it is on air, `pending` names what has changed and is not in what plays.
    """
    row = await found(call, Permission.STREAMS_ALL, hold=True)
    if body.destinations is not None:
        call.actor.require(Permission.DESTINATIONS)
    fields = await _columns(call, row, changes(body))
    if fields:
        await models.update_stream(call.tx, row["id"], fields, call.now)
        call.services.conductor.note_change(row, fields)
    if row["key_hash"] is not None and fields.get("key_hash", row["key_hash"]) != row["key_hash"]:
        await models.leave_key(call.tx, row["key_hash"])
    if body.destinations is not None:
        await _replace_destinations(call, row, body.destinations)
        await keep_within(call, row["user_id"])
    await audit.record(call, audit.Action.STREAM_UPDATED, "stream", row["id"], fields=sorted(body.model_fields_set))
    call.after(lambda: call.services.conductor.follow([row["id"]]))
    changed = await models.stream_by_id(call.tx, row["id"])
    assert changed is not None  # noqa: S101  found above, in this transaction
    return await shown.full(call, changed)


async def _replace_destinations(call: Call, row: Row, wanted: Sequence[DestinationCreate]) -> None:
    """The stream's own destinations are those that were sent; one that was there already goes on as it is."""
    await _check_destinations(call, wanted)
    present = await destination_rows.destinations_of_stream(call.tx, row["id"])
    new, gone = service.differences(call.services.cipher, present, wanted)
    for destination in new:
        await _add_destination(call, row["id"], row["user_id"], destination)
    for each in gone:
        await destination_rows.delete_destination(call.tx, each["id"])


async def _columns(call: Call, row: Row, wanted: dict[str, object]) -> dict[str, object]:
    """What was sent as columns."""
    wanted.pop("destinations", None)
    kind, url = wanted.pop("input_type", None), wanted.pop("input_url", None)
    chosen = wanted.pop("qualities", None)
    fields = {name: getattr(value, "value", int(value) if isinstance(value, bool) else value) for name, value in wanted.items()}
    if isinstance(chosen, list):
        fields["qualities"] = json.dumps(service.check_qualities(chosen))
    before = StreamInput(row["input_type"]), call.services.cipher.read(service.INPUT_URL, row["input_url"])
    after = kind if isinstance(kind, StreamInput) else before[0], url if isinstance(url, str) else before[1]
    if after != before:
        if call.services.conductor.status(row) is not StreamStatus.STOPPED:
            raise ControlError(
                ErrorCode.STREAM_ALREADY_RUNNING, "The input of a stream that is on air cannot change: stop it first"
            )
        if after[1] is None:
            raise Unreadable
        faulty = "input_type" if url is None else "input_url"
        fields |= {"started": 0, **await _source(call, row["user_id"], after[0], after[1], faulty)}
    return fields


@streams.delete("/streams/{stream_id}", permission=Permission.STREAMS, answer=Message, errors=_MISSING)
async def delete_stream(call: Call) -> Message:
    """Delete a stream; one that is on air ends"""
    row = await found(call, Permission.STREAMS_ALL, hold=True)
    await models.delete_stream(call.tx, row["id"])
    if row["key_hash"] is not None:
        await models.leave_key(call.tx, row["key_hash"])
    await audit.record(call, audit.Action.STREAM_DELETED, "stream", row["id"])
    call.after(lambda: call.services.conductor.stop(row["id"], "the stream was deleted"))
    return Message(message="Stream deleted successfully")


@streams.post(
    "/streams/{stream_id}/start",
    permission=Permission.STREAMS,
    answer=StreamStarted,
    limit=Limit.STREAMING,
    errors=(*_MISSING, ErrorCode.STREAM_ALREADY_RUNNING, ErrorCode.VALIDATION, ErrorCode.ENCODING),
)
async def start_stream(call: Call) -> StreamStarted:
    """Start a stream: it is fetched, or its encoder may push. Of several with one key it is this one's turn

    While another one with its key is on air it is refused: `running_stream_id` says which.
    """
    row = await found(call, Permission.STREAMS_ALL, hold=True)
    if call.services.conductor.status(row) is not StreamStatus.STOPPED:
        raise ControlError(ErrorCode.STREAM_ALREADY_RUNNING, "Stream is already active", {"stream_id": row["id"]})
    if row["key_hash"] is not None:
        await _require_turn(call, row)
        await models.end_turns(call.tx, row["key_hash"], row["id"])
    await models.start_stream(call.tx, row["id"], call.now)
    await audit.record(call, audit.Action.STREAM_STARTED, "stream", row["id"])
    call.after(lambda: _begin(call, row))
    call.after(lambda: call.services.live.on_status(row["id"], StreamStatus.STARTING.value))
    here = site(call.request, call.services.config.server.public_url)
    outputs = [OutputUrl(format=output.format_type, url=here + output.output_path) for output in shown.outputs(call, row)]
    return StreamStarted(status="success", message="Stream started successfully", stream_id=row["id"], outputs=outputs)


async def _require_turn(call: Call, row: Row) -> None:
    """Raises ControlError (409) while who has the key of ``row`` pushes another stream with it."""
    for other in await models.streams_by_key(call.tx, row["key_hash"]):
        if other["id"] != row["id"] and call.services.conductor.status(other) is StreamStatus.RUNNING:
            details = {"stream_id": row["id"], "running_stream_id": other["id"]}
            raise ControlError(ErrorCode.STREAM_ALREADY_RUNNING, "Its key is on air as another stream: stop that first", details)


async def _begin(call: Call, before: Row) -> None:
    """It is safe that a stream is wanted, whose row was ``before``: it is begun. What cannot be, is wanted no longer."""
    conductor, starts = call.services.conductor, before["starts"] + 1
    conductor.forget()
    try:
        await conductor.start({**before, "starts": starts})
    except Refused as refusal:
        await transact(call.services.db.write, lambda tx: _end(call, tx, before, starts))
        conductor.forget()
        if isinstance(refusal, OwnerDisabled):
            error = ControlError(ErrorCode.FORBIDDEN, "The account of its owner is disabled")
        elif isinstance(refusal, CannotEncode):
            error = ControlError(ErrorCode.ENCODING, "Nothing here makes its qualities", {"reason": refusal.reason})
        else:
            error = invalid(input_url=refusal.reason)
            error.message = "The input cannot be fetched"
        raise error from None


async def _end(call: Call, tx: Transaction, before: Row, starts: int) -> None:
    call.tx = tx
    await models.end_start(tx, before["id"], starts, before["stopped_at"])
    await audit.record(call, audit.Action.STREAM_NOT_STARTED, "stream", before["id"])


@streams.post(
    "/streams/{stream_id}/stop", permission=Permission.STREAMS, answer=StreamStopped, limit=Limit.STREAMING, errors=_MISSING
)
async def stop_stream(call: Call) -> StreamStopped:
    """Stop a stream: whoever publishes it is sent away, and all that hangs on it ends. Harmless twice

    Where `auto_start` is set, a push starts it again once nobody has tried to push it for a minute; until then only a start does.
    Another stream with its key may be pushed meanwhile, unless this one was on air: then its encoder, which tries again, goes on
    air as none of them before that, but for one that is started.
    """
    row = await found(call, Permission.STREAMS_STOP_ALL, hold=True)
    call.services.on_air.forget()
    live = call.services.on_air.stream(row["id"]) is not None
    on_air = live or any(held["stopped_on_air"] for held in held_at([row], call.now))
    fields = {"started": 0, "stopped_at": call.now, "stopped_on_air": int(on_air)}
    await models.update_stream(call.tx, row["id"], fields, call.now)
    await audit.record(call, audit.Action.STREAM_STOPPED, "stream", row["id"])
    call.after(lambda: call.services.conductor.stop(row["id"], "stopped by its owner"))
    call.after(lambda: call.services.live.on_status(row["id"], StreamStatus.STOPPED.value))
    return StreamStopped(status="success", message="Stream stopped successfully", stream_id=row["id"])
