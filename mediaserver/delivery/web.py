"""The HTTP port: players' media from bytes that are ready, everything else by aiohttp on the same connections."""

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from ipaddress import ip_network
from pathlib import Path
from time import monotonic
from typing import Final, Protocol

from mediaserver.addresses import client_address
from mediaserver.config import HttpConfig
from mediaserver.delivery.audience import Audience, Sighting
from mediaserver.delivery.connection import Connection
from mediaserver.delivery.counters import Counters
from mediaserver.delivery.grants import GrantKey, Grants, RefusalError
from mediaserver.delivery.handed import HandedConnection
from mediaserver.delivery.httpflv import FlvPlayers, OnLost
from mediaserver.delivery.prepared import PreparedRequests, kind_of, wire_of
from mediaserver.delivery.request import MediaRequest
from mediaserver.delivery.response import Cors, Explain, Response, refusal
from mediaserver.delivery.sendfile import HotBodies
from mediaserver.errors import Refused, Unavailable
from mediaserver.hub.fanout import Fanout
from mediaserver.hub.hub import Hub
from mediaserver.hub.session import Session, new_session_id
from mediaserver.packaging.answer import Answer, Gone, Missing
from mediaserver.packaging.lease import Lease
from mediaserver.ports import Authorizer, EventSink, PlayRequest, Wire
from mediaserver.transport.lost import notice_loss

BACKLOG: Final = 1024
#: Seconds that a TLS peer has for its goodbye.
TLS_GOODBYE: Final = 2.0


class Resolver(Protocol):
    """The packaging house's side: what is behind an address now. A pure question; ``now`` is the clock of ``Web``."""

    def answer(self, name: str, resource: str, query: dict[str, str], now: float) -> Answer: ...

    def lease(self, name: str, resource: str) -> Lease:
        """For how long what ``answer`` said last of that address is what it says, whatever the query."""

    def target_duration(self, name: str) -> float:
        """How often (seconds) players ask for a playlist of ``name`` at least."""


@dataclass(frozen=True, slots=True)
class WebServices:
    """What the HTTP port stands on. ``lane`` makes the protocol of aiohttp's lane (an ``aiohttp.web.Server``); ``folder`` takes
    what many ask for, in files without a name."""

    hub: Hub
    fanout: Fanout
    resolver: Resolver
    authorizer: Authorizer
    sink: EventSink
    spawn: Callable[[Coroutine[None, None, None]], "asyncio.Task[None]"]
    lane: Callable[[], asyncio.Protocol]
    folder: Path


class Web:
    """What all connections to the HTTP port share: the listeners, the ready answers, the grants, the counters.

    ``has_room`` says whether one more connection can be taken on. ``sweep`` is to be called about once a second: every
    deadline, and the Date of answers, follows from it.
    """

    def __init__(
        self, services: WebServices, config: HttpConfig, has_room: Callable[[], bool], *, clock: Callable[[], float] = monotonic
    ) -> None:
        self.config = config
        self.clock = clock
        self.now = clock()
        self.date = formatdate(usegmt=True)
        self.cors = Cors(config.cors_origins)
        self.prepared = PreparedRequests()
        self.bodies = HotBodies(services.folder)
        self.counters = Counters()
        self.hub = services.hub
        self.resolve = services.resolver.answer
        self.lease = services.resolver.lease
        self._target_duration = services.resolver.target_duration
        self._audience = Audience(self._pace, services.sink, config.newcomers_per_address)
        self.spawn = services.spawn
        self.loop = asyncio.get_running_loop()
        self.stopping = False
        self._left = asyncio.Event()
        self.players = FlvPlayers(services.fanout, services.sink, self.counters, config.send_timeout, self._left.set, clock)
        #: What is neither media nor a page has words of its own for what cannot be read.
        self.explain: Explain = lambda _head, _status, _reason: None
        self._lane = services.lane
        self._grants = Grants(services.authorizer)
        self._has_room = has_room
        self._trusted = tuple(ip_network(text) for text in config.trusted_proxies)
        self._connections: set[Connection] = set()
        self._handed: dict[asyncio.Transport, HandedConnection] = {}
        self._servers: list[asyncio.Server] = []

    # -- listening ------------------------------------------------------------------------------------------------------

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Open ``port`` (0: any that is free). Returns its number. Raises OSError if it is taken."""
        server = await self.loop.create_server(
            lambda: Connection(self),
            host,
            port,
            ssl=tls,
            backlog=BACKLOG,
            ssl_handshake_timeout=self.config.header_timeout if tls else None,
            ssl_shutdown_timeout=TLS_GOODBYE if tls else None,
        )
        for listening in server.sockets:
            notice_loss(listening, self.config.send_timeout)
        self._servers.append(server)
        number: int = server.sockets[0].getsockname()[1]
        return number

    async def close(self, reason: str) -> None:
        """Take nobody new; let each connection have the answer that is on its way; return when all are gone."""
        self.stopping = True
        for server in self._servers:
            server.close()
        self.players.close(reason)
        self._audience.close(self.clock(), reason)
        for connection in tuple(self._connections):
            connection.close()
        for handed in tuple(self._handed.values()):
            handed.close()
        while self._connections or len(self.players):
            self._left.clear()
            await self._left.wait()
        self.bodies.close()

    def __len__(self) -> int:
        """Connections, whoever has them."""
        return len(self._connections) + len(self._handed) + len(self.players)

    def admit(self, connection: Connection) -> bool:
        """Whether one more connection can be taken on."""
        if not self._has_room():
            return False
        self._connections.add(connection)
        return True

    def forget(self, connection: Connection) -> None:
        """The connection is gone, or no longer the fast lane's. Harmless twice."""
        self._connections.discard(connection)
        self._left.set()

    def hand_over(self, transport: asyncio.Transport, data: bytes) -> None:
        """Give a connection to aiohttp, with the bytes of it that nobody has answered."""
        self.counters.requests["other"] += 1
        handed = self._handed[transport] = HandedConnection(self, transport, self._lane())
        handed.start(data)

    def forget_handed(self, transport: asyncio.Transport) -> None:
        """The connection is gone, or no longer aiohttp's. Harmless twice."""
        self._handed.pop(transport, None)

    def sweep(self, now: float) -> None:
        """Apply all deadlines."""
        self.now = now
        self.date = formatdate(usegmt=True)
        self.prepared.forget_answers()
        self.bodies.sweep(now)
        self._grants.sweep(now)
        for connection in tuple(self._connections):
            connection.sweep(now)
        for handed in tuple(self._handed.values()):
            handed.sweep(now)
        self.players.sweep(now)
        self._audience.sweep(now)

    # -- who watches ----------------------------------------------------------------------------------------------------

    def viewers(self) -> Mapping[str, Mapping[Wire, int]]:
        """Who watches by HLS and DASH, by name, as of the last sweep; FLV's players are sessions."""
        return self._audience.counts

    def seen(self) -> Mapping[str, float]:
        """When each session of HLS and DASH was seen last, Unix time; the others are there until they end."""
        return self._audience.seen(self.clock())

    def note_viewer(self, request: MediaRequest, session: str, peer: str, at: float) -> None:
        """``peer`` asked for this at ``at`` with that session token: a viewer, if it was a playlist or a manifest."""
        wire = wire_of(kind_of(request))
        if wire is None or self.stopping:
            return
        target = request.place
        stream = self.hub.find(target.name)
        source = target.name if stream is None or stream.source is None else stream.source.name
        address = client_address(peer, request.forwarded, self._trusted)
        # The sound is one for all renditions.
        shared = target.resource.endswith("audio.m3u8")
        sighting = Sighting(target.name, source, wire, address, request.agent, session, shared)
        self._audience.note(sighting, at, self.clock())

    def _pace(self, name: str) -> float:
        return 0.0 if self.hub.find(name) is None else self._target_duration(name)

    # -- what may be answered, for both lanes ---------------------------------------------------------------------------

    def exists(self, request: MediaRequest) -> bool:
        """Whether there may be something to answer with: the name is live, or packaged still. Leaves no state behind."""
        target = request.target
        if target is None:
            return False
        if self.hub.find(target.name) is not None:
            return True
        return not target.is_flv and not isinstance(
            self.resolve(target.name, target.resource, target.query, self.clock()), (Missing, Gone)
        )

    def may_until(self, request: MediaRequest, peer: str) -> float:
        """Until when ``peer`` has leave to ask this, without asking anybody; 0 if somebody must be asked."""
        return self._grants.until(self._grant_key(request, peer))

    async def ask(self, request: MediaRequest, peer: str) -> float:
        """Ask the authorizer. Returns until when its yes holds; raises RefusalError for a no."""
        key = self._grant_key(request, peer)
        wire = Wire.DASH if request.target is not None and request.target.resource.endswith(".mpd") else Wire.HLS
        question = PlayRequest(new_session_id(), wire, key.address, key.name, key.credentials, request.agent)
        await self._authorize(request, question)
        return self._grants.keep(key, self.now)

    async def play(
        self, request: MediaRequest, transport: asyncio.Transport, peer: str, on_lost: OnLost | None = None
    ) -> Response | None:
        """Make ``transport`` the connection of an FLV player (RFC 6455 or plain), for good; ``on_lost`` is called at its end.

        Returns a response instead where there is nothing to play by this request; raises RefusalError for a no.
        """
        refused = self.players.check(request, self.cors)
        if refused is not None:
            return refused
        key = self._grant_key(request, peer)
        session = Session(Wire.HTTP_FLV if request.websocket is None else Wire.WS_FLV, key.address, request.agent)
        await self._authorize(
            request, PlayRequest(session.id, session.wire, key.address, key.name, key.credentials, request.agent)
        )
        stream = self.hub.find(key.name)
        if stream is None:
            raise RefusalError(refusal(request, 404, "no stream of this name is live", self.cors))
        if transport.is_closing():
            return None
        self.forget_handed(transport)
        self.players.join(stream, session, request, transport, self.players.head(request, self.date, self.cors), on_lost)
        return None

    async def _authorize(self, request: MediaRequest, question: PlayRequest) -> None:
        try:
            await self._grants.ask(question)
        except Refused as refused:
            raise RefusalError(refusal(request, 403, refused.reason, self.cors)) from None
        except Unavailable as unavailable:
            raise RefusalError(refusal(request, 503, str(unavailable), self.cors)) from None

    def _grant_key(self, request: MediaRequest, peer: str) -> GrantKey:
        target = request.place
        return GrantKey(target.name, client_address(peer, request.forwarded, self._trusted), target.credentials)
