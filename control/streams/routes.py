"""``/api/streams``."""

import json
from collections.abc import Sequence

from control import audit
from control.db import Conflict, Row
from control.destinations import models as destination_rows
from control.destinations.schemas import DestinationCreate
from control.errors import ControlError, ErrorCode, invalid
from control.permissions import Permission
from control.ratelimit import Limit
from control.rest import Call, Domain
from control.schema import Message, Page, changes
from control.streams import models, service
from control.streams.kinds import StreamInput, StreamStatus
from control.streams.onair import playback_name
from control.streams.schemas import (
    ListedDestination,
    ListedStream,
    Output,
    OutputUrl,
    Stream,
    StreamCreate,
    StreamCreated,
    StreamDestination,
    Streams,
    StreamStarted,
    StreamState,
    StreamStopped,
    StreamUpdate,
)
from mediaserver.errors import Refused
from mediaserver.ports import PublishGrant

streams = Domain("Streams")

_MISSING = (ErrorCode.STREAM_NOT_FOUND,)


# -- finding ----------------------------------------------------------------------------------------------------------


async def found(call: Call, everybody: Permission) -> Row:
    """The stream in the path. Raises ControlError (404) where there is none, or it is none of the asker's business."""
    number = call.id("stream_id", "Stream", "stream")
    row = await models.stream_by_id(call.tx, number)
    if row is None or not (
        call.actor.owns(row["user_id"], everybody) or call.actor.owns(row["user_id"], Permission.STREAMS_VIEW_ALL)
    ):
        raise ControlError(ErrorCode.STREAM_NOT_FOUND, f"Stream with ID {number} not found", {"stream_id": number})
    if not call.actor.owns(row["user_id"], everybody):
        raise ControlError(ErrorCode.FORBIDDEN, "Insufficient permissions")
    return row


def status(call: Call, row: Row) -> StreamStatus:
    """What the stream of ``row`` is doing."""
    live = call.services.on_air.stream(row["id"])
    if live is not None and live.publishing:
        return StreamStatus.RUNNING
    return StreamStatus.STARTING if row["started"] or live is not None else StreamStatus.STOPPED


def _url(call: Call, row: Row) -> str:
    own = call.actor.owns(row["user_id"], Permission.STREAMS_ALL)
    return service.shown_url(call.services.cipher.open(service.INPUT_URL, row["input_url"]), own=own)


def _outputs(row: Row) -> list[Output]:
    name = playback_name(row["id"])
    made = [
        Output(
            format_type=kind,
            resolution=quality.value,
            bitrate=service.USUAL_BITRATE[quality],
            output_path=f"/static/streams/{kind}/{name}_{quality.value}.{extension}",
        )
        for quality in service.qualities(row)
        for kind, extension in (("hls", "m3u8"), ("dash", "mpd"))
    ]
    whole = [
        Output(format_type=kind, resolution="source", bitrate=0, output_path=f"/static/streams/{kind}/{name}.{extension}")
        for kind, extension in (("hls", "m3u8"), ("dash", "mpd"))
    ]
    return made + whole


# -- reading ----------------------------------------------------------------------------------------------------------


@streams.get("/streams", permission=Permission.STREAMS, query=Page, answer=Streams)
async def list_streams(call: Call, query: Page) -> Streams:
    """List streams"""
    user_id = None if call.actor.may(Permission.STREAMS_VIEW_ALL) else call.actor.user_id
    rows = await models.list_streams(call.tx, user_id, query.per_page, query.offset)
    total = await models.count_streams(call.tx, user_id)
    destinations = await service.destinations_by_stream(call.tx, rows)
    listed = [
        ListedStream(
            id=row["id"],
            name=row["name"],
            status=status(call, row),
            input_url=_url(call, row),
            latency_mode=row["latency_mode"],
            created_at=row["created_at"],
            updated_at=row["updated_at"],
            destinations=[
                ListedDestination(platform=d["platform"], status=call.services.on_air.relay(row["id"], d["id"])[0])
                for d in destinations[row["id"]]
            ],
        )
        for row in rows
    ]
    return Streams(streams=listed, total=total, page=query.page, per_page=query.per_page)


@streams.get("/streams/{stream_id}", permission=Permission.STREAMS, answer=Stream, errors=_MISSING)
async def show_stream(call: Call) -> Stream:
    """Show a stream"""
    return await _full(call, await found(call, Permission.STREAMS_VIEW_ALL))


async def _full(call: Call, row: Row) -> Stream:
    destinations = (await service.destinations_by_stream(call.tx, [row]))[row["id"]]
    return Stream(
        id=row["id"],
        name=row["name"],
        status=status(call, row),
        input_url=_url(call, row),
        input_type=row["input_type"],
        latency_mode=row["latency_mode"],
        record_enabled=bool(row["record_enabled"]),
        auto_start=bool(row["auto_start"]),
        video_codec=row["video_codec"],
        audio_codec=row["audio_codec"],
        bitrate_mode=row["bitrate_mode"],
        keyframe_interval=row["keyframe_interval"],
        qualities=service.qualities(row),
        outputs=_outputs(row),
        destinations=[_destination(call, row, destination) for destination in destinations],
        watch_path=f"/watch/{playback_name(row['id'])}",
        user_id=row["user_id"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _destination(call: Call, row: Row, destination: Row) -> StreamDestination:
    state, reason = call.services.on_air.relay(row["id"], destination["id"])
    return StreamDestination(
        id=destination["id"],
        name=destination["name"],
        platform=destination["platform"],
        rtmp_url=destination["rtmp_url"],
        enabled=bool(destination["enabled"]),
        status=state,
        reason=reason,
    )


@streams.get("/streams/{stream_id}/status", permission=Permission.STREAMS, answer=StreamState, errors=_MISSING)
async def show_status(call: Call) -> StreamState:
    """What a stream is doing, as measured"""
    row = await found(call, Permission.STREAMS_VIEW_ALL)
    on_air = call.services.on_air
    live = on_air.stream(row["id"])
    sizes = [f"{track.width}x{track.height}" for track in live.tracks if track.width] if live is not None else []
    viewers = on_air.viewers(row["id"])
    kilobits = 0 if live is None else live.bitrate // 1000
    return StreamState(
        stream_id=row["id"],
        status=status(call, row),
        uptime=0 if live is None else max(0, int(call.now - live.since)),
        current_viewers=viewers,
        peak_viewers=on_air.peak(row["id"]),
        output_bitrate=kilobits * viewers,
        input_bitrate=kilobits,
        frame_rate=0.0 if live is None else round(live.frame_rate, 2),
        resolution=sizes[0] if sizes else "",
        last_updated=call.now,
    )


# -- changing ---------------------------------------------------------------------------------------------------------


@streams.post(
    "/streams", permission=Permission.STREAMS, body=StreamCreate, answer=StreamCreated, status=201, errors=(ErrorCode.CONFLICT,)
)
async def create_stream(call: Call, body: StreamCreate) -> StreamCreated:
    """Create a stream"""
    fields = {
        "user_id": call.actor.user_id,
        "name": body.name,
        **_source(call, body.input_type, body.input_url),
        "latency_mode": body.latency_mode.value,
        "record_enabled": int(body.record_enabled),
        "auto_start": int(body.auto_start),
        "video_codec": body.video_codec.value,
        "audio_codec": body.audio_codec.value,
        "bitrate_mode": body.bitrate_mode.value,
        "keyframe_interval": body.keyframe_interval,
        "qualities": json.dumps(service.check_qualities(body.qualities)),
        "created_at": call.now,
        "updated_at": call.now,
    }
    try:
        number = await models.insert_stream(call.tx, fields)
    except Conflict:
        raise _key_taken() from None
    await _add_destinations(call, number, body.destinations)
    await audit.record(call, audit.Action.STREAM_CREATED, "stream", number)
    return StreamCreated(id=number, name=body.name, status=StreamStatus.STOPPED, message="Stream created successfully")


def _source(call: Call, input_type: StreamInput, input_url: str) -> dict[str, object]:
    """Where it comes from, as columns."""
    services = call.services
    key = service.pushed_key(services.config, input_type, input_url)
    if key is not None:
        service.check_key(key)
    elif input_type is StreamInput.FILE and not call.actor.may(Permission.STREAMS_ALL):
        raise ControlError(ErrorCode.FORBIDDEN, "Files of the server are an administrator's")
    return {
        "input_type": input_type.value,
        "input_url": services.cipher.seal(service.INPUT_URL, input_url),
        "key_hash": None if key is None else services.vault.look_up("stream key", key),
    }


def _key_taken() -> ControlError:
    error = invalid(input_url="this stream key is taken")
    return ControlError(ErrorCode.CONFLICT, "Another stream has this key", error.details)


async def _add_destinations(call: Call, stream_id: int, destinations: Sequence[DestinationCreate]) -> None:
    for destination in destinations:
        fields = {
            "user_id": call.actor.user_id,
            "stream_id": stream_id,
            "name": destination.name,
            "platform": destination.platform,
            "rtmp_url": destination.address,
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
    """Change a stream: recording at once, all else from its next start on"""
    row = await found(call, Permission.STREAMS_ALL)
    fields = _columns(call, row, {name: value for name, value in changes(body).items() if value is not None})
    if fields:
        try:
            await models.update_stream(call.tx, row["id"], fields, call.now)
        except Conflict:
            raise _key_taken() from None
    if body.destinations is not None:
        await destination_rows.delete_destinations_of(call.tx, row["id"])
        await _add_destinations(call, row["id"], body.destinations)
    await audit.record(call, audit.Action.STREAM_UPDATED, "stream", row["id"], fields=sorted(body.model_fields_set))
    if fields.get("record_enabled", row["record_enabled"]) != row["record_enabled"]:
        call.after(lambda: call.services.conductor.record(row["id"], wanted=bool(fields["record_enabled"])))
    changed = await models.stream_by_id(call.tx, row["id"])
    assert changed is not None  # noqa: S101  found above, in this transaction
    return await _full(call, changed)


def _columns(call: Call, row: Row, wanted: dict[str, object]) -> dict[str, object]:
    """What was sent as columns."""
    wanted.pop("destinations", None)
    source = wanted.pop("input_type", None), wanted.pop("input_url", None)
    chosen = wanted.pop("qualities", None)
    fields = {name: getattr(value, "value", int(value) if isinstance(value, bool) else value) for name, value in wanted.items()}
    if isinstance(chosen, list):
        fields["qualities"] = json.dumps(service.check_qualities(chosen))
    if any(part is not None for part in source):
        if status(call, row) is not StreamStatus.STOPPED:
            raise ControlError(
                ErrorCode.STREAM_ALREADY_RUNNING, "The input of a stream that is on air cannot change: stop it first"
            )
        kind = source[0] if isinstance(source[0], StreamInput) else StreamInput(row["input_type"])
        url = source[1] if isinstance(source[1], str) else call.services.cipher.open(service.INPUT_URL, row["input_url"])
        fields |= _source(call, kind, url)
    return fields


@streams.delete("/streams/{stream_id}", permission=Permission.STREAMS, answer=Message, errors=_MISSING)
async def delete_stream(call: Call) -> Message:
    """Delete a stream; one that is on air ends"""
    row = await found(call, Permission.STREAMS_ALL)
    await models.delete_stream(call.tx, row["id"])
    await audit.record(call, audit.Action.STREAM_DELETED, "stream", row["id"])
    call.after(lambda: call.services.conductor.stop(row["id"], "the stream was deleted"))
    return Message(message="Stream deleted successfully")


@streams.post(
    "/streams/{stream_id}/start",
    permission=Permission.STREAMS,
    answer=StreamStarted,
    limit=Limit.STREAMING,
    errors=(*_MISSING, ErrorCode.STREAM_ALREADY_RUNNING, ErrorCode.VALIDATION),
)
async def start_stream(call: Call) -> StreamStarted:
    """Start a stream: it is fetched, or its encoder may push"""
    row = await found(call, Permission.STREAMS_ALL)
    if status(call, row) is not StreamStatus.STOPPED:
        raise ControlError(ErrorCode.STREAM_ALREADY_RUNNING, "Stream is already active", {"stream_id": row["id"]})
    await models.update_stream(call.tx, row["id"], {"started": 1, "stopped_at": None}, call.now)
    grant = await service.grant(call.tx, call.services.vault, row)
    await audit.record(call, audit.Action.STREAM_STARTED, "stream", row["id"])
    call.after(lambda: _begin(call, row, grant))
    call.after(lambda: call.services.live.on_status(row["id"], StreamStatus.STARTING.value))
    site = call.services.config.server.public_url or f"{call.request.scheme}://{call.request.host}"
    outputs = [OutputUrl(format=output.format_type, url=site + output.output_path) for output in _outputs(row)]
    return StreamStarted(status="success", message="Stream started successfully", stream_id=row["id"], outputs=outputs)


async def _begin(call: Call, row: Row, grant: PublishGrant) -> None:
    """It is safe that the stream of ``row`` is wanted, so it is begun; what cannot be, is wanted no longer."""
    try:
        await call.services.conductor.start(row, grant)
    except Refused as refusal:
        async with call.services.db.write() as tx:
            await models.update_stream(tx, row["id"], {"started": 0, "stopped_at": row["stopped_at"]}, call.now)
        error = invalid(input_url=refusal.reason)
        raise ControlError(error.code, "The input cannot be fetched", error.details) from None


@streams.post(
    "/streams/{stream_id}/stop", permission=Permission.STREAMS, answer=StreamStopped, limit=Limit.STREAMING, errors=_MISSING
)
async def stop_stream(call: Call) -> StreamStopped:
    """Stop a stream: whoever publishes it is sent away, and all that hangs on it ends. Harmless twice"""
    row = await found(call, Permission.STREAMS_STOP_ALL)
    await models.update_stream(call.tx, row["id"], {"started": 0, "stopped_at": call.now}, call.now)
    await audit.record(call, audit.Action.STREAM_STOPPED, "stream", row["id"])
    call.after(lambda: call.services.conductor.stop(row["id"], "stopped by its owner"))
    call.after(lambda: call.services.live.on_status(row["id"], StreamStatus.STOPPED.value))
    return StreamStopped(status="success", message="Stream stopped successfully", stream_id=row["id"])
