"""Users, streams and viewers, straight in the database."""

from itertools import count

from control.analytics import models
from control.auth import models as users
from control.db import Database
from control.streams import models as streams

#: A Monday, ten o'clock in the morning (UTC).
MORNING = 1_900_000_800.0 - 1_900_000_800.0 % 86400 + 36000
HOUR, DAY = 3600.0, 86400.0


async def a_user(db: Database, name: str) -> int:
    async with db.write() as tx:
        return await users.insert_user(tx, name, f"{name}@example.com", "no hash", "user", MORNING)


async def a_stream(db: Database, user_id: int, name: str = "Show") -> int:
    fields = {
        "user_id": user_id, "name": name, "input_type": "rtmp", "input_url": "sealed", "latency_mode": "normal",
        "record_enabled": 0, "auto_start": 1, "video_codec": "h264", "audio_codec": "aac",
        "bitrate_mode": "cbr", "keyframe_interval": 2.0, "qualities": "[]", "created_at": MORNING, "updated_at": MORNING,
    }  # fmt: skip
    async with db.write() as tx:
        return await streams.insert_stream(tx, fields)


_numbers = count()


def session(stream_id: int, user_id: int, started: float, ended: float, **columns: object) -> tuple[object, ...]:
    """A row for ``models.put``. Each is another viewer of whom nothing is known, unless ``columns`` say otherwise."""
    number = next(_numbers)
    values: dict[str, object] = dict.fromkeys(models.COLUMNS)
    values |= {
        "id": f"session-{number}", "stream_id": stream_id, "user_id": user_id, "life": "a life",
        "started": started, "hour": int(started // 3600), "ended": ended, "viewer": 1000 + number,
    }  # fmt: skip
    return tuple((values | columns).values())


async def put(db: Database, *sessions: tuple[object, ...]) -> None:
    async with db.write() as tx:
        await models.put(tx, sessions)


async def rows(db: Database, table: str = "viewer_sessions") -> list[dict[str, object]]:
    async with db.read() as tx:
        return [dict(row) for row in await tx.rows(f"SELECT * FROM {table} ORDER BY 1")]
