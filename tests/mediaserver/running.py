"""A running engine inside a test, with an authorizer that the test leads and RTMP clients on its event loop."""

import asyncio
import contextlib
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from mediaserver.config import Config, ServerConfig
from mediaserver.engine import Engine
from mediaserver.events import Event as EngineEvent
from mediaserver.ports import PlayGrant, PlayRequest, PublishGrant, PublishRequest
from protocols.rtmp.client import ClientSession
from protocols.rtmp.events import Connected, Event, MediaReceived, StatusReceived
from protocols.rtmp.message import VIDEO
from tests.e2e.rtmp import Tag
from tests.peers import free_port, program

#: Seconds to wait for what is sure to come, on a machine that others take away for seconds too.
PATIENCE = 30.0

#: The sequence header of a real 320x192 picture.
HEADER: Tag = (
    VIDEO,
    0,
    bytes.fromhex("1700000000014d400dffe10017674d400deca0a0cd080000030008000003019078a14cb001000468ce3c80"),
)


def picture(number: int, *, keyframe: bool = False, size: int = 5) -> Tag:
    """Frame ``number`` at 25 frames a second, which nobody can decode."""
    nal = (b"\x65" if keyframe else b"\x41") + number.to_bytes(4, "big") + bytes(size - 5)
    return VIDEO, number * 40, (b"\x17" if keyframe else b"\x27") + b"\x01\0\0\0" + len(nal).to_bytes(4, "big") + nal


GOP = [HEADER, picture(0, keyframe=True), picture(1), picture(2)]


def skip_where_writelines_pauses_nobody() -> None:
    """For tests of who is held back. To be called on the loop."""
    affected = (3, 12) <= sys.version_info < (3, 12, 9) or (3, 13) <= sys.version_info < (3, 13, 2)
    if affected and isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop):
        pytest.skip("writelines of Python's own loop pauses nobody in this release (gh-127655)")


class Doorkeeper:
    """An Authorizer: the key is the name. ``held`` makes it think until set; ``failure`` is what it raises instead."""

    def __init__(self) -> None:
        self.asked: list[PublishRequest | PlayRequest] = []
        self.asking = asyncio.Event()
        self.held: asyncio.Event | None = None
        self.failure: Exception | None = None

    async def may_publish(self, request: PublishRequest) -> PublishGrant:
        await self._think(request)
        return PublishGrant(request.key)

    async def may_play(self, request: PlayRequest) -> PlayGrant:
        await self._think(request)
        return PlayGrant(request.name)

    async def _think(self, request: PublishRequest | PlayRequest) -> None:
        self.asked.append(request)
        self.asking.set()
        if self.held is not None:
            await self.held.wait()
        if self.failure is not None:
            raise self.failure


class Notes:
    """An EventSink that keeps everything."""

    def __init__(self) -> None:
        self.events: list[EngineEvent] = []
        self.told = asyncio.Event()

    def emit(self, event: EngineEvent) -> None:
        self.events.append(event)
        self.told.set()

    def of(self, kind: type[EngineEvent]) -> list[EngineEvent]:
        return [event for event in self.events if isinstance(event, kind)]

    async def wait_for(self, kind: type[EngineEvent], count: int = 1) -> EngineEvent:
        """Wait until so many events of that kind have been told; the last of them."""
        async with asyncio.timeout(PATIENCE):
            while len(self.of(kind)) < count:
                self.told.clear()
                await self.told.wait()
        return self.of(kind)[-1]


class Client:
    """An RTMP client on the loop, which says with its ``properties`` what it understands beyond plain RTMP."""

    def __init__(self, url: str, context: ssl.SSLContext | None = None, properties: Mapping[str, object] | None = None) -> None:
        parts = urlsplit(url)
        app, _, self.name = parts.path.strip("/").partition("/")
        self.host, self.port, self.context = parts.hostname or "", parts.port or 1935, context
        self.session = ClientSession(app, f"{parts.scheme}://{parts.netloc}/{app}", properties=properties)
        self.events: list[Event] = []
        self.gone = False
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> "Client":
        self.reader, self.writer = await asyncio.open_connection(self.host, self.port, ssl=self.context)
        return self

    async def __aexit__(self, *exc_details: object) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()

    async def connect(self) -> "Client":
        self.session.start()
        await self.wait_for(lambda: any(isinstance(event, Connected) for event in self.events))
        return self

    async def publish(self) -> "Client":
        await self.connect()
        self.session.publish(self.name)
        await self.status("NetStream.Publish.Start")
        return self

    async def play(self) -> "Client":
        await self.connect()
        self.session.play(self.name)
        await self.status("NetStream.Play.Start")
        return self

    async def ask(self, name: str, *values: object, stream_id: int = 1) -> None:
        """Give any command."""
        self.session._call(name, None, *values, stream_id=stream_id, answered=False)
        await self.flush()

    async def send(self, *tags: Tag) -> None:
        for type_id, timestamp, body in tags:
            self.session.send_media(type_id, timestamp, body)
        await self.flush()

    async def send_early(self, *tags: Tag) -> None:
        """Send media behind a publish that nobody has answered yet."""
        for type_id, timestamp, body in tags:
            self.session._send(type_id, 1, timestamp, body)
        await self.flush()

    async def flush(self) -> None:
        if (data := self.session.data_to_send()) and not self.writer.is_closing():
            self.writer.write(data)
            with contextlib.suppress(ConnectionError):
                await self.writer.drain()

    async def read(self) -> None:
        try:
            data = await self.reader.read(1 << 16)
        except (ConnectionError, ssl.SSLError):
            data = b""
        self.gone = not data
        self.events += self.session.receive_data(data)
        await self.flush()

    async def wait_for(self, question: Callable[[], bool]) -> None:
        await self.flush()
        async with asyncio.timeout(PATIENCE):
            while not question():
                assert not self.gone, f"closed by the server: {self.events}"
                await self.read()

    async def status(self, code: str) -> StatusReceived:
        """Wait for an onStatus with that code."""
        await self.wait_for(lambda: any(status.code == code for status in self.statuses))
        return next(status for status in reversed(self.statuses) if status.code == code)

    async def closed(self) -> None:
        """Read until the server closes."""
        await self.flush()
        async with asyncio.timeout(PATIENCE):
            while not self.gone:
                await self.read()

    @property
    def statuses(self) -> list[StatusReceived]:
        return [event for event in self.events if isinstance(event, StatusReceived)]

    @property
    def media(self) -> list[MediaReceived]:
        return [event for event in self.events if isinstance(event, MediaReceived)]

    async def receive_until(self, body: bytes) -> None:
        """Wait for the media message with that body."""
        await self.wait_for(lambda: bool(self.media) and self.media[-1].body == body)

    async def receive(self, count: int) -> list[bytes]:
        """The bodies of the first ``count`` media messages."""
        await self.wait_for(lambda: len(self.media) >= count)
        return [event.body for event in self.media[:count]]


class Running:
    """An engine that serves, and who is asked and told."""

    def __init__(self, engine: Engine, door: Doorkeeper, notes: Notes) -> None:
        self.engine, self.door, self.notes = engine, door, notes
        self.failures: list[dict[str, object]] = []

    def client(self, name: str, *, app: str = "live", properties: Mapping[str, object] | None = None) -> Client:
        return Client(f"rtmp://127.0.0.1:{self.engine.config.rtmp.port}/{app}/{name}", properties=properties)

    def tls_client(self, name: str) -> Client:
        context = ssl.create_default_context(cafile=self.engine.config.rtmp.tls_cert)
        return Client(f"rtmps://127.0.0.1:{self.engine.config.rtmp.tls_port}/live/{name}", context)

    def names(self) -> set[str]:
        return {stream.name for stream in self.engine.snapshot().streams}

    async def until(self, question: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Let the loop run until the answer is yes."""
        async with asyncio.timeout(patience):
            while not question():  # noqa: ASYNC110 - counters announce nothing
                await asyncio.sleep(0.005)


def local(config: Config) -> Config:
    """``config`` on free ports of this machine. Without a folder of its own it has none: what one test leaves, no other finds."""
    rtmp = config.rtmp.model_copy(update={"host": "127.0.0.1", "port": free_port()})
    http = config.http.model_copy(update={"host": "127.0.0.1", "port": free_port()})
    server = config.server
    if server.data_dir == ServerConfig().data_dir:
        server = server.model_copy(update={"data_dir": os.devnull})
    return config.model_copy(update={"rtmp": rtmp, "http": http, "server": server})


@contextlib.asynccontextmanager
async def running(config: Config | None = None) -> AsyncIterator[Running]:
    """An engine that serves until the block ends; then it has stopped, and nothing has failed unseen."""
    door, notes = Doorkeeper(), Notes()
    loop = asyncio.get_running_loop()
    town = Running(Engine(local(config or Config()), door, notes), door, notes)
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: town.failures.append(context))
    try:
        await town.engine.start(web.Server(nothing))
        try:
            yield town
        finally:
            await town.engine.stop(5)
    finally:
        loop.set_exception_handler(before)
    assert town.failures == []


async def nothing(_: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=404)


def self_signed(folder: Path) -> tuple[str, str]:
    """A certificate for this machine that it signed itself, and its key, made in ``folder``."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", str(key), "-out", str(certificate),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return str(certificate), str(key)
