"""The client's side of an RTMP connection: what a relay, a test and the bench publish and play with."""

from collections.abc import Mapping

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.rtmp import amf0
from protocols.rtmp.command import Command, StatusCode, read_capabilities, read_status, read_stream_id, text
from protocols.rtmp.endpoint import Endpoint
from protocols.rtmp.events import (
    CommandFailed,
    Connected,
    Event,
    ReconnectRequested,
    StatusReceived,
    StreamCreated,
    StreamEnded,
)
from protocols.rtmp.handshake import SCHEMES, ClientHandshake
from protocols.rtmp.limits import SessionLimits
from protocols.rtmp.message import COMMAND, DATA, Control, UserControl
from protocols.rtmp.states import STREAM_TRANSITIONS, SessionState, SessionTrigger, StreamState, StreamTrigger

_DEFAULT_LIMITS = SessionLimits()
_ENCODER = "FMLE/3.0 (compatible; mediaserver)"
_BUFFER_MILLISECONDS = 3000


class ClientSession(Endpoint):
    """One connection that publishes or plays one stream.

    ``start()``, then ``publish(key)`` or ``play(name)`` at once or later: what must wait for the server waits. Publishing is
    allowed once ``StatusReceived`` says NetStream.Publish.Start (``stream_state`` is PUBLISHING). ``scheme`` None: a handshake
    without digests. ``properties`` go into connect, ``enhanced.server_capabilities()`` for example.
    """

    __slots__ = ("_app", "_calls", "_goal", "_hello", "_properties", "_tc_url", "_transaction", "stream_id", "stream_state")

    def __init__(
        self,
        app: str,
        tc_url: str,
        *,
        encoder: str = _ENCODER,
        properties: Mapping[str, object] | None = None,
        limits: SessionLimits = _DEFAULT_LIMITS,
        entropy: bytes | None = None,
        scheme: int | None = SCHEMES[1],
    ) -> None:
        handshake = ClientHandshake(entropy, scheme=scheme)
        super().__init__(handshake, limits)
        self._trusted = True  # a client has chosen its server
        self._reader.reassembly_limit = limits.reassembly
        self._hello = handshake.hello
        self._app = app
        self._tc_url = tc_url
        self._properties = {"type": "nonprivate", "flashVer": encoder, **(properties or {})}
        self._calls: dict[float, str] = {}  # what has not been answered, by transaction id
        self._transaction = 0
        self._goal: Command | None = None
        self.stream_id = 0
        self.stream_state: StreamState | None = None

    def start(self) -> None:
        """Say hello; connect follows by itself."""
        self._out.append(self._hello)
        self._hello = b""

    def publish(self, key: str, kind: str = "live") -> None:
        """Publish as ``key``, which may end in ``?query``."""
        self._aim(Command("publish", 0.0, [None, key, kind]))

    def play(self, name: str, start: float = -2.0) -> None:
        """Play ``name``, which may end in ``?query``."""
        self._aim(Command("play", 0.0, [None, name, start]))

    def pause(self, *, paused: bool) -> None:
        """Hold a stream that is being played, or go on."""
        if self.stream_state is not StreamState.PLAYING:
            raise LocalProtocolError("pause without a stream that plays")
        self._call("pause", None, paused, 0.0, stream_id=self.stream_id, answered=False)

    def send_media(self, type_id: int, timestamp: int, body: bytes) -> None:
        """Send an audio (8) or video (9) message, with an FLV tag body and milliseconds modulo 2³²."""
        if self.stream_state is not StreamState.PUBLISHING:
            raise LocalProtocolError("media before the server allowed it")
        self._send(type_id, self.stream_id, timestamp, body)

    def send_data(self, timestamp: int, body: bytes) -> None:
        """Send a data message: an AMF0 body such as ``"@setDataFrame", "onMetaData", {…}``."""
        self.send_media(DATA, timestamp, body)

    def pieces_to_send(self) -> list[bytes]:
        """What has been queued since the last call, as ``data_to_send`` but not joined: bodies are the ones that were given."""
        pieces, self._out = self._out, []
        return pieces

    def close(self) -> None:
        """Say goodbye as encoders do; the connection is to be closed once this is written."""
        if self.stream_id:
            if self._goal is not None and self._goal.name == "publish":
                self._call("FCUnpublish", None, self._goal.argument(1))
            self._call("deleteStream", None, float(self.stream_id), answered=False)
        self.state = SessionState.CLOSED

    # -- out ----------------------------------------------------------------------------------------------------------

    def _aim(self, goal: Command) -> None:
        if self._goal is not None:
            raise LocalProtocolError("one stream a connection")
        self._goal = goal
        if self.state is SessionState.CONNECTED:
            self._create(goal)

    def _opened(self) -> None:
        self._move(SessionTrigger.CONNECT)
        self._call("connect", {"app": self._app, "tcUrl": self._tc_url, **self._properties})

    def _create(self, goal: Command) -> None:
        if goal.name == "publish":
            self._call("releaseStream", None, goal.argument(1))
            self._call("FCPublish", None, goal.argument(1))
        self._call("createStream", None)

    def _call(self, name: str, *values: object, stream_id: int = 0, answered: bool = True) -> None:
        if answered:
            self._transaction += 1
            self._calls[self._transaction] = name
        self._send(COMMAND, stream_id, 0, amf0.encode(name, self._transaction if answered else 0, *values))

    # -- in -----------------------------------------------------------------------------------------------------------

    def _media_stream(self, stream_id: int) -> int | None:
        return stream_id if stream_id == self.stream_id and self.stream_state is not None else None

    def _stream_ended(self, stream_id: int, events: list[Event]) -> None:
        events.append(StreamEnded(stream_id))

    def _command(self, command: Command, stream_id: int, events: list[Event]) -> None:
        if command.name == "_result":
            self._on_result(command, events)
        elif command.name == "_error":
            self._on_error(command, events)
        elif command.name == "onStatus":
            self._on_status(command, stream_id, events)

    def _on_result(self, command: Command, events: list[Event]) -> None:
        name = self._calls.pop(command.transaction, "")
        if name == "connect":
            self._move(SessionTrigger.ACCEPT)
            objects = [value for value in command.arguments if isinstance(value, Mapping)]
            merged: dict[str, object] = {}
            for each in objects:
                merged |= each
            events.append(Connected(merged, read_capabilities(*objects)))
            self._announce_window()
            self._set_chunk_size()
            if self._goal is not None:
                self._create(self._goal)
        elif name == "createStream" and self._goal is not None:
            stream_id = read_stream_id(command.argument(1))
            if stream_id is None:
                raise RemoteProtocolError("createStream answered without a message stream id")
            self.stream_id = stream_id
            events.append(StreamCreated(stream_id))
            self._pursue(self._goal)

    def _pursue(self, goal: Command) -> None:
        """The stream is there: publish or play on it."""
        self.stream_state = StreamState.CREATED
        self._move_stream(StreamTrigger.PUBLISH if goal.name == "publish" else StreamTrigger.PLAY)
        if goal.name == "play":
            self._reader.media_stream = self.stream_id
            buffer = self.stream_id.to_bytes(4, "big") + _BUFFER_MILLISECONDS.to_bytes(4, "big")
            self._control(Control.USER_CONTROL, UserControl.SET_BUFFER_LENGTH.to_bytes(2, "big") + buffer)
        self._call(goal.name, *goal.arguments, stream_id=self.stream_id, answered=False)

    def _on_error(self, command: Command, events: list[Event]) -> None:
        name = self._calls.pop(command.transaction, "")
        if name in ("connect", "createStream"):  # servers that do not know releaseStream and its like say so in vain
            _, code, description, _ = read_status(command)
            if name == "connect":
                self._move(SessionTrigger.REFUSE)
            events.append(CommandFailed(name, code, description))

    def _on_status(self, command: Command, stream_id: int, events: list[Event]) -> None:
        level, code, description, information = read_status(command)
        if code == StatusCode.RECONNECT_REQUEST:
            events.append(ReconnectRequested(text(information.get("tcUrl")), description))
            return
        if code == StatusCode.PUBLISH_START:
            self._move_stream(StreamTrigger.ACCEPT_PUBLISH)
        elif code == StatusCode.PLAY_START:
            self._move_stream(StreamTrigger.ACCEPT_PLAY)
        elif level == "error" or code == StatusCode.UNPUBLISH_SUCCESS:
            self._move_stream(StreamTrigger.REFUSE_PUBLISH)
            self._move_stream(StreamTrigger.REFUSE_PLAY)
            self._move_stream(StreamTrigger.END_PUBLISH)
        events.append(StatusReceived(stream_id, level, code, description))

    def _move_stream(self, trigger: StreamTrigger) -> None:
        """Follow what the server says; what does not fit the present state (a second Publish.Start) changes nothing."""
        if self.stream_state is not None:
            self.stream_state = STREAM_TRANSITIONS.get((self.stream_state, trigger), self.stream_state)
