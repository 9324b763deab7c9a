"""The server's side of an RTMP connection: bytes in, events out; answers in, bytes out."""

import enum

from protocols.rtmp.events import Event
from protocols.rtmp.limits import SessionLimits
from protocols.rtmp.states import SessionState


class StatusCode(enum.StrEnum):
    """Codes for ``refuse_publish``, ``refuse_play`` and ``end_publish`` that OBS, ffmpeg and rtmpdump understand."""

    PUBLISH_START = "NetStream.Publish.Start"
    PUBLISH_BAD_NAME = "NetStream.Publish.BadName"
    PUBLISH_DENIED = "NetStream.Publish.Denied"
    PUBLISH_REJECTED = "NetStream.Publish.Rejected"
    PUBLISH_FAILED = "NetStream.Publish.Failed"
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
    CONNECT_SUCCESS = "NetConnection.Connect.Success"
    CONNECT_REJECTED = "NetConnection.Connect.Rejected"
    CONNECT_INVALID_APP = "NetConnection.Connect.InvalidApp"
    RECONNECT_REQUEST = "NetConnection.Connect.ReconnectRequest"


class ServerSession:
    """One client's connection.

    The answers ``accept_…`` and ``refuse_…`` return False, and do nothing, when the peer has meanwhile closed what they are
    about; ``StreamClosed`` has told so.
    """

    state: SessionState
    bytes_received: int

    def __init__(self, limits: SessionLimits | None = None, *, entropy: bytes | None = None) -> None: ...
    def receive_data(self, data: bytes) -> list[Event]: ...
    def data_to_send(self) -> bytes: ...
    def accept_connect(self) -> bool: ...
    def refuse_connect(self, description: str, code: str = StatusCode.CONNECT_REJECTED) -> bool: ...
    def accept_publish(self, stream_id: int) -> bool: ...
    def refuse_publish(self, stream_id: int, code: str, description: str) -> bool: ...
    def end_publish(self, stream_id: int, code: str, description: str) -> bool: ...
    def accept_play(self, stream_id: int) -> bool: ...
    def refuse_play(self, stream_id: int, code: str, description: str) -> bool: ...
    def end_play(self, stream_id: int, reason: str) -> bool: ...
    def ping(self, timestamp: int) -> None: ...
    def request_reconnect(self, tc_url: str, description: str) -> bool: ...
