"""Commands (RTMP 1.0, section 7.2): what a message says by name, and the answers. Encoders' quirks are dealt with here."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from protocols.errors import RemoteProtocolError
from protocols.rtmp import amf0
from protocols.rtmp.events import Capabilities, ConnectRequested

#: Values in one command. A connect that lists every codec has some sixty.
MAX_VALUES = 128

_PREFIXES = ("flv:", "mp4:", "mp3:", "id3:")


class StatusCode(enum.StrEnum):
    """Codes in onStatus and ``_error``. ffmpeg shows any refusal's description; OBS stops at once for PUBLISH_REJECTED."""

    CONNECT_SUCCESS = "NetConnection.Connect.Success"
    CONNECT_INVALID_APP = "NetConnection.Connect.InvalidApp"
    CALL_FAILED = "NetConnection.Call.Failed"
    RECONNECT_REQUEST = "NetConnection.Connect.ReconnectRequest"
    PUBLISH_START = "NetStream.Publish.Start"
    PUBLISH_REJECTED = "NetStream.Publish.Rejected"
    UNPUBLISH_SUCCESS = "NetStream.Unpublish.Success"
    PLAY_RESET = "NetStream.Play.Reset"
    PLAY_START = "NetStream.Play.Start"
    PLAY_STOP = "NetStream.Play.Stop"
    PLAY_FAILED = "NetStream.Play.Failed"
    PLAY_NOT_FOUND = "NetStream.Play.StreamNotFound"
    PLAY_UNPUBLISH = "NetStream.Play.UnpublishNotify"
    PAUSE_NOTIFY = "NetStream.Pause.Notify"
    UNPAUSE_NOTIFY = "NetStream.Unpause.Notify"
    SEEK_FAILED = "NetStream.Seek.Failed"


@dataclass(frozen=True, slots=True)
class Command:
    """``arguments`` is everything behind name and transaction id; the first one is the command object, often null."""

    name: str
    transaction: float
    arguments: list[object] = field(repr=False)  # a stream key, a token …

    def argument(self, index: int) -> object:
        return self.arguments[index] if index < len(self.arguments) else None

    def first_object(self) -> Mapping[str, object]:
        """The first argument that is an object, or an empty one."""
        return next((value for value in self.arguments if isinstance(value, Mapping)), {})


def read_command(body: bytes, *, amf3: bool = False) -> Command:
    """The command in a message body. Type 17 (``amf3``) puts a zero in front of AMF0 that may hold AMF3 values."""
    if amf3:
        body = body.removeprefix(b"\x00")
    values = amf0.decode_all(body, MAX_VALUES)
    name = values[0] if values else None
    if not isinstance(name, str):
        raise RemoteProtocolError("command without a name")
    return Command(name, number(values[1] if len(values) > 1 else None) or 0.0, values[2:])


def result(transaction: float, *values: object) -> bytes:
    """Body of the ``_result`` to the command of that transaction."""
    return amf0.encode("_result", transaction, *values)


def error(transaction: float, code: str, description: str, **properties: object) -> bytes:
    """Body of the ``_error`` to the command of that transaction."""
    return amf0.encode("_error", transaction, None, status("error", code, description, **properties))


def on_status(level: str, code: str, description: str, **properties: object) -> bytes:
    """Body of an onStatus."""
    return amf0.encode("onStatus", 0.0, None, status(level, code, description, **properties))


def status(level: str, code: str, description: str, **properties: object) -> dict[str, object]:
    """The information object of onStatus, ``_result`` and ``_error`` (section 7.2.2)."""
    return {"level": level, "code": str(code), "description": description, **properties}


def read_status(command: Command) -> tuple[str, str, str, Mapping[str, object]]:
    """Level, code and description of a status that somebody sent, and the whole object."""
    # In _result and _error the properties come first and the information last.
    objects = [value for value in command.arguments if isinstance(value, Mapping)]
    information: Mapping[str, object] = objects[-1] if objects else {}
    return text(information.get("level")), text(information.get("code")), text(information.get("description")), information


def read_connect(command: Command) -> ConnectRequested:
    """What a client wants to connect to. Raises RemoteProtocolError if it does not say."""
    properties = command.first_object()
    tc_url = text(properties.get("tcUrl"))
    app = properties.get("app")
    if app is None and tc_url:
        # Some hardware encoders leave the app out of the object.
        app = tc_url.partition("://")[2].partition("/")[2]
    if not isinstance(app, str):
        raise RemoteProtocolError("connect without an app")
    app, _, query = app.partition("?")
    return ConnectRequested(
        app=app.strip("/"),  # OBS keeps the slash at the end of its server field
        tc_url=tc_url,
        query=query or tc_url.partition("?")[2],
        encoder=text(properties.get("flashVer")),
        capabilities=read_capabilities(properties),
    )


def read_capabilities(*objects: Mapping[str, object]) -> Capabilities:
    """What the objects of a connect, or of the answer to one, say about Enhanced RTMP."""
    fourccs: set[str] = set()
    extended = 0
    for properties in objects:
        for name in ("fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap"):
            named = properties.get(name)
            if isinstance(named, list | Mapping):
                fourccs.update(fourcc for fourcc in named if isinstance(fourcc, str))
        bits = number(properties.get("capsEx"))
        if bits is not None and 0 <= bits < 1 << 32:
            extended |= int(bits)
    return Capabilities(frozenset(fourccs), extended)


def speaks_enhanced(command: Command) -> bool:
    """The client said something that only Enhanced RTMP knows, so that it expects the same of the answer."""
    properties = command.first_object()
    return any(name in properties for name in ("fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx"))


def read_name(value: object) -> tuple[str, str]:
    """Stream name and query of ``"name?token=x"``, ``"mp4:name"`` …: unchecked, for the caller to judge."""
    if not isinstance(value, str):
        raise RemoteProtocolError("stream name that is not a string")
    name, _, query = value.partition("?")
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return name[len(prefix) :], query
    return name, query


def read_stream_id(value: object) -> int | None:
    """A message stream id in an argument; None for what cannot be one."""
    candidate = number(value)
    if candidate is not None and 0 < candidate < 1 << 32:
        return int(candidate)
    return None


def number(value: object) -> float | None:
    """``value`` as a float if it is a number, else None. AMF3 also knows integers."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def text(value: object) -> str:
    """``value`` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""
