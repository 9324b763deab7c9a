"""The HTTP port on a free port, with a packaging house, an authorizer and a clock that the test decides about."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvloop
from aiohttp import web as aiohttp_web

from mediaserver.config import HttpConfig
from mediaserver.delivery.aiohttp_lane import lane, media_handler
from mediaserver.delivery.web import Web, WebServices
from mediaserver.errors import Refused
from mediaserver.events import Event
from mediaserver.hub.beat import Beat
from mediaserver.hub.fanout import Fanout
from mediaserver.hub.hub import Hub, HubLimits, Publisher
from mediaserver.hub.session import Session
from mediaserver.packaging.answer import Answer, Missing, Ready
from mediaserver.packaging.lease import NEVER, Lease
from mediaserver.ports import PlayGrant, PlayRequest, PublishGrant, PublishRequest, Wire

PLAYLIST = Ready(b"#EXTM3U\n" * 50, "application/vnd.apple.mpegurl", 1.0, gzipped=b"\x1f\x8bgzipped")
SEGMENT = Ready(bytes(range(256)) * 400, "video/mp4", 31536000.0, immutable=True)


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


class Signal:
    """A signal that the test fires; ``added`` tells that somebody waits."""

    def __init__(self) -> None:
        self.callbacks: set[Callable[[], None]] = set()
        self.added = asyncio.Event()

    def add(self, callback: Callable[[], None]) -> None:
        self.callbacks.add(callback)
        self.added.set()

    def discard(self, callback: Callable[[], None]) -> None:
        self.callbacks.discard(callback)

    def fire(self) -> None:
        callbacks, self.callbacks = self.callbacks, set()
        self.added.clear()
        for callback in callbacks:
            callback()


class Resolver:
    """Answers by resource; ``asked`` is every question. What has a lease here is good as long as that holds."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {"index.m3u8": PLAYLIST, "video/7.m4s": SEGMENT}
        self.leases: dict[str, Lease] = {}
        self.names = {"show"}
        self.asked: list[tuple[str, str, dict[str, str]]] = []

    def answer(self, name: str, resource: str, query: dict[str, str], now: float) -> Answer:
        self.asked.append((name, resource, query))
        return self.answers.get(resource, Missing()) if name in self.names else Missing()

    def lease(self, name: str, resource: str) -> Lease:
        return self.leases.get(resource, NEVER)

    def target_duration(self, name: str) -> float:
        return 2.0


class Doorkeeper:
    """An Authorizer that lets everybody play but those who ask for ``private``."""

    def __init__(self) -> None:
        self.asked: list[PlayRequest] = []
        self.held: asyncio.Event | None = None

    async def may_publish(self, request: PublishRequest) -> PublishGrant:
        raise Refused("nobody publishes here")

    async def may_play(self, request: PlayRequest) -> PlayGrant:
        self.asked.append(request)
        if self.held is not None:
            await self.held.wait()
        if request.name == "private":
            raise Refused("not for you")
        return PlayGrant(request.name)


class Sink:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """A plain socket that speaks as much HTTP as it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def get(self, target: str, *fields: str, method: str = "GET", version: str = "1.1") -> Reply:
        await self.send(f"{method} {target} HTTP/{version}\r\nHost: x\r\n" + "".join(f"{f}\r\n" for f in fields) + "\r\n")
        return await self.reply(method != "HEAD")

    async def send(self, text: str | bytes) -> None:
        self.writer.write(text.encode("latin-1") if isinstance(text, str) else text)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        async with asyncio.timeout(30):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")[:-2]
        return int(first.split()[1]), {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}

    async def reply(self, body: bool = True) -> Reply:
        status, headers = await self.head()
        data = b""
        if body and headers.get("transfer-encoding") == "chunked":
            while chunk := await self.chunk():
                data += chunk
        elif body and "content-length" in headers:
            data = await self.reader.readexactly(int(headers["content-length"]))
        elif body and status == 200:
            data = await self.reader.read()
        return Reply(status, headers, data)

    async def chunk(self) -> bytes:
        size = int(await self.reader.readline(), 16)
        data = await self.reader.readexactly(size)
        assert await self.reader.readexactly(2) == b"\r\n"
        return data

    async def closed(self) -> bytes:
        """What still comes before the server closes."""
        try:
            async with asyncio.timeout(30):
                return await self.reader.read()
        except ConnectionError:
            return b""

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@dataclass
class Port:
    """Everything about one HTTP port."""

    web: Web
    hub: Hub
    fanout: Fanout
    resolver: Resolver
    doorkeeper: Doorkeeper
    sink: Sink
    number: int
    publisher: Publisher
    now: list[float]
    clients: list[Client] = field(default_factory=list)

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.number))
        self.clients.append(client)
        return client

    def pass_time(self, seconds: float) -> None:
        self.now[0] += seconds
        self.web.sweep(self.now[0])

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the loop turn until ``condition``; soon without haste, for a disk or another process may have to do its part."""
        turns = 0
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0 if turns < 1000 else 0.005)
                turns += 1


Connect = Callable[[Port], Awaitable[Client]]


@pytest.fixture(params=["fast", "aiohttp"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """``await connect(port)``: a fresh connection, and one that aiohttp has already."""

    async def start(port: Port) -> Client:
        client = await port.connect()
        if request.param == "aiohttp":
            assert (await client.get("/")).body == b"a page"
        return client

    return start


@pytest.fixture
async def open_port(tmp_path: Path) -> AsyncIterator[Callable[..., object]]:
    """``await open_port(cors_origins=(…))``: an HTTP port with that configuration."""
    opened: list[tuple[Port, aiohttp_web.AppRunner]] = []
    loop = asyncio.get_running_loop()

    async def start(max_connections: int = 1000, **config: object) -> Port:
        sink, resolver, doorkeeper, now = Sink(), Resolver(), Doorkeeper(), [1000.0]
        hub = Hub(HubLimits(reconnect_grace=0, takeover=False, gop_max_bytes=1 << 20, gop_max_ms=10_000, max_streams=100), sink)
        beat = Beat(loop, 0.1)
        fanout = Fanout(beat, patience=10)
        app = aiohttp_web.Application()
        runner = aiohttp_web.AppRunner(app)

        def page() -> asyncio.Protocol:
            return pages()

        services = WebServices(hub, fanout, resolver, doorkeeper, sink, loop.create_task, page, tmp_path)
        settings = HttpConfig(**config)  # type: ignore[arg-type]
        web = Web(services, settings, lambda: len(web) < max_connections, clock=lambda: now[0])
        app.router.add_get("/", _page)
        app.router.add_post("/echo", _echo)
        app.router.add_route("*", "/live/{tail:.*}", media_handler(web))
        await runner.setup()
        pages = lane(runner, web)
        publisher = hub.publish(PublishGrant("show"), Session(Wire.INTERNAL, "test"), lambda reason: None)
        port = Port(web, hub, fanout, resolver, doorkeeper, sink, await web.listen("127.0.0.1", 0), publisher, now)
        opened.append((port, runner))
        return port

    yield start
    for port, runner in opened:
        for client in port.clients:
            await client.close()
        await port.web.close("the test is over")
        await runner.cleanup()


@pytest.fixture
async def port(open_port: Callable[..., "asyncio.Future[Port]"]) -> Port:
    return await open_port()


async def _page(request: aiohttp_web.Request) -> aiohttp_web.Response:
    return aiohttp_web.Response(text="a page")


async def _echo(request: aiohttp_web.Request) -> aiohttp_web.Response:
    return aiohttp_web.Response(body=await request.read())
