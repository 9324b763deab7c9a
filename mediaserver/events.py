"""What the engine tells the outside, as plain values. ``at`` is Unix time in seconds."""

from dataclasses import dataclass

from mediaserver.ports import Wire


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
    """The stream is over: its last publisher left and none came in time. Once a stream; its figures are all publishers'."""

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
    """A player joined."""

    wire: Wire
    address: str


@dataclass(frozen=True, slots=True)
class PlayEnded(Event):
    """A player left or was cut off."""

    reason: str
    bytes_out: int
    seconds: float
