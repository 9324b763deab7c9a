"""What the engine looks like at one moment: plain values, cheap to make, safe to keep."""

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
    """A name that is live, or within its grace period (``publishing`` false)."""

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
