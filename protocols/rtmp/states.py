"""The states of an RTMP connection and of its message streams. An absent key in a table is the error."""

import enum


class SessionState(enum.Enum):
    """How far a connection has come."""

    HANDSHAKE = "handshake"
    AWAITING_CONNECT = "awaiting connect"
    CONNECT_REQUESTED = "connect requested"
    CONNECTED = "connected"
    CLOSED = "closed"


class SessionTrigger(enum.Enum):
    """What moves a connection on."""

    HANDSHAKE_DONE = "handshake done"
    CONNECT = "connect"
    ACCEPT = "accept"
    REFUSE = "refuse"


class StreamState(enum.Enum):
    """What a message stream is used for."""

    CREATED = "created"
    PUBLISH_REQUESTED = "publish requested"
    PUBLISHING = "publishing"
    PLAY_REQUESTED = "play requested"
    PLAYING = "playing"


class StreamTrigger(enum.Enum):
    """What moves a message stream on."""

    PUBLISH = "publish"
    PLAY = "play"
    ACCEPT_PUBLISH = "accept publish"
    ACCEPT_PLAY = "accept play"
    REFUSE_PUBLISH = "refuse publish"
    REFUSE_PLAY = "refuse play"
    END_PUBLISH = "end publish"
    END_PLAY = "end play"


SESSION_TRANSITIONS = {
    (SessionState.HANDSHAKE, SessionTrigger.HANDSHAKE_DONE): SessionState.AWAITING_CONNECT,
    (SessionState.AWAITING_CONNECT, SessionTrigger.CONNECT): SessionState.CONNECT_REQUESTED,
    (SessionState.CONNECT_REQUESTED, SessionTrigger.ACCEPT): SessionState.CONNECTED,
    (SessionState.CONNECT_REQUESTED, SessionTrigger.REFUSE): SessionState.CLOSED,
}

STREAM_TRANSITIONS = {
    (StreamState.CREATED, StreamTrigger.PUBLISH): StreamState.PUBLISH_REQUESTED,
    (StreamState.CREATED, StreamTrigger.PLAY): StreamState.PLAY_REQUESTED,
    (StreamState.PUBLISH_REQUESTED, StreamTrigger.ACCEPT_PUBLISH): StreamState.PUBLISHING,
    (StreamState.PUBLISH_REQUESTED, StreamTrigger.REFUSE_PUBLISH): StreamState.CREATED,
    (StreamState.PUBLISHING, StreamTrigger.END_PUBLISH): StreamState.CREATED,
    (StreamState.PLAY_REQUESTED, StreamTrigger.ACCEPT_PLAY): StreamState.PLAYING,
    (StreamState.PLAY_REQUESTED, StreamTrigger.REFUSE_PLAY): StreamState.CREATED,
    (StreamState.PLAYING, StreamTrigger.END_PLAY): StreamState.CREATED,
}
