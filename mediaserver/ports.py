"""The two questions that the engine asks of the outside, and the plain values in them."""

import enum
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from protocols.media import Codec

if TYPE_CHECKING:
    from mediaserver.events import Event

#: The name of a stream: what may stand in a URL, a file name and a log line without escaping.
STREAM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}")
#: Between the name of a stream and that of one of its renditions: ``show@720p`` is played like any other name.
RENDITION_MARK = "@"
#: A rung's name: one step of a path.
RUNG_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,31}")
#: A playback name: a stream's, or a rendition's.
NAME = re.compile(f"{STREAM_NAME.pattern}({RENDITION_MARK}{RUNG_NAME.pattern})?")
#: What a player says with each playlist that it asks for (``?session=``), so that it is known again behind a CDN and from one
#: protocol to another. Its own choice, and nothing that anybody else should know.
SESSION_TOKEN = re.compile(r"[A-Za-z0-9_-]{8,64}")
#: What somebody is told who wants to publish under a name that cannot be.
BAD_STREAM_NAME = "use letters, digits and . _ + ~ -, a letter or digit first, 128 at most, never two dots in a row"
NOT_A_RENDITION = f"names with {RENDITION_MARK} are those of renditions, which the server makes itself"


def is_name(text: str) -> bool:
    """Whether ``text`` may be played: no slash, no control or bidirectional character, no ``..`` to climb with."""
    return NAME.fullmatch(text) is not None and ".." not in text


def objection_to(name: str) -> str:
    """Why nobody may publish under ``name``; empty if somebody may."""
    if STREAM_NAME.fullmatch(name) is not None and ".." not in name:
        return ""
    return NOT_A_RENDITION if is_name(name) else BAD_STREAM_NAME


def rendition_name(name: str, rung: str) -> str:
    """The playback name of the rung ``rung`` of the stream ``name``."""
    return f"{name}{RENDITION_MARK}{rung}"


class Wire(enum.Enum):
    """The protocol by which a session publishes or plays."""

    RTMP = "rtmp"
    RTMPS = "rtmps"
    HTTP_FLV = "http-flv"
    WS_FLV = "ws-flv"
    HLS = "hls"
    DASH = "dash"
    PULL = "pull"
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


class EncoderPolicy(enum.Enum):
    """What happens when an encoder fails: SOFTWARE takes over, the rung is dropped (DROP_RUNG), all rungs are dropped and the
    source goes on as it came (PASSTHROUGH), or the publisher is sent away (FAIL)."""

    SOFTWARE = "software"
    DROP_RUNG = "drop_rung"
    PASSTHROUGH = "passthrough"
    FAIL = "fail"


#: Bounds of what may be asked for: lines of a picture, bits a second, pictures a second, rungs, seconds between keyframes.
MOST_LINES, MOST_BITRATE, MOST_FRAME_RATE, MOST_RUNGS, LONGEST_INTERVAL = 8640, 1_000_000_000, 1000.0, 32, 60.0

#: What sound is encoded to.
SOUNDS = frozenset({Codec.AAC})


@dataclass(frozen=True, slots=True)
class Rung:
    """One rendition that is wanted. ``height`` is the shorter side of the picture in pixels (0: sound alone, 128 kbit/s or so);
    ``bitrate`` in bits a second (0: what suits the size); ``frame_rate`` is a cap (0: the source's). ``reencode``: its pictures,
    or sound alone, are encoded also where the source is like it already. Raises ValueError for a name that no address can hold,
    and for numbers out of bounds."""

    name: str
    height: int
    bitrate: int = 0
    codec: Codec = Codec.H264
    frame_rate: float = 0.0
    constant_bitrate: bool = False
    encoder: str = ""
    reencode: bool = False

    def __post_init__(self) -> None:
        if RUNG_NAME.fullmatch(self.name) is None:
            raise ValueError(f"{self.name!r} cannot name a rung")
        within = 0 <= self.height <= MOST_LINES and 0 <= self.bitrate <= MOST_BITRATE and 0 <= self.frame_rate <= MOST_FRAME_RATE
        if not within:
            raise ValueError(f"rung {self.name}: height, bitrate or frame_rate is out of bounds")


@dataclass(frozen=True, slots=True)
class Ladder:
    """The renditions of a stream. ``encoder`` and ``policy`` are the configuration's where they are empty. Keyframes are where
    the source has them, and no further apart than ``keyframe_interval`` (seconds, 0: as far as they come). ``reencode`` of a
    rung: also where the source is like it already and would be passed through. ``audio_codec`` is what sound of another one
    becomes. Raises ValueError for too many rungs, an interval out of bounds, or a sound that is not made here."""

    rungs: tuple[Rung, ...]
    encoder: str = ""
    policy: EncoderPolicy | None = None
    keyframe_interval: float = 0.0
    audio_codec: Codec = Codec.AAC

    def __post_init__(self) -> None:
        if self.audio_codec not in SOUNDS:
            raise ValueError(f"{self.audio_codec.value} is not made here")
        if len(self.rungs) > MOST_RUNGS or not 0 <= self.keyframe_interval <= LONGEST_INTERVAL:
            raise ValueError(f"{len(self.rungs)} rungs, a keyframe every {self.keyframe_interval} s: out of bounds")


@dataclass(frozen=True, slots=True)
class RelayTarget:
    """Where a stream goes on to: an ``rtmp://`` or ``rtmps://`` address whose last part is a key, so kept out of ``repr``.
    ``rendition`` is a rung's name, or empty for the source. ``id`` is the asker's own and names the Relay from then on."""

    id: str
    url: str = field(repr=False)
    rendition: str = ""


class RecordingFormat(enum.Enum):
    """What a recording is written as; MP4 is fragmented."""

    MP4 = "mp4"
    TS = "ts"
    FLV = "flv"
    MKV = "mkv"


@dataclass(frozen=True, slots=True)
class RecordingOrder:
    """That a stream is recorded. ``id`` is the asker's own. None and empty: as the configuration says. Durations in seconds;
    0 does not split. ``pre_roll``: begin with what is kept since the last keyframe."""

    id: str
    rendition: str = ""
    format: RecordingFormat | None = None
    split_duration: float | None = None
    split_bytes: int | None = None
    pre_roll: bool = True


@dataclass(frozen=True, slots=True)
class Slate:
    """What stands in for a source that is lost: the file at ``path``, looped, or a plain picture and silence where it is empty.
    For at most ``seconds``, then the stream ends (0: for as long as it takes)."""

    path: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Pacing:
    """How a stream is packaged: durations in seconds, ``window`` in segments. Short ones are low latency and many requests."""

    segment_duration: float
    part_duration: float
    window: int


@dataclass(frozen=True, slots=True)
class PublishGrant:
    """Leave to publish under ``name``, and what is to be made of it. ``pacing`` None: as the configuration says."""

    name: str
    ladder: Ladder | None = None
    relays: tuple[RelayTarget, ...] = ()
    recordings: tuple[RecordingOrder, ...] = ()
    slate: Slate | None = None
    pacing: Pacing | None = None


class InputType(enum.Enum):
    """What a pull opens."""

    RTMP = "rtmp"
    RTSP = "rtsp"
    HTTP = "http"
    HLS = "hls"
    FILE = "file"
    SRT = "srt"


@dataclass(frozen=True, slots=True)
class PullSource:
    """Something to fetch and publish; ``url`` may hold a password, so kept out of ``repr``. ``loop``: a file begins again."""

    type: InputType
    url: str = field(repr=False)
    loop: bool = False


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


__all__ = [
    "Authorizer", "Codec", "EncoderPolicy", "EventSink", "InputType", "Ladder", "NAME", "Pacing", "PlayGrant", "PlayRequest",
    "PublishGrant", "PublishRequest", "PullSource", "RENDITION_MARK", "RecordingFormat", "RecordingOrder", "RelayTarget", "Rung",
    "SESSION_TOKEN", "Slate", "Wire", "is_name", "rendition_name",
]  # fmt: skip
