"""The two questions that the engine asks of the outside, and the plain values in them."""

import enum
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mediaserver.events import Event

#: A playback name: what may stand in a URL, a file name and a log line without escaping.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~@-]{0,127}")


def is_name(text: str) -> bool:
    """Whether ``text`` may name a LiveStream: no slash, no control or bidirectional character, no ``..`` to climb with."""
    return NAME.fullmatch(text) is not None and ".." not in text


class Wire(enum.Enum):
    """The protocol by which a session publishes or plays."""

    RTMP = "rtmp"
    RTMPS = "rtmps"
    HTTP_FLV = "http-flv"
    WS_FLV = "ws-flv"
    HLS = "hls"
    DASH = "dash"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """Somebody wants to publish. ``key`` is what the encoder sent as its stream key: a secret, kept out of ``repr``."""

    session_id: str
    wire: Wire
    address: str
    app: str
    key: str = field(repr=False)
    query: str = field(default="", repr=False)
    encoder: str = ""


@dataclass(frozen=True, slots=True)
class PublishGrant:
    """Leave to publish under ``name``."""

    name: str


@dataclass(frozen=True, slots=True)
class PlayRequest:
    """Somebody wants to play ``name``. ``query`` may hold a token: kept out of ``repr``."""

    session_id: str
    wire: Wire
    address: str
    name: str
    query: str = field(default="", repr=False)
    agent: str = ""


@dataclass(frozen=True, slots=True)
class PlayGrant:
    """Leave to play ``name``."""

    name: str


class Authorizer(Protocol):
    """May he? Answers with a grant or raises ``mediaserver.errors.Refused``."""

    async def may_publish(self, request: PublishRequest) -> PublishGrant: ...

    async def may_play(self, request: PlayRequest) -> PlayGrant: ...


class EventSink(Protocol):
    """Take note. Never awaits, never raises."""

    def emit(self, event: "Event") -> None: ...
