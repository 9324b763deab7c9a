"""What an RTMP session tells its caller. ``stream_id`` is the message stream's; timestamps are raw 32-bit milliseconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the peer said in ``connect`` that it can do beyond plain RTMP (Enhanced RTMP v2, "Enhancing NetConnection connect").

    ``fourccs`` joins the keys of fourCcList, videoFourCcInfoMap and audioFourCcInfoMap; ``"*"`` stands for all.
    ``extended`` is the capsEx bit set. Everything is empty for a peer that speaks plain RTMP.
    """

    fourccs: frozenset[str] = frozenset()
    extended: int = 0

    @property
    def reconnect(self) -> bool:
        """The peer understands NetConnection.Connect.ReconnectRequest."""
        return bool(self.extended & 0x01)


class MediaReceived(NamedTuple):
    """An audio (8) or video (9) message: ``body`` is an FLV tag body. A tuple because thousands are made each second."""

    type_id: int
    stream_id: int
    timestamp: int
    body: bytes


@dataclass(frozen=True, slots=True)
class DataReceived:
    """A data message (type 18; 15 is converted): the AMF0 body as it came, ``@setDataFrame`` included."""

    stream_id: int
    timestamp: int
    body: bytes


@dataclass(frozen=True, slots=True)
class ConnectRequested:
    """Answer with ``accept_connect`` or ``refuse_connect``. ``query`` is what followed ``?`` in app or tcUrl: may be secret."""

    app: str
    tc_url: str = field(repr=False)
    query: str = field(repr=False)
    encoder: str
    capabilities: Capabilities


@dataclass(frozen=True, slots=True)
class PublishRequested:
    """Answer with ``accept_publish`` or ``refuse_publish``. ``key`` is unchecked; ``kind`` is "live", "record" or "append".

    ``serial`` counts the connection's requests to publish and to play, so that a late answer is not taken for one to another.
    """

    stream_id: int
    key: str = field(repr=False)
    query: str = field(repr=False)
    kind: str
    serial: int


@dataclass(frozen=True, slots=True)
class PlayRequested:
    """Answer with ``accept_play`` or ``refuse_play``. ``start`` in seconds; -2 (live, else recorded) and -1 (live) as in play.

    ``serial`` is as in PublishRequested.
    """

    stream_id: int
    name: str
    query: str = field(repr=False)
    start: float
    serial: int


@dataclass(frozen=True, slots=True)
class PauseRequested:
    """A player paused or went on; it has been answered already."""

    stream_id: int
    paused: bool


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """The peer ended what it published, played or had asked for on this message stream. The id may be used again."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class PongReceived:
    """The answer to ``ping``, with its timestamp."""

    timestamp: int


@dataclass(frozen=True, slots=True)
class Connected:
    """Client: the server accepted ``connect``. ``properties`` joins both objects of its answer."""

    properties: Mapping[str, object]
    capabilities: Capabilities


@dataclass(frozen=True, slots=True)
class StreamCreated:
    """Client: the server made a message stream; what ``publish`` or ``play`` asked for is on its way."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StatusReceived:
    """Client: an onStatus. ``level`` is "status", "warning" or "error"."""

    stream_id: int
    level: str
    code: str
    description: str


@dataclass(frozen=True, slots=True)
class CommandFailed:
    """Client: ``_error`` for the command ``name``."""

    name: str
    code: str
    description: str


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """Client: the server said StreamEOF, there is nothing more to play."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class ReconnectRequested:
    """Client: the server asks to come back, at ``tc_url`` or, where that is empty, at the same address."""

    tc_url: str
    description: str


Event = (
    MediaReceived
    | DataReceived
    | ConnectRequested
    | PublishRequested
    | PlayRequested
    | PauseRequested
    | StreamClosed
    | PongReceived
    | Connected
    | StreamCreated
    | StatusReceived
    | CommandFailed
    | StreamEnded
    | ReconnectRequested
)
