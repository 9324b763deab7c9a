"""How one connection of the load gets to where media flows: RTMP publish, RTMP play, HTTP-FLV play."""

from collections.abc import Callable
from typing import Protocol

from bench.load.process import LoadError
from protocols.errors import ProtocolError
from protocols.flv import FlvReader
from protocols.rtmp.client import ClientSession
from protocols.rtmp.events import CommandFailed, MediaReceived, StatusReceived

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
        if self._publish:
            self._session.publish(self._name)
        else:
            self._session.play(self._name)
        return self._session.data_to_send()

    def receive(self, data: bytes) -> bytes:
        try:
            events = self._session.receive_data(data)
        except ProtocolError as error:
            raise LoadError(f"the server broke the protocol: {error}") from error
        for event in events:
            if isinstance(event, MediaReceived):
                if self._listener is not None:
                    self._listener(event.type_id, event.timestamp, event.body)
            elif isinstance(event, StatusReceived):
                if event.level == "error":
                    raise LoadError(f"{event.code}: {event.description}")
                self.established |= event.code in ("NetStream.Publish.Start", "NetStream.Play.Start")
            elif isinstance(event, CommandFailed):
                raise LoadError(f"{event.name} failed: {event.code}: {event.description}")
        return self._session.data_to_send()


class Unchunker:
    """HTTP's chunked transfer coding undone (RFC 9112, 7.1): bytes of any cut in, the content out."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._left = 0  # of the chunk that is being read, its CRLF included
        self.ended = False

    def receive(self, data: bytes) -> bytes:
        """The content in ``data``. LoadError where the coding is broken."""
        buffer = self._buffer
        buffer += data
        content = bytearray()
        while buffer and not self.ended:
            if not self._left:
                line, end, _ = buffer.partition(b"\r\n")
                if not end:
                    break
                try:
                    size = int(line, 16)
                except ValueError:
                    raise LoadError(f"a chunk's size is {bytes(line[:20])!r}") from None
                del buffer[: len(line) + 2]
                self._left = size + 2
                self.ended = not size
            whole = max(0, min(self._left - 2, len(buffer)))
            content += buffer[:whole]
            del buffer[:whole]
            self._left -= whole
            if self._left <= 2:
                if len(buffer) < self._left:
                    break
                if buffer[: self._left] != b"\r\n":
                    raise LoadError("a chunk does not end where its size says")
                del buffer[: self._left]
                self._left = 0
        return bytes(content)


class FlvDialogue:
    """An HTTP-FLV player of one name."""

    def __init__(self, name: str, listener: Listener | None = None) -> None:
        self.established = False
        self._name = name
        self._listener = listener
        self._head = b""
        self._reader = FlvReader()
        self._unchunker: Unchunker | None = None

    def opening(self) -> bytes:
        return f"GET /live/{self._name}.flv HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n".encode()

    def receive(self, data: bytes) -> bytes:
        if not self.established:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return b""
            if b" 200 " not in head.split(b"\r\n", 1)[0]:
                raise LoadError(f"the server answered {head[:80]!r}")
            if b"transfer-encoding: chunked" in head.lower():
                self._unchunker = Unchunker()
            self.established = True
        if self._listener is not None:
            content = self._unchunker.receive(data) if self._unchunker is not None else data
            try:
                tags = self._reader.receive_data(content)
            except ProtocolError as error:
                raise LoadError(f"the server broke FLV: {error}") from error
            for type_id, timestamp, body in tags:
                self._listener(type_id, timestamp, body)
        return b""
