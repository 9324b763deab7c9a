"""What both ends of an RTMP connection do: handshake, chunks, acknowledgements, pings, media in and out."""

from abc import ABC, abstractmethod
from typing import Any

from protocols.errors import LimitExceeded, RemoteProtocolError
from protocols.rtmp.chunk import DEFAULT_CHUNK_SIZE, split_message
from protocols.rtmp.chunk_reader import ChunkReader
from protocols.rtmp.command import Command, read_command
from protocols.rtmp.events import DataReceived, Event, MediaReceived, PongReceived
from protocols.rtmp.handshake import Handshake
from protocols.rtmp.limits import SessionLimits
from protocols.rtmp.message import (
    AGGREGATE,
    AUDIO,
    COMMAND,
    COMMAND_AMF3,
    DATA,
    DATA_AMF3,
    METADATA_MARKS,
    SHARED_OBJECT,
    SHARED_OBJECT_AMF3,
    VIDEO,
    Control,
    Message,
    UserControl,
    read_uint32,
    split_aggregate,
    uint32,
    user_control,
)
from protocols.rtmp.states import SESSION_TRANSITIONS, SessionState, SessionTrigger

#: Our chunk size once the peer has been told: a message is nearly always one chunk.
CHUNK_SIZE = 60_000
#: What we ask to be acknowledged after, and the bandwidth limit that we suggest: FMS's figure.
WINDOW = 2_500_000


class Endpoint(ABC):
    """One end of a connection. ``receive_data`` → events; ``data_to_send`` → what to write.

    After an error, and once the connection is refused, whatever arrives is dropped.
    """

    __slots__ = (
        "_acknowledge_at",
        "_chunk_size",
        "_commands",
        "_handshake",
        "_limits",
        "_metadata",
        "_out",
        "_peer_window",
        "_reader",
        "_tags",
        "_trusted",
        "_window",
        "acknowledged",
        "bytes_received",
        "state",
    )

    def __init__(self, handshake: Handshake, limits: SessionLimits) -> None:
        self.state = SessionState.HANDSHAKE
        self.bytes_received = 0
        self.acknowledged = 0  # the peer's last word on how many of our bytes it has, modulo 2³²
        self._limits = limits
        self._handshake: Handshake | None = handshake
        self._reader = ChunkReader(limits)
        self._reader.reassembly_limit = limits.reassembly_before_media
        self._trusted = False  # whether a publish or a play was accepted
        self._commands = 0  # since the connection began; once it is trusted, in this read
        self._tags = 0  # of aggregates, in this read
        self._metadata = 0  # in this read
        self._out: list[bytes] = []
        self._chunk_size = DEFAULT_CHUNK_SIZE
        self._window = 0  # the window that we announced
        self._peer_window = WINDOW  # 0: the peer wants no acknowledgements
        self._acknowledge_at = WINDOW

    def receive_data(self, data: bytes) -> list[Event]:
        """Every event that ``data`` completes. Raises RemoteProtocolError; then the connection is to be closed."""
        self.bytes_received += len(data)
        try:
            if self._handshake is not None or self.state is SessionState.CLOSED:
                data = self._open(data)
            messages: list[Any] = self._reader.receive(data)
            if self.bytes_received >= self._acknowledge_at:
                self._acknowledge()
            if self._reader.only_media:
                return messages
            if self._trusted:
                self._commands = 0
            self._tags = self._metadata = 0
            events: list[Event] = []
            for message in messages:
                self._take(message, events)
        except RemoteProtocolError:
            self.state = SessionState.CLOSED
            raise
        return events

    def data_to_send(self) -> bytes:
        """What has been queued since the last call."""
        if not self._out:
            return b""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def ping(self, timestamp: int) -> None:
        """Ask for a sign of life: the answer is ``PongReceived`` with the same timestamp."""
        self._control(Control.USER_CONTROL, user_control(UserControl.PING_REQUEST, timestamp & 0xFFFFFFFF))

    def _open(self, data: bytes) -> bytes:
        """Pass the handshake. Returns what lies behind it."""
        handshake = self._handshake
        if handshake is None or self.state is SessionState.CLOSED:
            return b""
        data = handshake.receive(data)
        if handshake.reply:
            self._out.append(handshake.reply)
            handshake.reply = b""
        if handshake.done:
            self._handshake = None
            self._move(SessionTrigger.HANDSHAKE_DONE)
            self._opened()
        return data

    @abstractmethod
    def _opened(self) -> None:
        """The handshake is over."""

    def _move(self, trigger: SessionTrigger) -> None:
        state = SESSION_TRANSITIONS.get((self.state, trigger))
        if state is None:
            raise RemoteProtocolError(f"{trigger.value} while {self.state.value}")
        self.state = state

    # -- in -----------------------------------------------------------------------------------------------------------

    def _take(self, message: MediaReceived | Message, events: list[Event]) -> None:
        type_id, stream_id, timestamp, body = message
        if type_id in (AUDIO, VIDEO):
            self._media(type_id, stream_id, timestamp, body, events)
        elif type_id in (COMMAND, COMMAND_AMF3):
            self._commands += 1
            if self._commands > self._limits.commands:
                raise LimitExceeded(f"more than {self._limits.commands} commands")
            self._command(read_command(body, amf3=type_id == COMMAND_AMF3), stream_id, events)
        elif type_id == DATA:
            self._data(stream_id, timestamp, body, events)
        elif type_id == DATA_AMF3:
            self._data(stream_id, timestamp, body.removeprefix(b"\x00"), events)
        elif type_id == AGGREGATE:
            for type_id, timestamp, body in split_aggregate(Message(*message)):
                self._tags += 1
                if self._tags > self._limits.units:
                    raise LimitExceeded(f"aggregates of more than {self._limits.units} tags")
                if type_id in (AUDIO, VIDEO) and body:
                    self._media(type_id, stream_id, timestamp, body, events)
                elif type_id == DATA:
                    self._data(stream_id, timestamp, body, events)
        elif type_id == Control.USER_CONTROL:
            self._user_control(body, events)
        elif type_id not in (SHARED_OBJECT, SHARED_OBJECT_AMF3):
            self._flow(type_id, body)

    def _media(self, type_id: int, stream_id: int, timestamp: int, body: bytes, events: list[Event]) -> None:
        stream = self._media_stream(stream_id)
        if stream is not None:
            events.append(MediaReceived(type_id, stream, timestamp, body))

    def _data(self, stream_id: int, timestamp: int, body: bytes, events: list[Event]) -> None:
        if body.startswith(METADATA_MARKS):
            self._metadata += 1
            if self._metadata > self._limits.metadata:
                raise LimitExceeded(f"more than {self._limits.metadata} onMetaData at a time")
        stream = self._media_stream(stream_id)
        if stream is not None:
            events.append(DataReceived(stream, timestamp, body))

    @abstractmethod
    def _media_stream(self, stream_id: int) -> int | None:
        """The stream that media with this id belongs to; None: to drop. Raises RemoteProtocolError where it has no business."""

    @abstractmethod
    def _command(self, command: Command, stream_id: int, events: list[Event]) -> None:
        """The peer gave a command."""

    def _flow(self, type_id: int, body: bytes) -> None:
        """Acknowledgement and windows (sections 5.4.3 to 5.4.5)."""
        if type_id == Control.ACKNOWLEDGEMENT:
            self.acknowledged = read_uint32(body)
        elif type_id == Control.WINDOW_ACKNOWLEDGEMENT_SIZE:
            self._peer_window = read_uint32(body)
            self._acknowledge_at = self.bytes_received + self._peer_window
        elif type_id == Control.SET_PEER_BANDWIDTH:
            window = read_uint32(body)
            if window != self._window:
                self._window = window
                self._control(Control.WINDOW_ACKNOWLEDGEMENT_SIZE, uint32(window))
        else:
            raise RemoteProtocolError(f"message of unknown type {type_id}")

    def _user_control(self, body: bytes, events: list[Event]) -> None:
        event = int.from_bytes(body[:2], "big")
        if len(body) < 2:
            raise RemoteProtocolError("user control message without an event type")
        if event == UserControl.PING_REQUEST:
            self._control(Control.USER_CONTROL, user_control(UserControl.PING_RESPONSE, read_uint32(body[2:])))
        elif event == UserControl.PING_RESPONSE:
            events.append(PongReceived(read_uint32(body[2:])))
        elif event == UserControl.STREAM_EOF:
            self._stream_ended(read_uint32(body[2:]), events)

    @abstractmethod
    def _stream_ended(self, stream_id: int, events: list[Event]) -> None:
        """The peer said StreamEOF."""

    def _acknowledge(self) -> None:
        if self._peer_window:
            self._control(Control.ACKNOWLEDGEMENT, uint32(self.bytes_received & 0xFFFFFFFF))
            self._acknowledge_at = self.bytes_received + self._peer_window

    # -- out ----------------------------------------------------------------------------------------------------------

    def _control(self, type_id: Control, body: bytes) -> None:
        self._send(type_id, 0, 0, body)

    def _set_chunk_size(self) -> None:
        self._control(Control.SET_CHUNK_SIZE, uint32(CHUNK_SIZE))
        self._chunk_size = CHUNK_SIZE

    def _announce_window(self) -> None:
        self._window = WINDOW
        self._control(Control.WINDOW_ACKNOWLEDGEMENT_SIZE, uint32(WINDOW))

    def _send(self, type_id: int, stream_id: int, timestamp: int, body: bytes) -> None:
        self._out += split_message(type_id, timestamp, body, self._chunk_size, stream_id)
