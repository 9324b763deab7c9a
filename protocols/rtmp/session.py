"""The server's side of an RTMP connection: bytes in, events out; answers in, bytes out."""

from collections.abc import Callable

from protocols.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from protocols.rtmp import amf0
from protocols.rtmp.command import (
    Command,
    StatusCode,
    error,
    number,
    on_status,
    read_connect,
    read_name,
    read_stream_id,
    result,
    speaks_enhanced,
    status,
    text,
)
from protocols.rtmp.endpoint import WINDOW, Endpoint
from protocols.rtmp.enhanced import server_capabilities
from protocols.rtmp.events import (
    Capabilities,
    Event,
    PauseRequested,
    PlayRequested,
    PublishRequested,
    StreamClosed,
)
from protocols.rtmp.handshake import ServerHandshake
from protocols.rtmp.limits import SessionLimits
from protocols.rtmp.message import COMMAND, Control, UserControl, uint32, user_control
from protocols.rtmp.states import STREAM_TRANSITIONS, SessionState, SessionTrigger, StreamState, StreamTrigger

__all__ = ["ServerSession", "SessionLimits", "StatusCode"]

_DEFAULT_LIMITS = SessionLimits()
_PUBLISH = (StreamState.PUBLISH_REQUESTED, StreamState.PUBLISHING)
_CLOSING = {
    StreamState.PUBLISH_REQUESTED: StreamTrigger.REFUSE_PUBLISH,
    StreamState.PUBLISHING: StreamTrigger.END_PUBLISH,
    StreamState.PLAY_REQUESTED: StreamTrigger.REFUSE_PLAY,
    StreamState.PLAYING: StreamTrigger.END_PLAY,
}
_DYNAMIC = b"\x02"  # the limit type of Set Peer Bandwidth
_NO_COMMAND = Command("", 0.0, [])


class ServerSession(Endpoint):
    """One client's connection.

    Every ``…Requested`` event is to be answered with ``accept_…`` or ``refuse_…``, at once or later. The answers return
    False and do nothing when the peer has meanwhile closed what they are about, as ``StreamClosed`` has told, even if it has
    asked for something else on the same message stream since. Media may arrive from ``PublishRequested`` on; what arrives
    behind the end of a publication is dropped.
    """

    __slots__ = ("_connect", "_deferred", "_published", "_requests", "_serial", "_streams", "capabilities")

    def __init__(self, limits: SessionLimits = _DEFAULT_LIMITS, *, entropy: bytes | None = None) -> None:
        super().__init__(ServerHandshake(entropy), limits)
        self.capabilities = Capabilities()
        self._connect = _NO_COMMAND  # the one to answer
        self._deferred: list[tuple[int, int, bytes]] | None = None  # answers that must not overtake the one to connect
        self._streams: dict[int, StreamState] = {}
        self._requests: dict[int, PublishRequested | PlayRequested] = {}  # what each stream in use was asked for
        self._serial = 0
        self._published = False

    # -- answers ------------------------------------------------------------------------------------------------------

    def accept_connect(self) -> bool:
        """Let the client in."""
        if self.state is not SessionState.CONNECT_REQUESTED:
            return self._gone("accept_connect")
        self._move(SessionTrigger.ACCEPT)
        properties: dict[str, object] = {"fmsVer": "FMS/3,5,7,7009", "capabilities": 31.0, "mode": 1.0}
        connect, self._connect = self._connect, _NO_COMMAND
        if speaks_enhanced(connect):
            properties |= server_capabilities()
        encoding = number(connect.first_object().get("objectEncoding")) or 0.0
        information = status("status", StatusCode.CONNECT_SUCCESS, "Connection succeeded.", objectEncoding=encoding)
        deferred, self._deferred = self._deferred or [], None
        self._reply(0, result(connect.transaction, properties, information))
        for type_id, stream_id, body in deferred:
            self._send(type_id, stream_id, 0, body)
        return True

    def refuse_connect(self, description: str, code: str = StatusCode.CONNECT_INVALID_APP) -> bool:
        """Send the client away, for want of such an app unless ``code`` says else. What it says from now on is dropped."""
        if self.state is not SessionState.CONNECT_REQUESTED:
            return self._gone("refuse_connect")
        self._move(SessionTrigger.REFUSE)
        self._deferred = None
        self._reply(0, error(self._connect.transaction, code, description))
        return True

    def accept_publish(self, request: PublishRequested) -> bool:
        """Tell the encoder to go ahead."""
        if not self._answer(request, StreamTrigger.ACCEPT_PUBLISH):
            return False
        self._trusted = True
        self._reader.reassembly_limit = self._limits.reassembly
        self._user_event(UserControl.STREAM_BEGIN, request.stream_id)
        self._status(request.stream_id, "status", StatusCode.PUBLISH_START, "Publishing started.")
        return True

    def refuse_publish(self, request: PublishRequested, code: str, description: str) -> bool:
        """Send the encoder away; ffmpeg shows ``description``, OBS stops for PUBLISH_REJECTED."""
        if not self._answer(request, StreamTrigger.REFUSE_PUBLISH):
            return False
        self._status(request.stream_id, "error", code, description)
        return True

    def end_publish(self, stream_id: int, code: str, description: str) -> bool:
        """End a publication from our side."""
        if not self._end(stream_id, StreamTrigger.END_PUBLISH):
            return False
        level = "status" if code == StatusCode.UNPUBLISH_SUCCESS else "error"
        self._status(stream_id, level, code, description)
        return True

    def accept_play(self, request: PlayRequested) -> bool:
        """Media may follow, chunked by ``split_message`` with CHUNK_SIZE, behind what ``data_to_send`` then returns."""
        if not self._answer(request, StreamTrigger.ACCEPT_PLAY):
            return False
        self._trusted = True
        self._user_event(UserControl.STREAM_BEGIN, request.stream_id)
        self._status(request.stream_id, "status", StatusCode.PLAY_RESET, "Playing and resetting.")
        self._status(request.stream_id, "status", StatusCode.PLAY_START, "Started playing.")
        return True

    def refuse_play(self, request: PlayRequested, code: str, description: str) -> bool:
        """Send the player away."""
        if not self._answer(request, StreamTrigger.REFUSE_PLAY):
            return False
        self._status(request.stream_id, "error", code, description)
        return True

    def end_play(self, stream_id: int, reason: str) -> bool:
        """Tell the player that there is nothing more to play."""
        if not self._end(stream_id, StreamTrigger.END_PLAY):
            return False
        self._user_event(UserControl.STREAM_EOF, stream_id)
        self._status(stream_id, "status", StatusCode.PLAY_UNPUBLISH, reason)
        self._status(stream_id, "status", StatusCode.PLAY_STOP, reason)
        return True

    def request_reconnect(self, tc_url: str, description: str) -> bool:
        """Ask the client to come back (Enhanced RTMP v2, "Reconnect Request"), at ``tc_url`` or, if empty, at the same address.

        Returns False, and asks nothing, if the client did not say that it understands this.
        """
        if self.state is not SessionState.CONNECTED or not self.capabilities.reconnect:
            return False
        where = {"tcUrl": tc_url} if tc_url else {}
        self._reply(0, on_status("status", StatusCode.RECONNECT_REQUEST, description, **where))
        return True

    def _opened(self) -> None:
        """The client speaks first."""

    def _stream_ended(self, stream_id: int, events: list[Event]) -> None:
        """Only a server has something that can end."""

    def _gone(self, name: str) -> bool:
        if self.state is not SessionState.CLOSED:
            raise LocalProtocolError(f"{name} while {self.state.value}")
        return False

    def _answer(self, request: PublishRequested | PlayRequested, trigger: StreamTrigger) -> bool:
        """Whether an answer still has somebody to go to; if so the stream has moved."""
        return self._requests.get(request.stream_id) == request and self._end(request.stream_id, trigger)

    def _end(self, stream_id: int, trigger: StreamTrigger) -> bool:
        return self.state is not SessionState.CLOSED and self._move_stream(stream_id, trigger)

    # -- out ----------------------------------------------------------------------------------------------------------

    def _reply(self, stream_id: int, body: bytes, type_id: int = COMMAND) -> None:
        if self._deferred is None:
            self._send(type_id, stream_id, 0, body)
        else:
            self._deferred.append((type_id, stream_id, body))

    def _status(self, stream_id: int, level: str, code: str, description: str) -> None:
        self._reply(stream_id, on_status(level, code, description))

    def _user_event(self, event: UserControl, stream_id: int) -> None:
        self._reply(0, user_control(event, stream_id), Control.USER_CONTROL)

    # -- message streams ----------------------------------------------------------------------------------------------

    def _move_stream(self, stream_id: int, trigger: StreamTrigger) -> bool:
        """Change a stream's state if its present one allows that."""
        before = self._streams.get(stream_id)
        after = None if before is None else STREAM_TRANSITIONS.get((before, trigger))
        if after is None:
            return False
        self._streams[stream_id] = after
        if after is StreamState.PUBLISH_REQUESTED:
            self._reader.media_stream = stream_id
        elif after is StreamState.CREATED:
            del self._requests[stream_id]
        if before in _PUBLISH and after is StreamState.CREATED:
            self._reader.media_stream = next((other for other in self._streams if self._streams[other] in _PUBLISH), None)
        return True

    def _media_stream(self, stream_id: int) -> int | None:
        if self._streams.get(stream_id) in _PUBLISH:
            return stream_id
        if stream_id == 0 and self._reader.media_stream is not None:
            return self._reader.media_stream  # some encoders number only their commands
        if not self._published:
            raise RemoteProtocolError(f"media on message stream {stream_id}, which nobody publishes on")
        return None

    def _close_stream(self, stream_id: int, events: list[Event]) -> None:
        """The peer ends what it does on a stream; the stream itself stays."""
        state = self._streams.get(stream_id, StreamState.CREATED)
        if state is not StreamState.CREATED:
            self._move_stream(stream_id, _CLOSING[state])
            events.append(StreamClosed(stream_id))
            if state in _PUBLISH:
                self._status(stream_id, "status", StatusCode.UNPUBLISH_SUCCESS, "Publishing stopped.")

    # -- commands -----------------------------------------------------------------------------------------------------

    def _command(self, command: Command, stream_id: int, events: list[Event]) -> None:
        if command.name == "connect":
            self._on_connect(command, events)
        elif self.state is SessionState.AWAITING_CONNECT:
            raise RemoteProtocolError(f"{command.name[:32]!r} before connect")
        elif command.name in _COMMANDS:
            _COMMANDS[command.name](self, command, stream_id, events)
        elif command.transaction and command.name not in ("_result", "_error"):
            self._reply(stream_id, error(command.transaction, StatusCode.CALL_FAILED, "Unknown command."))

    def _on_connect(self, command: Command, events: list[Event]) -> None:
        self._move(SessionTrigger.CONNECT)
        request = read_connect(command)
        self._connect = command
        self.capabilities = request.capabilities
        self._announce_window()
        self._control(Control.SET_PEER_BANDWIDTH, uint32(WINDOW) + _DYNAMIC)
        # ffmpeg takes over the chunk size that it is told here, which makes nearly all its messages one chunk.
        self._set_chunk_size()
        self._deferred = []
        events.append(request)

    def _on_create_stream(self, command: Command, _stream_id: int, _events: list[Event]) -> None:
        if len(self._streams) >= self._limits.message_streams:
            raise LimitExceeded(f"more than {self._limits.message_streams} message streams")
        stream_id = next(free for free in range(1, len(self._streams) + 2) if free not in self._streams)
        self._streams[stream_id] = StreamState.CREATED
        self._reply(0, result(command.transaction, None, float(stream_id)))

    def _on_delete_stream(self, command: Command, _stream_id: int, events: list[Event]) -> None:
        stream_id = read_stream_id(command.argument(1))
        if stream_id in self._streams:
            self._close_stream(stream_id, events)
            del self._streams[stream_id]

    def _on_close_stream(self, _command: Command, stream_id: int, events: list[Event]) -> None:
        self._close_stream(stream_id, events)

    def _on_release_stream(self, command: Command, _stream_id: int, _events: list[Event]) -> None:
        if command.transaction:
            self._reply(0, result(command.transaction, None, None))

    def _on_fc_publish(self, command: Command, stream_id: int, events: list[Event]) -> None:
        self._on_release_stream(command, stream_id, events)
        # Flash Media Live Encoder waits for this one.
        self._reply(0, amf0.encode("onFCPublish", 0.0, None, status("status", StatusCode.PUBLISH_START, "FCPublish.")))

    def _on_fc_unpublish(self, command: Command, stream_id: int, events: list[Event]) -> None:
        key = read_name(text(command.argument(1)))[0]
        for request in tuple(self._requests.values()):
            if isinstance(request, PublishRequested) and request.key == key:
                self._close_stream(request.stream_id, events)
        self._on_release_stream(command, stream_id, events)
        information = status("status", StatusCode.UNPUBLISH_SUCCESS, "FCUnpublish.")
        self._reply(0, amf0.encode("onFCUnpublish", 0.0, None, information))

    def _on_fc_subscribe(self, command: Command, stream_id: int, events: list[Event]) -> None:
        self._on_release_stream(command, stream_id, events)
        self._reply(0, amf0.encode("onFCSubscribe", 0.0, None, status("status", StatusCode.PLAY_START, "FCSubscribe.")))

    def _on_get_stream_length(self, command: Command, _stream_id: int, _events: list[Event]) -> None:
        self._reply(0, result(command.transaction, None, 0.0))  # live: no length

    def _on_publish(self, command: Command, stream_id: int, events: list[Event]) -> None:
        key, query = read_name(command.argument(1))
        kind = text(command.argument(2)) or "live"
        self._serial += 1
        self._request(PublishRequested(stream_id, key, query, kind, self._serial), StreamTrigger.PUBLISH, events)
        self._published = True

    def _on_play(self, command: Command, stream_id: int, events: list[Event]) -> None:
        name, query = read_name(command.argument(1))
        start = number(command.argument(2))
        self._serial += 1
        request = PlayRequested(stream_id, name, query, -2.0 if start is None else start, self._serial)
        self._request(request, StreamTrigger.PLAY, events)

    def _request(self, request: PublishRequested | PlayRequested, trigger: StreamTrigger, events: list[Event]) -> None:
        """A stream is asked to do something; what it did until now ends, unless that has not even been answered yet."""
        stream_id = request.stream_id
        if self._streams.get(stream_id) in (StreamState.PUBLISHING, StreamState.PLAYING):
            self._close_stream(stream_id, events)
        if not self._move_stream(stream_id, trigger):
            state = self._streams.get(stream_id)
            raise RemoteProtocolError(f"{trigger.value} on message stream {stream_id}: {state.value if state else 'unknown'}")
        self._requests[stream_id] = request
        events.append(request)

    def _on_pause(self, command: Command, stream_id: int, events: list[Event]) -> None:
        if self._streams.get(stream_id) is StreamState.PLAYING:
            paused = command.argument(1) is True
            code = StatusCode.PAUSE_NOTIFY if paused else StatusCode.UNPAUSE_NOTIFY
            self._status(stream_id, "status", code, "Paused." if paused else "Went on.")
            events.append(PauseRequested(stream_id, paused))

    def _on_seek(self, _command: Command, stream_id: int, _events: list[Event]) -> None:
        self._status(stream_id, "error", StatusCode.SEEK_FAILED, "This is live: there is nothing to seek in.")

    def _on_ignored(self, _command: Command, _stream_id: int, _events: list[Event]) -> None:
        """receiveAudio, receiveVideo and such: nothing to answer, and nothing that a live stream could do for them."""


_COMMANDS: dict[str, Callable[[ServerSession, Command, int, list[Event]], None]] = {
    "createStream": ServerSession._on_create_stream,
    "deleteStream": ServerSession._on_delete_stream,
    "closeStream": ServerSession._on_close_stream,
    "releaseStream": ServerSession._on_release_stream,
    "FCPublish": ServerSession._on_fc_publish,
    "FCUnpublish": ServerSession._on_fc_unpublish,
    "FCSubscribe": ServerSession._on_fc_subscribe,
    "getStreamLength": ServerSession._on_get_stream_length,
    "publish": ServerSession._on_publish,
    "play": ServerSession._on_play,
    "pause": ServerSession._on_pause,
    "pauseRaw": ServerSession._on_pause,
    "seek": ServerSession._on_seek,
    "receiveAudio": ServerSession._on_ignored,
    "receiveVideo": ServerSession._on_ignored,
}
