"""Rows of streams, and what they are on air, as the Panel document shows them."""

from collections.abc import Sequence

from control.db import Row
from control.destinations import models as destination_rows
from control.permissions import Permission
from control.rest import Call
from control.streams import service
from control.streams.onair import playback_name
from control.streams.schemas import ListedDestination, ListedStream, Output, Stream, StreamDestination, StreamState
from mediaserver.snapshot import RungSnapshot, StreamSnapshot

_FILES = (("hls", "m3u8"), ("dash", "mpd"))


#: The encoder of what is not encoded.
_PASSED_ON = "copy"
#: As it comes.
_SOURCE = "source"


def outputs(call: Call, row: Row) -> list[Output]:
    """Where it is played: on air what can be played now, and as its row says else; each quality, and as it comes."""
    live = call.services.on_air.stream(row["id"])
    if live is None:
        made = [(quality.value, service.bitrate(row, quality), 0, 0) for quality in service.qualities(row)]
        width, height = 0, 0
    else:
        made = [(rung.name, _bitrate(rung), rung.width, rung.height) for rung in live.rungs if rung.running]
        width, height = _size(live)
    name = playback_name(row["id"])
    return [
        Output(
            format_type=kind,
            resolution=quality,
            width=width,
            height=height,
            bitrate=round(bits / 1000),
            output_path=f"/static/streams/{kind}/{name}{'' if quality == _SOURCE else f'_{quality}'}.{extension}",
        )
        for quality, bits, width, height in (*made, (_SOURCE, 0, width, height))
        for kind, extension in _FILES
    ]


def _bitrate(rung: RungSnapshot) -> int:
    return 0 if rung.encoder == _PASSED_ON else rung.bitrate


def listed(call: Call, row: Row, destinations: Sequence[Row]) -> ListedStream:
    """In a list."""
    return ListedStream(
        id=row["id"],
        name=row["name"],
        status=call.services.conductor.status(row),
        reason=call.services.conductor.reason(row),
        input_url=_url(call, row),
        latency_mode=row["latency_mode"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        destinations=[
            ListedDestination(platform=d["platform"], status=call.services.on_air.relay(row["id"], d["id"])[0])
            for d in destinations
        ],
    )


async def full(call: Call, row: Row) -> Stream:
    """In full."""
    destinations = await destination_rows.destinations_of(call.tx, [row["id"]], [row["user_id"]])
    return Stream(
        id=row["id"],
        name=row["name"],
        status=call.services.conductor.status(row),
        reason=call.services.conductor.reason(row),
        input_url=_url(call, row),
        input_type=row["input_type"],
        latency_mode=row["latency_mode"],
        record_enabled=bool(row["record_enabled"]),
        auto_start=bool(row["auto_start"]),
        video_codec=row["video_codec"],
        audio_codec=row["audio_codec"],
        bitrate_mode=row["bitrate_mode"],
        keyframe_interval=service.KEYFRAME_INTERVAL if row["keyframe_interval"] is None else row["keyframe_interval"],
        qualities=service.qualities(row),
        pending=call.services.conductor.pending(row),
        outputs=outputs(call, row),
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
        rtmp_url=service.shown_address(call.services.cipher, destination, own=_owns(call, row)),
        enabled=bool(destination["enabled"]),
        status=state,
        reason=reason,
    )


def _url(call: Call, row: Row) -> str:
    return service.shown_url(call.services.cipher.read(service.INPUT_URL, row["input_url"]), own=_owns(call, row))


def _owns(call: Call, row: Row) -> bool:
    return call.actor.owns(row["user_id"], Permission.STREAMS_ALL)


def state(call: Call, row: Row) -> StreamState:
    """What it is doing, as measured."""
    on_air = call.services.on_air
    live = on_air.stream(row["id"])
    best = live and on_air.best_rendition(row["id"])
    return StreamState(
        stream_id=row["id"],
        status=call.services.conductor.status(row),
        uptime=0 if live is None else max(0, int(call.now - live.since)),
        current_viewers=on_air.viewers(row["id"]),
        peak_viewers=on_air.peak(row["id"]),
        output_bitrate=_kilobits(best or live),
        input_bitrate=_kilobits(live),
        frame_rate=0.0 if live is None else round(live.frame_rate, 2),
        resolution="" if live is None else _resolution(live),
        last_updated=call.now,
    )


def _kilobits(stream: StreamSnapshot | None) -> int:
    return 0 if stream is None else round(stream.bitrate / 1000)


def _resolution(stream: StreamSnapshot) -> str:
    width, height = _size(stream)
    return f"{width}x{height}" if width else ""


def _size(stream: StreamSnapshot) -> tuple[int, int]:
    return next(((track.width, track.height) for track in stream.tracks if track.width), (0, 0))
