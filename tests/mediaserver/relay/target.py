"""A target of a Relay that does what a test wants, right or wrong: one small RTMP(S) server on the loop."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from protocols.rtmp import amf0
from protocols.rtmp.command import StatusCode
from protocols.rtmp.events import ConnectRequested, DataReceived, Event, MediaReceived, PublishRequested, StreamClosed
from protocols.rtmp.session import ServerSession
from tests.mediaserver.running import PATIENCE
from tests.peers import free_port


@dataclass
class Visit:
    """One connection: what was said, and what came."""

    session: ServerSession
    writer: asyncio.StreamWriter
    events: list[Event] = field(default_factory=list)
    over: bool = False

    @property
    def media(self) -> list[MediaReceived]:
        return [event for event in self.events if isinstance(event, MediaReceived)]

    @property
    def data(self) -> list[list[object]]:
        return [amf0.decode_all(event.body) for event in self.events if isinstance(event, DataReceived)]

    @property
    def keys(self) -> list[str]:
        return [event.key + "?" * bool(event.query) + event.query for event in self.events if isinstance(event, PublishRequested)]

    @property
    def goodbyes(self) -> int:
        return sum(isinstance(event, StreamClosed) for event in self.events)


class TargetServer:
    """``on_connect`` and ``on_publish`` say what happens then; what is not set is granted. ``plain``: without Enhanced RTMP.

    ``read`` False: it takes the connection and nothing more.
    """

    def __init__(self) -> None:
        self.visits: list[Visit] = []
        self.on_connect: Callable[[Visit], object] | None = None
        self.on_publish: Callable[[Visit, PublishRequested], object] | None = None
        self.plain = False
        self.acknowledges = True
        self.read = asyncio.Event()
        self.read.set()
        self.came = asyncio.Event()
        self.port = 0
        self._server: asyncio.Server | None = None

    async def open(self, context: ssl.SSLContext | None = None) -> None:
        """Be there; the second time where it was before."""
        self.port = self.port or free_port()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=context, limit=1 << 16)

    async def close(self) -> None:
        """Be gone, with every connection."""
        self.read.set()
        if self._server is not None:
            self._server.close()
            for visit in self.visits:
                visit.writer.transport.abort()
            await self._server.wait_closed()

    async def until(self, question: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Wait for the answer to be yes; it is asked whenever something has come."""
        async with asyncio.timeout(patience):
            while not question():
                self.came.clear()
                await self.came.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = Visit(ServerSession(), writer)
        self.visits.append(visit)
        self.came.set()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while not writer.is_closing():
                await self.read.wait()
                data = await reader.read(1 << 16)
                if not data:
                    break
                self._take(visit, data)
                writer.write(visit.session.data_to_send())
                await writer.drain()
        visit.over = True
        self.came.set()
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    def _take(self, visit: Visit, data: bytes) -> None:
        session = visit.session
        if not self.acknowledges:
            session._acknowledge_at = 1 << 62
        events = session.receive_data(data)
        if not self.acknowledges:
            session._acknowledge_at = 1 << 62
        visit.events += events
        for event in events:
            if isinstance(event, ConnectRequested):
                if self.plain:
                    session._connect.first_object().clear()  # as if the client had not asked for more
                (self.on_connect or (lambda visit: visit.session.accept_connect()))(visit)
            elif isinstance(event, PublishRequested):
                (self.on_publish or (lambda visit, request: visit.session.accept_publish(request)))(visit, event)
        self.came.set()


def refuse_key(visit: Visit, request: PublishRequested) -> None:
    visit.session.refuse_publish(request, StatusCode.PUBLISH_REJECTED, f"who is {request.key}?")


def hang_up(visit: Visit, _: PublishRequested) -> None:
    visit.writer.transport.abort()


@contextlib.asynccontextmanager
async def target_server(context: ssl.SSLContext | None = None) -> AsyncIterator[TargetServer]:
    server = TargetServer()
    await server.open(context)
    try:
        yield server
    finally:
        await server.close()
