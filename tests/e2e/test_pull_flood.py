"""Sources that send as fast as they can: what is taken of them, and what is said."""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mediaserver.events import PullChanged
from mediaserver.ingest.pull_allowance import BURST
from mediaserver.ports import InputType, PublishGrant, PullSource
from protocols.flv import VIDEO
from protocols.media import Packet
from protocols.rtmp.chunk import split_message
from protocols.rtmp.endpoint import CHUNK_SIZE
from protocols.rtmp.events import ConnectRequested, PlayRequested
from protocols.rtmp.session import ServerSession
from tests.e2e.test_pull_rtsp import Camera, payloads
from tests.e2e.test_pull_sources import pulling
from tests.media import Clips
from tests.mediaserver.running import HEADER, picture

BITRATE = 2_000_000
#: Seconds without a word after which a source is lost, and for which one that sends too much is held back.
PATIENCE = 3.0
#: One large picture after the other, at one time.
PICTURE = picture(0, keyframe=True, size=10_000)


def tag(body: bytes) -> bytes:
    """An FLV tag, with its size behind it."""
    return b"\x09" + len(body).to_bytes(3) + bytes(7) + body + (len(body) + 11).to_bytes(4)


def http(connection: socket.socket) -> None:
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nFLV\1\1\0\0\0\x09\0\0\0\0" + tag(HEADER[2]))
    while True:
        connection.sendall(tag(PICTURE[2]))


def rtmp(connection: socket.socket) -> None:
    session = ServerSession()
    while data := connection.recv(1 << 16):
        for event in session.receive_data(data):
            if isinstance(event, ConnectRequested):
                session.accept_connect()
            elif isinstance(event, PlayRequested):
                session.accept_play(event)
                connection.sendall(session.data_to_send())
                for body in itertools.chain([HEADER[2]], itertools.repeat(PICTURE[2])):
                    connection.sendall(b"".join(split_message(VIDEO, 0, body, CHUNK_SIZE, event.stream_id)))
        connection.sendall(session.data_to_send())


@contextlib.contextmanager
def flood(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server's port."""

    def run() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection, contextlib.suppress(OSError):
                    serve(connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


async def is_held_back(source: PullSource) -> None:
    """It is live, takes no more than it may, and is given up with a reason."""
    async with pulling(Path("/nowhere"), timeout=PATIENCE, longest_retry=300.0, max_bitrate=BITRATE) as town:
        began = time.monotonic()
        session = town.engine.start_pull(source, PublishGrant("show"))
        await town.notes.wait_for(PullChanged, 2)
        live, lost = town.notes.of(PullChanged)[:2]
        assert isinstance(live, PullChanged)
        assert isinstance(lost, PullChanged)
        assert (live.connected, lost.connected) == (True, False)
        assert lost.reason == "the source sends more than 2 Mbit/s (pull.max_bitrate)"
        taken = town.engine._pulls._pulls[session].session.bytes_in
        # However long a busy machine has let it go on.
        assert 0 < taken < BITRATE / 8 * (BURST + 1 + time.monotonic() - began)


@pytest.mark.parametrize(("source_type", "serve"), [(InputType.RTMP, rtmp), (InputType.HTTP, http)])
async def test_a_server_that_floods(source_type: InputType, serve: Callable[[socket.socket], None]) -> None:
    with flood(serve) as port:
        await is_held_back(PullSource(source_type, f"{source_type.value}://127.0.0.1:{port}/live/a"))


class Hose(Camera):
    """Plays without a pause."""

    def play(self, connection: socket.socket) -> None:
        packets = [item for item in self.items if isinstance(item, Packet)]
        for number in itertools.count():
            for packet in packets:
                for data, last in payloads(packet):
                    self.send(connection, packet.kind, packet.dts + number * self.length, data, last)


async def test_a_camera_that_floods(clips: Clips) -> None:
    with Hose(clips.get(b_frames=0)) as camera:
        await is_held_back(PullSource(InputType.RTSP, f"rtsp://127.0.0.1:{camera.port}/stream"))
