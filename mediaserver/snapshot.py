"""What the engine looks like at one moment: plain values, cheap to make, safe to keep."""

import enum
from dataclasses import dataclass

from mediaserver.ports import Wire
from protocols.media import Codec


@dataclass(frozen=True, slots=True)
class TrackSnapshot:
    """One track of a live stream. Sizes and rates are 0 where its parameters do not tell."""

    codec: Codec
    width: int = 0
    height: int = 0
    sample_rate: int = 0
    channels: int = 0


class RelayState(enum.Enum):
    """WAITING for the stream or its rendition · CONNECTING · LIVE · BACKING_OFF before another try · FAILED for good, until it
    is started again · STOPPED at somebody's wish."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    LIVE = "live"
    BACKING_OFF = "backing_off"
    FAILED = "failed"
    STOPPED = "stopped"


class RelayLevel(enum.Enum):
    """How sure it is that a Relay's peer has the stream: NONE · CONNECTED, it took the publish · ACKNOWLEDGED, it has said that
    bytes arrived · CONFIRMED, its platform says that it is live."""

    NONE = "none"
    CONNECTED = "connected"
    ACKNOWLEDGED = "acknowledged"
    CONFIRMED = "confirmed"


@dataclass(frozen=True, slots=True)
class RelaySnapshot:
    """One Relay. ``address`` is its target without the key; ``reason`` says why it is in its state. Rates in bits a second,
    ``backlog`` in bytes."""

    relay_id: str
    name: str
    rendition: str
    address: str
    state: RelayState
    level: RelayLevel
    reason: str
    since: float
    bytes_out: int
    bitrate: int
    backlog: int
    dropped_packets: int
    attempts: int


@dataclass(frozen=True, slots=True)
class RecordingSnapshot:
    """One recording that runs. ``writing`` is false while the disk is full, or where such a file can carry nothing of the stream;
    ``reason`` says why, or what is left out. ``bytes`` and ``seconds`` are of all its files."""

    recording_id: str
    name: str
    rendition: str
    path: str
    since: float
    bytes: int
    seconds: float
    files: int
    writing: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RungSnapshot:
    """One rendition that is made, or not at the moment. ``encoder`` is FFmpeg's name, "copy" where the source is passed through;
    ``reason`` says why this one and not others."""

    name: str
    width: int
    height: int
    bitrate: int
    encoder: str
    running: bool
    reason: str


@dataclass(frozen=True, slots=True)
class PullSnapshot:
    """One pull."""

    session_id: str
    name: str
    address: str
    connected: bool
    since: float
    attempts: int
    reason: str


@dataclass(frozen=True, slots=True)
class SessionSnapshot:
    """One connection that publishes or plays now."""

    session_id: str
    wire: Wire
    address: str
    name: str
    publishing: bool
    since: float
    bytes_in: int
    bytes_out: int
    dropped_packets: int
    agent: str = ""


@dataclass(frozen=True, slots=True)
class StreamSnapshot:
    """A name that is live, or within its grace period (``publishing`` false). A rendition is a stream too: ``source`` is the name
    of the one that it is made of. ``bytes_in`` and ``frames`` (pictures) came in since it began; ``sent_packets`` went to players
    with a connection, one for each, and ``dropped_packets`` were withheld from slow ones; none of these ever goes back."""

    name: str
    publishing: bool
    since: float
    bitrate: int
    frame_rate: float
    bytes_in: int
    tracks: tuple[TrackSnapshot, ...]
    players: dict[Wire, int]
    dropped_packets: int
    discontinuities: int
    source: str = ""
    rungs: tuple[RungSnapshot, ...] = ()
    sent_packets: int = 0
    frames: int = 0


@dataclass(frozen=True, slots=True)
class EngineSnapshot:
    """The whole engine. ``beat`` is the current beat in seconds, 0 when everything is immediate. ``players_cut_off``
    counts those that took nothing of what they were sent for too long."""

    since: float
    draining: bool
    beat: float
    bytes_in: int
    bytes_out: int
    streams: tuple[StreamSnapshot, ...]
    sessions: tuple[SessionSnapshot, ...]
    players_cut_off: int = 0
    relays: tuple[RelaySnapshot, ...] = ()
    recordings: tuple[RecordingSnapshot, ...] = ()
    pulls: tuple[PullSnapshot, ...] = ()
