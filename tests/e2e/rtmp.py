"""An RTMP client on a blocking socket that a test leads step by step, and FLV tags to send with it."""

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from protocols.flv import FlvReader
from protocols.rtmp.client import ClientSession
from protocols.rtmp.events import Connected, Event, MediaReceived, PongReceived, StatusReceived
from protocols.rtmp.message import DATA, VIDEO

#: Type, timestamp in milliseconds, body.
Tag = tuple[int, int, bytes]

#: Seconds that a server may leave us waiting.
PATIENCE = 30.0


class RtmpClient:
    """One connection. ``events`` is everything that was said to it; ``gone`` that the server has closed it. With its
    ``properties`` it says what it understands beyond plain RTMP."""

    def __init__(
        self, url: str, *, context: ssl.SSLContext | None = None, properties: Mapping[str, object] | None = None
    ) -> None:
        parts = urlsplit(url)
        self.app, _, self.name = parts.path.strip("/").partition("/")
        if parts.query:
            self.name += f"?{parts.query}"
        self.session = ClientSession(self.app, f"{parts.scheme}://{parts.netloc}/{self.app}", properties=properties)
        self.socket: socket.socket = socket.create_connection((parts.hostname or "", parts.port or 1935), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            self.socket = context.wrap_socket(self.socket)
        self.events: list[Event] = []
        self.gone = False

    def __enter__(self) -> "RtmpClient":
        return self

    def __exit__(self, *exc_details: object) -> None:
        self.socket.close()

    # -- steps --------------------------------------------------------------------------------------------------------

    def connect(self) -> "RtmpClient":
        self.session.start()
        self.wait_for(lambda: any(isinstance(event, Connected) for event in self.events), "connect to be accepted")
        return self

    def publish(self) -> "RtmpClient":
        """Connect and publish; returns once the server said go."""
        self.connect()
        self.session.publish(self.name)
        self.wait_for_status("NetStream.Publish.Start")
        return self

    def play(self) -> "RtmpClient":
        """Connect and play; returns once the server said that it plays."""
        self.connect()
        self.session.play(self.name)
        self.wait_for_status("NetStream.Play.Start")
        return self

    def send(self, tags: Iterable[Tag]) -> None:
        """Send ``tags`` as fast as the server takes them."""
        for type_id, timestamp, body in tags:
            self.session.send_media(type_id, timestamp & 0xFFFFFFFF, body)
        self.flush()

    def pace(self, tags: Iterable[Tag], *, hurry: bool = True) -> Iterator[Tag]:
        """Send ``tags`` in real time, giving out each one that was sent. Not to ``hurry``: what a busy machine kept back is not
        made up for, so that nobody is sent more than real time at once."""
        begin, first = time.monotonic(), None
        for tag in tags:
            first = tag[1] if first is None else first
            early = begin + (tag[1] - first) / 1000 - time.monotonic()
            if early < 0 and not hurry:
                begin -= early
            time.sleep(max(0.0, early))
            self.send([tag])
            yield tag

    def settle(self) -> None:
        """Wait until the server has read all that was sent."""
        self.session.ping(0)
        self.wait_for(lambda: any(isinstance(event, PongReceived) for event in self.events), "an answer to a ping")

    def goodbye(self) -> None:
        """End as an encoder does."""
        self.session.close()
        self.flush()
        self.socket.close()

    def abort(self) -> None:
        """End with a reset, as a machine that lost its network does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # -- listening ----------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        self.socket.sendall(self.session.data_to_send())

    def read(self, timeout: float = PATIENCE) -> list[Event]:
        """What the server says next, if it says anything in time."""
        self.socket.settimeout(max(timeout, 0.001))
        try:
            data = self.socket.recv(1 << 20)
        except TimeoutError:
            return []
        except ConnectionError:
            data = b""
        finally:
            self.socket.settimeout(PATIENCE)
        self.gone = not data
        events = self.session.receive_data(data)
        self.events += events
        with contextlib.suppress(ConnectionError):
            self.flush()
        return events

    def wait_for(self, question: Callable[[], bool], what: str, timeout: float = PATIENCE) -> None:
        deadline = time.monotonic() + timeout
        self.flush()
        while not question():
            assert not self.gone, f"the server closed the connection instead of {what}: {self.events}"
            assert time.monotonic() < deadline, f"not within {timeout} s: {what}: {self.events}"
            self.read(deadline - time.monotonic())

    def wait_for_status(self, code: str) -> StatusReceived:
        """Wait for an onStatus with that code."""
        self.wait_for(lambda: bool(self.statuses(code)), code)
        return self.statuses(code)[-1]

    def wait_closed(self, timeout: float = PATIENCE) -> None:
        """Read until the server closes."""
        deadline = time.monotonic() + timeout
        while not self.gone:
            assert time.monotonic() < deadline, f"the server does not close: {self.events}"
            self.read(deadline - time.monotonic())

    def statuses(self, code: str) -> list[StatusReceived]:
        return [event for event in self.events if isinstance(event, StatusReceived) and event.code == code]

    @property
    def media(self) -> list[MediaReceived]:
        return [event for event in self.events if isinstance(event, MediaReceived)]


def tags_of(file: Path, shift: int = 0) -> list[Tag]:
    """The tags of an FLV file, their timestamps moved by ``shift`` ms."""
    tags = FlvReader().receive_data(file.read_bytes())
    # The description first, as libavformat writes it, and the end-of-sequence tag left out: more may follow.
    return [(type_id, timestamp + shift, body) for type_id, timestamp, body in tags if len(body) > 5]


def until(tags: Iterable[Tag], milliseconds: int) -> list[Tag]:
    return [tag for tag in tags if tag[1] < milliseconds]


def headers(tags: Iterable[Tag]) -> list[Tag]:
    """The tags that say how to decode: description and sequence headers."""
    return [tag for tag in tags if tag[0] == DATA or tag[2][1] == 0]


def is_keyframe(event: MediaReceived) -> bool:
    return event.type_id == VIDEO and event.body[0] >> 4 == 1 and event.body[1] == 1


def numbered(seconds: float, bitrate: int, *, frame_rate: int = 25, gop: int = 25, start: int = 0) -> Iterator[Tag]:
    """Frames that nobody can decode, of one size, with their number (four bytes) at the end: load to count."""
    size = bitrate // 8 // frame_rate
    for number in range(start, start + round(seconds * frame_rate)):
        first = 0x17 if number % gop == 0 else 0x27
        nal = (b"\x65" if number % gop == 0 else b"\x41").ljust(size - 13, b"\xa5")
        body = bytes((first, 1, 0, 0, 0)) + (len(nal) + 4).to_bytes(4, "big") + nal + number.to_bytes(4, "big")
        yield VIDEO, number * 1000 // frame_rate, body


def number_of(body: bytes) -> int:
    """The number in a frame made by ``numbered``."""
    return int.from_bytes(body[-4:], "big")
