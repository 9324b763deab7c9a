"""What is told, as the Panel document prints it."""

import enum
import json
import secrets
from dataclasses import dataclass

from control.timestamps import timestamp


class EventName(enum.Enum):
    """What can be subscribed to."""

    STREAM_STARTED = "stream.started"
    STREAM_STOPPED = "stream.stopped"
    VIEWERS_THRESHOLD = "viewers.threshold"


class Crossing(enum.Enum):
    """In which direction a threshold was crossed."""

    EXCEEDED = "exceeded"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Message:
    """One thing that happened. ``id`` is the same whoever is told it, and however often."""

    id: str
    event: EventName
    body: str


def stream_started(at: float, stream_id: int, stream_name: str, input_url: str) -> Message:
    """A stream is on air. ``input_url`` without its key."""
    return _message(EventName.STREAM_STARTED, at, stream_id=stream_id, stream_name=stream_name, input_url=input_url)


def stream_stopped(at: float, stream_id: int, stream_name: str, duration: float, peak_viewers: int) -> Message:
    """It is over, after ``duration`` seconds."""
    return _message(
        EventName.STREAM_STOPPED,
        at,
        stream_id=stream_id,
        stream_name=stream_name,
        duration=max(0, round(duration)),
        peak_viewers=peak_viewers,
    )


def viewers_threshold(at: float, stream_id: int, current_viewers: int, threshold: int, crossing: Crossing) -> Message:
    """As many watch as somebody wanted to know of, or no longer."""
    return _message(
        EventName.VIEWERS_THRESHOLD,
        at,
        stream_id=stream_id,
        current_viewers=current_viewers,
        threshold=threshold,
        type=crossing.value,
    )


def _message(event: EventName, at: float, **fields: object) -> Message:
    body = json.dumps({"event": event.value, "timestamp": timestamp(at), **fields})
    return Message(f"msg_{secrets.token_hex(12)}", event, body)
