"""The engine's door: start and stop, look in, send somebody away. What it asks and tells goes through ``ports``."""

import asyncio
import contextlib
import ssl
import time
from collections import defaultdict
from collections.abc import Coroutine
from time import monotonic

from mediaserver.config import Config
from mediaserver.errors import Unavailable
from mediaserver.hub.beat import Beat
from mediaserver.hub.fanout import Fanout
from mediaserver.hub.hub import Hub, HubLimits
from mediaserver.hub.session import Session
from mediaserver.ingest.rtmp import RtmpEndpoint, RtmpServices
from mediaserver.ports import Authorizer, EventSink
from mediaserver.snapshot import EngineSnapshot
from mediaserver.transport.rtmp import RtmpListener
from protocols.rtmp.limits import SessionLimits

#: Seconds between two looks at deadlines and rates.
SWEEP_INTERVAL = 1.0
#: Seconds that the authorizer may take for an answer.
AUTHORIZE_TIMEOUT = 5.0


class Engine:
    """Everything between an encoder and its players, on the running event loop."""

    def __init__(self, config: Config, authorizer: Authorizer, sink: EventSink) -> None:
        self.config = config
        self.authorizer = authorizer
        self.sink = sink
        self.since = time.time()
        self.draining = False
        rtmp = config.rtmp
        self.hub = Hub(
            HubLimits(
                reconnect_grace=rtmp.reconnect_grace,
                takeover=rtmp.takeover,
                gop_max_bytes=rtmp.gop_max_bytes,
                gop_max_ms=round(rtmp.gop_max_seconds * 1000),
            ),
            sink,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: _Running | None = None

    async def start(self) -> None:
        """Open the ports. Raises OSError for one that is taken, with nothing left open."""
        running = _Running(self, asyncio.get_running_loop())
        try:
            await running.open()
        except BaseException:
            await running.close("the server could not start")
            raise
        self._running = running
        self.spawn(self._sweep(running))

    async def stop(self, drain: float) -> None:
        """Take nobody new, end every stream, and let players have what is on its way for up to ``drain`` seconds."""
        running, self._running = self._running, None
        self.draining = True
        if running is not None:
            self.hub.end_all("the server is stopping")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(drain):
                    await running.close("the server is stopping")
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def snapshot(self) -> EngineSnapshot:
        """What is live and connected now. Raises Unavailable when the engine is not running."""
        running = self._running
        if running is None:
            raise Unavailable("the engine is not running")
        sessions = running.sessions()
        by_name: dict[str, list[Session]] = defaultdict(list)
        for session in sessions:
            if session.name and not session.publishing:
                by_name[session.name].append(session)
        publishers = self.hub.publishers
        return EngineSnapshot(
            since=self.since,
            draining=self.draining,
            beat=running.beat.interval,
            bytes_in=running.rtmp.bytes_in + sum(session.bytes_in for session in sessions),
            bytes_out=running.rtmp.bytes_out + sum(session.bytes_out for session in sessions),
            streams=tuple(
                stream.snapshot(publishers[name].session if name in publishers else None, by_name[name])
                for name, stream in self.hub.streams.items()
            ),
            sessions=tuple(session.snapshot() for session in sessions if session.name),
        )

    def kick(self, session_id: str, reason: str = "sent away") -> bool:
        """Close the session of that id. False if there is none."""
        running = self._running
        return running is not None and running.kick(session_id, reason)

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run ``work`` as a task that the engine owns: its failure is reported, and it ends with the engine."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._reap)
        return task

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            task.get_loop().call_exception_handler({"message": "a task of the engine failed", "exception": error, "task": task})

    async def _sweep(self, running: "_Running") -> None:
        while True:
            await asyncio.sleep(SWEEP_INTERVAL)
            running.sweep(monotonic())


class _Running:
    """What exists only while the engine runs: the beat, the listeners and their connections."""

    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        config = engine.config
        self.config = config
        self.hub = engine.hub
        self.beat = Beat(loop, config.rtmp.max_latency / 1000)
        self.fanout = Fanout(self.beat, config.rtmp.slow_timeout)
        services = RtmpServices(
            hub=engine.hub,
            fanout=self.fanout,
            authorizer=engine.authorizer,
            sink=engine.sink,
            spawn=engine.spawn,
            app=config.rtmp.app,
            authorize_timeout=AUTHORIZE_TIMEOUT,
            wait_for_publisher=config.rtmp.wait_for_publisher,
        )
        self.rtmp = RtmpListener(
            lambda connection: RtmpEndpoint(connection, services),
            self.beat,
            SessionLimits(message=config.limits.message_bytes, reassembly=config.limits.reassembly_bytes),
            handshake_timeout=config.rtmp.handshake_timeout,
            idle_timeout=config.rtmp.idle_timeout,
            max_connections=config.limits.max_connections,
        )

    async def open(self) -> None:
        rtmp = self.config.rtmp
        await self.rtmp.listen(rtmp.host, rtmp.port)
        if rtmp.tls_port:
            await self.rtmp.listen(rtmp.host, rtmp.tls_port, server_tls(rtmp.tls_cert, rtmp.tls_key))

    async def close(self, reason: str) -> None:
        await self.rtmp.close(reason)
        self.beat.close()

    def sessions(self) -> list[Session]:
        return [connection.session for connection in self.rtmp.connections]

    def kick(self, session_id: str, reason: str) -> bool:
        for connection in self.rtmp.connections:
            if connection.session.id == session_id:
                connection.close(reason)
                return True
        return False

    def sweep(self, now: float) -> None:
        self.rtmp.sweep(now)
        self.fanout.sweep(now)
        for publisher in self.hub.publishers.values():
            publisher.stream.meter.sample(now, publisher.session.bytes_in, publisher.stream.frames)


def server_tls(certificate: str, key: str) -> ssl.SSLContext:
    """A server's TLS context: TLS 1.2 or newer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context
