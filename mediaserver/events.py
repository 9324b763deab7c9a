"""What the engine tells the outside, as plain values. ``at`` is Unix time in seconds."""

from dataclasses import dataclass, field

from mediaserver.ports import Wire
from mediaserver.snapshot import RelayState


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to the stream ``name``."""

    name: str
    session_id: str
    at: float


@dataclass(frozen=True, slots=True)
class PublishStarted(Event):
    """A publisher went live. With ``resumed`` it goes on with a stream that had not ended: once a stream without, once with
    for every return or takeover."""

    wire: Wire
    address: str
    encoder: str
    resumed: bool


@dataclass(frozen=True, slots=True)
class PublisherLeft(Event):
    """The publisher is gone, and the stream goes on without: for the grace period, or with the one that took it over."""

    reason: str


@dataclass(frozen=True, slots=True)
class PublishEnded(Event):
    """The stream is over: its last publisher left and none came in time. Once a stream; its figures are all publishers'.
    ``seconds`` until that one left, without the time in which it was waited for."""

    reason: str
    bytes_in: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PublishRefused(Event):
    """A publisher was sent away; ``name`` is empty where it never had one."""

    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class PlayStarted(Event):
    """A player joined. One of HLS or DASH is told of with the second moment in which it asks for a playlist, and of when that
    began. ``token`` is what it says of itself (see ``ports.SESSION_TOKEN``), or empty: kept out of ``repr``, and of logs."""

    wire: Wire
    address: str
    agent: str = ""
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class PlayEnded(Event):
    """A player left or was cut off. ``bytes_out`` is None where nobody can tell: HLS and DASH have no connection of their own,
    and a CDN may stand between. They end with the last playlist that they asked for."""

    reason: str
    bytes_out: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class TranscodeChanged(Event):
    """What is made of a stream changed: ``rungs`` are those that are encoded now, ``reason`` says why in words (begun, a rung
    shed for want of time, restored, an encoder that failed and what took its place, given up). ``failed``: it is less, or other,
    than was asked for."""

    rungs: tuple[str, ...]
    reason: str
    failed: bool = field(default=False, repr=False)


@dataclass(frozen=True, slots=True)
class RelayChanged(Event):
    """A Relay came to another state."""

    relay_id: str
    state: RelayState
    reason: str


@dataclass(frozen=True, slots=True)
class RecordingStarted(Event):
    """A file of a recording was begun."""

    recording_id: str
    path: str


@dataclass(frozen=True, slots=True)
class RecordingFinished(Event):
    """A file of a recording is whole. ``recovered``: found unfinished at the start of the server, and closed properly.
    ``seconds`` is its playing time."""

    recording_id: str
    path: str
    bytes: int
    seconds: float
    recovered: bool
    reason: str


@dataclass(frozen=True, slots=True)
class RecordingFailed(Event):
    """A recording pauses because it cannot be written (a full disk, say) and goes on by itself when it can; or such a file has no
    place for a track (AV1 in a transport stream, say), and what else there is goes on without it."""

    recording_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class RecordingRemoved(Event):
    """A finished recording was removed: it was too old, or there were too many bytes."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class PullChanged(Event):
    """A pull connected, lost its source or ended; ``connected`` says which, ``reason`` why. ``over``: it is tried no more.
    ``failed``: that is not as it was wished."""

    connected: bool
    reason: str
    over: bool = False
    failed: bool = field(default=False, repr=False)
