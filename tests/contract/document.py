"""The Panel document's answers and messages, written down once more by hand: every field with its name and its JSON type.

In each shape what the document has comes first, and behind ``|`` what this server tells beyond it.
"""

from dataclasses import dataclass
from typing import Any

from tests.contract.shapes import DATE, TIME, Each, OrNull, Perhaps, Shape, Text, Word

JWT = Text(r"[\w-]+\.[\w-]+\.[\w-]+")
STATUS = Word("running", "starting", "stopped")
HEALTH = Word("healthy", "unhealthy", "not_configured", "unknown")
RELAY = Word("active", "inactive", "waiting", "connecting", "backing_off", "failed", "stopped")
FORMAT = Word("hls", "dash")
OUTPUT_PATH = r"/static/streams/(hls/stream_\d+(_\w+)?\.m3u8|dash/stream_\d+(_\w+)?\.mpd)"
URL = Text(r"https?://[^/]+" + OUTPUT_PATH)

LOGIN: Shape = {"access_token": JWT, "token_type": Word("Bearer"), "expires_in": int} | {
    "refresh_token": str,
    "success": bool,
    "token": JWT,
    "userId": Text(r"user_\d+"),
    "email": str,
    "requires2FA": bool,
}

LISTED_STREAM: Shape = {
    "id": int,
    "name": str,
    "status": STATUS,
    "input_url": str,
    "latency_mode": str,
    "created_at": TIME,
    "updated_at": TIME,
    "destinations": [{"platform": str, "status": RELAY}],
} | {"reason": str}

STREAMS: Shape = {"streams": [LISTED_STREAM], "total": int, "page": int, "per_page": int}

STREAM: Shape = {
    "id": int,
    "name": str,
    "status": STATUS,
    "input_url": str,
    "input_type": str,
    "latency_mode": str,
    "record_enabled": bool,
    "video_codec": str,
    "audio_codec": str,
    "bitrate_mode": Word("cbr", "vbr"),
    "keyframe_interval": float,
    "outputs": [
        {"format_type": FORMAT, "resolution": str, "bitrate": int, "output_path": Text(OUTPUT_PATH)}
        | {"width": int, "height": int}
    ],
    "destinations": [
        {"name": str, "platform": str, "rtmp_url": str, "enabled": bool} | {"id": int, "status": RELAY, "reason": str}
    ],
    "created_at": TIME,
    "updated_at": TIME,
} | {
    "auto_start": bool,
    "qualities": [str],
    "pending": Perhaps(str),
    "watch_path": Text(r"/watch/stream_\d+"),
    "user_id": int,
    "reason": str,
}

STREAM_CREATED: Shape = {"id": int, "name": str, "status": STATUS, "message": str}

MESSAGE: Shape = {"message": str}

STREAM_STARTED: Shape = {
    "status": Word("success"),
    "message": str,
    "stream_id": int,
    "outputs": [{"format": FORMAT, "url": URL}],
}

STREAM_STOPPED: Shape = {"status": Word("success"), "message": str, "stream_id": int}

STREAM_STATUS: Shape = {
    "stream_id": int,
    "status": STATUS,
    "uptime": int,
    "current_viewers": int,
    "peak_viewers": int,
    "output_bitrate": int,
    "input_bitrate": int,
    "frame_rate": float,
    "resolution": str,
    "last_updated": TIME,
}

STREAM_STATS: Shape = {
    "stream_id": int,
    "stats": [{"timestamp": TIME, "viewers": int, "bitrate": float, "frame_rate": float, "packet_loss": float}],
    "summary": {"avg_viewers": float, "peak_viewers": int, "avg_bitrate": float, "uptime": int},
}

RTMP_STATUS: Shape = {
    "running": bool,
    "port": int,
    "active_streams": int,
    "total_connections": int,
    "uptime": int,
    "version": Text(r"\d+\.\d+\.\d+.*"),
    "streams": [{"stream_key": str, "client_ip": str, "connected_at": TIME, "bitrate": int}],
}

RTMP_STARTED: Shape = {"status": Word("success"), "message": str, "port": int, "url": Text(r"rtmp://[^/]+:\d+/\w+/")}

RTMP_STOPPED: Shape = {"status": Word("success"), "message": str}

DESTINATION: Shape = {
    "id": int,
    "name": str,
    "platform": str,
    "rtmp_url": Text(r"rtmps?://.+"),
    "enabled": bool,
    "created_at": TIME,
} | {"stream_id": OrNull(int), "rendition": str, "status": RELAY, "reason": str, "updated_at": TIME}

DESTINATIONS: Shape = {"destinations": [DESTINATION]} | {"total": int, "page": int, "per_page": int}

DASHBOARD: Shape = {
    "period": Word("24h", "7d", "30d", "90d"),
    "total_streams": int,
    "active_streams": int,
    "total_viewers": int,
    "peak_concurrent_viewers": int,
    "total_watch_time": int,
    "average_watch_time": int,
    "stream_metrics": [{"stream_id": int, "name": str, "viewers": int, "watch_time": int, "engagement_rate": float}],
    "platform_distribution": Each(int),
    "geographic_distribution": Each(int),
}

STREAM_ANALYTICS: Shape = {
    "stream_id": int,
    "name": str,
    "period": {"start": DATE, "end": DATE},
    "metrics": {
        "total_sessions": int,
        "unique_viewers": int,
        "total_watch_time": int,
        "average_session_duration": int,
        "peak_concurrent_viewers": int,
        "engagement_rate": float,
        "quality_metrics": {"average_bitrate": float, "buffer_rate": float, "startup_time": float} | {"reported_sessions": int},
    },
    "timeline": [{"timestamp": TIME, "viewers": float, "bitrate": float, "engagement": float}],
}

USER: Shape = {
    "id": int,
    "username": str,
    "email": str,
    "role": Word("administrator", "moderator", "user"),
    "created_at": TIME,
    "last_login": OrNull(TIME),
} | {"enabled": bool}

USERS: Shape = {"users": [USER]} | {"total": int, "page": int, "per_page": int}

SYSTEM_STATUS: Shape = {
    "status": HEALTH,
    "version": str,
    "uptime": int,
    "system": {"cpu_usage": float, "memory_usage": float, "disk_usage": float, "load_average": [float]},
    "services": {"database": HEALTH, "redis": HEALTH, "nginx": HEALTH, "rtmp_server": Word("running", "stopped")},
    "performance": {"active_streams": int, "total_bandwidth": int, "concurrent_viewers": int},
}

_PROBE: Shape = {"status": HEALTH, "response_time": int, "last_check": TIME}

SYSTEM_HEALTH: Shape = {
    "status": HEALTH,
    "checks": {
        "database": _PROBE,
        "redis": _PROBE,
        "storage": {"status": HEALTH, "free_space": Text(r"\d+GB"), "total_space": Text(r"\d+GB")},
        "network": {"status": HEALTH, "bandwidth_available": Text(r"\d+Mbps|unknown"), "bandwidth_used": Text(r"\d+Mbps")},
    }
    | {"nginx": _PROBE, "rtmp_server": {"status": HEALTH, "port": int}, "encoders": {"status": HEALTH, "encoders": [str]}},
}

STARTED_MESSAGE: Shape = {
    "event": Word("stream.started"),
    "timestamp": TIME,
    "stream_id": int,
    "stream_name": str,
    "input_url": Text(r"rtmp://.+"),
}

STOPPED_MESSAGE: Shape = {
    "event": Word("stream.stopped"),
    "timestamp": TIME,
    "stream_id": int,
    "stream_name": str,
    "duration": int,
    "peak_viewers": int,
}

THRESHOLD_MESSAGE: Shape = {
    "event": Word("viewers.threshold"),
    "timestamp": TIME,
    "stream_id": int,
    "current_viewers": int,
    "threshold": int,
    "type": Word("exceeded", "dropped"),
}

#: ``code`` and status of every error that the document lists.
ERROR_CODES = {
    "UNAUTHORIZED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "VALIDATION_ERROR": 422,
    "RATE_LIMITED": 429,
    "STREAM_NOT_FOUND": 404,
    "STREAM_ALREADY_RUNNING": 409,
    "RTMP_SERVER_ERROR": 500,
    "ENCODING_ERROR": 500,
}


def error(code: str, details: Shape | None = None) -> Shape:
    """The frame around an error; ``details`` None: any object."""
    frame = {"code": Word(code), "message": str, "details": dict if details is None else details}
    return {"error": frame | {"timestamp": TIME, "requestId": Text(r"req_[0-9a-f]{16}")}}


@dataclass(frozen=True)
class Limits:
    """The documented rates: requests and seconds."""

    authenticated: tuple[int, int] = (1000, 3600)
    unauthenticated: tuple[int, int] = (100, 3600)
    streaming: tuple[int, int] = (60, 60)


def new_stream(rtmp_port: int, key: str, **fields: Any) -> dict[str, Any]:
    """A body as the document prints one, on this server's own address."""
    return {"name": "My Tutorial Stream", "input_url": f"rtmp://localhost:{rtmp_port}/live/{key}", **fields}
