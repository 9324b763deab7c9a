"""How one connection of the load gets to where media flows: RTMP publish, RTMP play, HTTP-FLV play."""

from collections.abc import Callable
from typing import Protocol

from bench.load.process import LoadError
from bench.load.minirtmp import ClientSession, Connected, MediaReceived, StatusReceived

#: (type_id, timestamp, body) of a message that a sampled player received whole
Listener = Callable[[int, int, bytes], None]


class Dialogue(Protocol):
    """One connection's protocol, without its socket."""

    established: bool

    def opening(self) -> bytes:
        """The first bytes to send."""

    def receive(self, data: bytes) -> bytes:
        """Take what came; answers what to send now. LoadError when the server refuses."""


class RtmpDialogue:
    """An RTMP client that publishes, or plays, one name."""

    def __init__(self, app: str, name: str, port: int, *, publish: bool, listener: Listener | None = None) -> None:
        self.established = False
        self._name = name
        self._publish = publish
        self._listener = listener
        self._session = ClientSession(app, f"rtmp://127.0.0.1:{port}/{app}")

    def opening(self) -> bytes:
        self._session.start()
        return self._session.data_to_send()

    def receive(self, data: bytes) -> bytes:
        for event in self._session.receive_data(data):
            if isinstance(event, MediaReceived):
                if self._listener is not None:
                    self._listener(event.type_id, event.timestamp, event.body)
            elif isinstance(event, Connected):
                if self._publish:
                    self._session.publish(self._name)
                else:
                    self._session.play(self._name)
            elif isinstance(event, StatusReceived):
                self._status(event)
        return self._session.data_to_send()

    def _status(self, event: StatusReceived) -> None:
        if event.level == "error":
            raise LoadError(f"{event.code}: {event.description}")
        if event.code in ("NetStream.Publish.Start", "NetStream.Play.Start"):
            self.established = True


class FlvDialogue:
    """An HTTP-FLV player of one name."""

    def __init__(self, name: str, listener: Listener | None = None) -> None:
        self.established = False
        self._name = name
        self._listener = listener
        self._head = b""
        self._reader = None

    def opening(self) -> bytes:
        return f"GET /live/{self._name}.flv HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n".encode()

    def receive(self, data: bytes) -> bytes:
        raise NotImplementedError
