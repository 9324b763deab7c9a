"""The engine's door: start and stop, look in, send somebody away. What it asks and tells goes through ``ports``."""

import asyncio
import contextlib
import enum
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from time import monotonic

from mediaserver.config import Config, RtmpConfig
from mediaserver.delivery.web import Web, WebServices
from mediaserver.errors import Unavailable
from mediaserver.hub.beat import Beat
from mediaserver.hub.fanout import Fanout
from mediaserver.hub.hub import Hub, HubLimits
from mediaserver.hub.session import Session
from mediaserver.hub.stream import LiveStream
from mediaserver.ingest.pulls import Pulls
from mediaserver.ingest.rtmp import RtmpServices
from mediaserver.ingest.slates import Slates
from mediaserver.packaging.numbersfile import NumbersFile
from mediaserver.packaging.packagers import Packagers
from mediaserver.packaging.resources import Resources
from mediaserver.packaging.thumbnails import Thumbnails
from mediaserver.ports import Authorizer, EventSink, PublishGrant, PullSource, RecordingOrder, RelayTarget, Wire
from mediaserver.recording.recordings import Recordings
from mediaserver.recording.sprites import SpriteQueue, SpritesOnFinish
from mediaserver.relay.lookups import Lookups
from mediaserver.relay.relays import Relays
from mediaserver.snapshot import EngineSnapshot, StreamSnapshot
from mediaserver.tidy import Tidier
from mediaserver.tls import https, server_tls
from mediaserver.transcode.transcoders import Transcoders
from mediaserver.transport.rtmp import CLOSING_TIME, RtmpListener
from mediaserver.transport.targets import Target, permitted
from protocols.rtmp.limits import SessionLimits

log = logging.getLogger(__name__)

#: Seconds between two looks at deadlines and rates.
SWEEP_INTERVAL = 1.0
#: What a stream, live or packaged, weighs beside a connection, where it is about memory.
_LOAD_OF_STREAM = 1000
#: Seconds that the authorizer may take for an answer.
AUTHORIZE_TIMEOUT = 5.0
#: Seconds that may pass until it is known where a name leads.
LOOKUP_PATIENCE = 5.0


class EngineState(enum.Enum):
    """NEW → RUNNING → DRAINING → STOPPED; an engine is not started twice."""

    NEW = "new"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"


class Engine:
    """Everything between an encoder and its players, on the event loop that runs when it is made.

    ``web`` is the HTTP port for players; whatever asks it for something else is handed to the ``pages`` given to
    ``start``.
    """

    def __init__(self, config: Config, authorizer: Authorizer, sink: EventSink) -> None:
        self.config = config
        self.state = EngineState.NEW
        #: Since when the RTMP ports are open (Unix time), 0 while they are not.
        self.rtmp_since = 0.0
        # The ports open and close in turn, whoever asks at the same time.
        self._rtmp_turn = asyncio.Lock()
        self._since = time.time()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pages: Callable[[], asyncio.Protocol] | None = None
        self._beat = Beat(asyncio.get_running_loop(), config.rtmp.max_latency / 1000)
        self._fanout = Fanout(self._beat, config.rtmp.slow_timeout)
        self._hub = Hub(_hub_limits(config.rtmp, config.limits.max_connections), sink)
        self._packagers = Packagers(self._hub, config.hls, time.time, ladder=bool(config.transcode.ladder))
        self._numbers = NumbersFile(Path(config.server.data_dir), self._packagers, self.spawn)
        self._thumbnails = Thumbnails(self._hub, self.spawn)
        self._transcoders = Transcoders(self._hub, config, sink, self.spawn)
        self._lookups = Lookups(self.spawn)
        self._relays = Relays(self._hub, config, sink, self.spawn)
        self._sprites = SpriteQueue(self.spawn)
        recorded = SpritesOnFinish(sink, self._sprites) if config.recording.sprites else sink
        self._recordings = Recordings(self._hub, config, recorded, self.spawn)
        self._pulls = Pulls(self._hub, config, sink, self.spawn)
        self._slates = Slates(self._hub, config, self.spawn)
        self._tidier = Tidier(self._load, _LOAD_OF_STREAM, self.spawn)
        self._hub.on_publish(self._begin)
        self._rtmp = RtmpListener(
            RtmpServices(
                hub=self._hub,
                fanout=self._fanout,
                authorizer=authorizer,
                sink=sink,
                spawn=self.spawn,
                app=config.rtmp.app,
                authorize_timeout=AUTHORIZE_TIMEOUT,
                wait_for_publisher=config.rtmp.wait_for_publisher,
            ).endpoint,
            self._beat,
            SessionLimits(message=config.limits.message_bytes, reassembly=config.limits.reassembly_bytes),
            handshake_timeout=config.rtmp.handshake_timeout,
            idle_timeout=config.rtmp.idle_timeout,
            has_room=self._has_room,
        )
        self.web = Web(
            WebServices(
                hub=self._hub,
                fanout=self._fanout,
                resolver=Resources(self._packagers, self._thumbnails),
                authorizer=authorizer,
                sink=sink,
                spawn=self.spawn,
                lane=self._page,
                folder=Path(config.server.data_dir),
            ),
            config.http,
            self._has_room,
        )

    # -- life -------------------------------------------------------------------------------------------------------

    async def start(self, pages: Callable[[], asyncio.Protocol]) -> None:
        """Open the ports. ``pages`` makes the protocol for HTTP that is not media (an ``aiohttp.web.Server``).

        Raises OSError for a port that is taken, with nothing left open.
        """
        self._pages = pages
        http = self.config.http
        await self._numbers.load()
        await self._recordings.recover()
        if self.config.recording.sprites:
            await self._sprites.resume(self._recordings.root)
        try:
            await self.open_rtmp()
            await self.web.listen(http.host, http.port, https(http.tls_cert, http.tls_key) if http.tls_cert else None)
        except BaseException:
            await self._close("the server could not start")
            raise
        self.state = EngineState.RUNNING
        self.spawn(self._sweep())

    async def open_rtmp(self) -> None:
        """Open the RTMP ports. Harmless if they are open; waits for a closing that is under way.

        Raises OSError for one that is taken, with none left open, and Unavailable when the engine stops.
        """
        async with self._rtmp_turn:
            if self.state in (EngineState.DRAINING, EngineState.STOPPED):
                raise Unavailable("the server is stopping")
            if self.rtmp_since:
                return
            rtmp = self.config.rtmp
            try:
                await self._rtmp.listen(rtmp.host, rtmp.port)
                if rtmp.tls_port:
                    await self._rtmp.listen(rtmp.host, rtmp.tls_port, server_tls(rtmp.tls_cert, rtmp.tls_key))
            except BaseException:
                await self._rtmp.close("the server could not start")
                raise
            self.rtmp_since = time.time()

    async def close_rtmp(self, reason: str, drain: float = CLOSING_TIME) -> None:
        """Close the RTMP ports and everybody on them, who have ``drain`` seconds to go; all else goes on. Harmless if they are
        closed; waits for an opening that is under way."""
        async with self._rtmp_turn:
            self.rtmp_since = 0.0
            await self._rtmp.close(reason, drain)

    async def stop(self, drain: float) -> None:
        """Take nobody new, ask who understands it to reconnect, end every stream, and let players have what is on its way for up
        to ``drain`` seconds."""
        self.state = EngineState.DRAINING
        # Every recording is finished now: the sprites of none of them would be.
        self._sprites.shut()
        self._rtmp.take_leave("the server is stopping")
        self._hub.end_all("the server is stopping")
        # What encoders still hold belongs to players and recordings.
        await self._transcoders.finish()
        # A slow disk has a time of its own, which does not come off the players'.
        await asyncio.gather(self._recordings.close(), self._drain("the server is stopping", drain))
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.state = EngineState.STOPPED

    async def _drain(self, reason: str, drain: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain + 1.0):
                await self._close(reason, drain)

    async def _close(self, reason: str, drain: float = 0.0) -> None:
        await asyncio.gather(self._pulls.close(), self._slates.close())
        await asyncio.gather(
            self.close_rtmp(reason, drain),
            self.web.close(reason),
            self._thumbnails.close(),
            self._transcoders.close(),
            self._relays.close(),
            self._sprites.close(),
            self._numbers.close(),
        )
        self._beat.close()

    def _has_room(self) -> bool:
        return len(self._rtmp.connections) + len(self.web) < self.config.limits.max_connections

    def _load(self) -> int:
        streams = len(self._hub.streams) + len(self._packagers)
        return streams * _LOAD_OF_STREAM + len(self._rtmp.connections) + len(self.web)

    def _begin(self, stream: LiveStream) -> None:
        """A stream has begun: what its grant asks for begins with it."""
        self._packagers.begin(stream.name, monotonic())
        self._transcoders.begin(stream)
        self._relays.begin(stream)
        self._recordings.begin(stream)

    # -- looking and acting --------------------------------------------------------------------------------------------

    def snapshot(self) -> EngineSnapshot:
        """What is live and connected now. Raises Unavailable when the engine is not running."""
        if self.state not in (EngineState.RUNNING, EngineState.DRAINING):
            raise Unavailable("the engine is not running")
        self._fanout.settle()
        sessions = [connection.session for connection in self._rtmp.connections] + self.web.players.sessions()
        players: dict[str, list[Session]] = defaultdict(list)
        for session in sessions:
            if session.name and not session.publishing:
                players[session.name].append(session)
        publishers = self._hub.publishers
        return EngineSnapshot(
            since=self._since,
            draining=self.state is EngineState.DRAINING,
            beat=self._beat.interval,
            bytes_in=self._rtmp.bytes_in
            + sum(connection.session.bytes_in for connection in self._rtmp.connections)
            + self._pulls.bytes_in,
            bytes_out=self._rtmp.bytes_out
            + sum(connection.session.bytes_out for connection in self._rtmp.connections)
            + self.web.counters.bytes_out,
            players_cut_off=self._fanout.cut_off,
            streams=tuple(
                replace(
                    _with_viewers(
                        stream.snapshot(publishers[name].session if name in publishers else None, players[name]),
                        self.web.viewers().get(name, {}),
                    ),
                    rungs=self._transcoders.rungs(name),
                )
                for name, stream in self._hub.streams.items()
            ),
            relays=self._relays.snapshots(),
            recordings=self._recordings.snapshots(),
            pulls=self._pulls.snapshots(),
            sessions=tuple(session.snapshot() for session in sessions if session.name),
        )

    def seen(self) -> Mapping[str, float]:
        """When each session was seen last, Unix time, as far as it may have gone without a word."""
        return self.web.seen()

    def kick(self, session_id: str, reason: str = "sent away") -> bool:
        """Close the session of that id. False if there is none."""
        for connection in self._rtmp.connections:
            if connection.session.id == session_id:
                connection.kick(reason)
                return True
        stopped = self._pulls.stop(session_id, reason) or self._slates.stop(session_id, reason)
        return stopped or self.web.players.kick(session_id, reason)

    async def encoders(self) -> tuple[str, ...]:
        """FFmpeg's names of the encoders (and decoders) that really work on this machine. The first time takes seconds."""
        return await self._transcoders.encoders()

    async def resolve(self, host: str, port: int) -> tuple[Target, ...]:
        """Where ``host`` leads, for connections to addresses that users give. Raises Refused where that is none of theirs."""
        found = await self._lookups.find(host, port, LOOKUP_PATIENCE)
        return permitted(host, found, allow_private=self.config.server.allow_private_targets)

    def end(self, name: str, reason: str) -> bool:
        """End the stream ``name`` now, with its publisher and without a grace period. False if it is not live."""
        live = self._hub.find(name) is not None
        self._hub.end(name, reason)
        return live

    def start_pull(self, source: PullSource, grant: PublishGrant) -> str:
        """Fetch ``source`` and publish it as ``grant`` says, until its session is kicked. That session's id. Raises Refused."""
        return self._pulls.start(source, grant)

    def regrant(self, grant: PublishGrant) -> None:
        """What is published under ``grant.name``, or fetched for it, is ruled by ``grant`` from now on: relays and recordings at
        once, all else when it begins anew. Harmless if there is none."""
        self._pulls.regrant(grant)
        stream = self._hub.find(grant.name)
        if stream is not None:
            before, stream.grant = stream.grant, replace(stream.grant, relays=grant.relays, recordings=grant.recordings)
            self._relays.follow(stream, before)
            self._recordings.follow(stream, before)

    def start_relay(self, name: str, target: RelayTarget) -> None:
        """Relay ``name`` to ``target`` from now on, or as soon as it is live, until stopped. Raises Refused."""
        self._relays.start(name, target)

    def stop_relay(self, name: str, relay_id: str) -> bool:
        """End that Relay. False if there is none."""
        return self._relays.stop(name, relay_id)

    def start_recording(self, name: str, order: RecordingOrder) -> None:
        """Record ``name``, which is live, until stopped or it ends. Raises Refused."""
        self._recordings.start(name, order)

    def stop_recording(self, name: str, recording_id: str) -> bool:
        """End that recording. False if there is none."""
        return self._recordings.stop(name, recording_id)

    # -- what the engine owns -------------------------------------------------------------------------------------------

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

    def _page(self) -> asyncio.Protocol:
        if self._pages is None:
            raise Unavailable("the engine is not running")
        return self._pages()

    async def _sweep(self) -> None:
        """Once a second: deadlines, rates, and what nobody asks for any more."""
        houses = (
            self._rtmp,
            self._fanout,
            self._packagers,
            self._numbers,
            self._thumbnails,
            self.web,
            self._transcoders,
            self._relays,
            self._recordings,
            self._pulls,
            self._slates,
            self._tidier,
        )
        sweeps = [self._hub.sample, *(house.sweep for house in houses)]
        while True:
            await asyncio.sleep(SWEEP_INTERVAL)
            now = monotonic()
            for sweep in sweeps:
                try:
                    sweep(now)
                except Exception:  # a bug in one room must not end the deadlines of all
                    log.exception("sweep_failed")


def _hub_limits(rtmp: RtmpConfig, max_streams: int) -> HubLimits:
    return HubLimits(
        reconnect_grace=rtmp.reconnect_grace,
        takeover=rtmp.takeover,
        gop_max_bytes=rtmp.gop_max_bytes,
        gop_max_ms=round(rtmp.gop_max_seconds * 1000),
        max_streams=max_streams,
    )


def _with_viewers(stream: StreamSnapshot, viewers: Mapping[Wire, int]) -> StreamSnapshot:
    """``stream`` with those who watch by HLS and DASH among its players."""
    return replace(stream, players={**stream.players, **viewers}) if viewers else stream
