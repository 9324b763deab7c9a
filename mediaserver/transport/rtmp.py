"""RTMP over TCP and TLS: sockets, deadlines and the beat around a sans-IO ServerSession."""

import asyncio
import enum
import logging
import os
import ssl
from collections.abc import Callable
from time import monotonic
from typing import Protocol, cast

from mediaserver.hub.beat import Beat
from mediaserver.hub.player import FanoutPlayer, reason_of
from mediaserver.hub.session import Session
from mediaserver.ports import Wire
from mediaserver.transport.deadlines import Deadlines
from protocols.errors import RemoteProtocolError
from protocols.rtmp.events import Event
from protocols.rtmp.session import ServerSession, SessionLimits

log = logging.getLogger(__name__)

#: One read of a socket. Larger than what a 2.5 Mbit/s publisher sends in a beat of 100 ms, below malloc's mmap threshold.
READ_SIZE = 64 * 1024
#: A publisher whom nobody watches costs nobody latency: its socket may gather this many bytes, for so many seconds at
#: most. Well below a receive window, so that the encoder never notices.
RESTING_BYTES = 24 * 1024
RESTING_TIME = 0.4
#: Seconds that a connection may take to flush its last words.
CLOSING_TIME = 1.0
#: What a peer is fed with in one turn of the loop while it is not known what it wants: bounds what a turn can cost.
PIECE = 8 * 1024
#: Bytes of answers that may wait for a peer whose transport is full already.
UNREAD_ANSWERS = 64 * 1024
#: Connections that may wait to be accepted.
BACKLOG = 4096


class Role(enum.Enum):
    """What a connection is for, which decides its deadline."""

    UNDECIDED = "undecided"
    WAITING = "waiting"
    PUBLISHER = "publisher"
    PLAYER = "player"


class RtmpHandler(Protocol):
    """What a connection's events are handed to: the ingest house's business."""

    def on_events(self, events: list[Event]) -> None: ...

    def on_closed(self, reason: str) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def kick(self, reason: str) -> None: ...

    @property
    def watched(self) -> bool:
        """Whether anybody receives what is published here."""
        ...

    @property
    def player(self) -> FanoutPlayer | None:
        """Where media goes out, if it does."""
        ...


class RtmpConnection(asyncio.Protocol):
    """One RTMP connection. Bytes to ``protocol`` to events to the handler, and back."""

    __slots__ = (
        "_backlog", "_closing_since", "_digesting", "_fd", "_handler", "_held", "_in_beat", "_listener", "_reason",
        "_rests_until", "_seen", "_started", "_told", "_unread", "_waiting_bytes", "asked_back", "full_since", "protocol", "role",
        "session", "transport",
    )  # fmt: skip

    transport: asyncio.Transport
    session: Session

    def __init__(self, listener: "RtmpListener") -> None:
        self._listener = listener
        self.protocol = ServerSession(listener.limits)
        self.role = Role.UNDECIDED
        self._handler: RtmpHandler | None = None
        self._started = self._seen = monotonic()
        self._closing_since = 0.0
        self._reason = "closed by the peer"
        self._fd = -1
        self._held = False
        # Bytes of answers since the transport became full; -1 while it is not. And when it did, or 0.
        self._unread = -1
        self.full_since = 0.0
        self._in_beat = False
        self._rests_until = 0.0
        self._backlog = b""
        self._digesting = False
        self._told = False
        self._waiting_bytes = 0
        #: Whether the peer has been asked to come back, and knows what that means.
        self.asked_back = False

    # -- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast and no check: uvloop's transports are no subclasses of asyncio's.
        self.transport = transport = cast(asyncio.Transport, transport)
        encrypted = transport.get_extra_info("ssl_object") is not None
        peer = transport.get_extra_info("peername")
        self.session = Session(Wire.RTMPS if encrypted else Wire.RTMP, peer[0] if peer else "")
        self._fd = -1 if encrypted else transport.get_extra_info("socket").fileno()
        if obstacle := self._listener.admit(self):
            self.turn_away(obstacle)

    def data_received(self, data: bytes) -> None:
        if self.role is not Role.PUBLISHER and (len(data) > PIECE or self._backlog):
            self._backlog += data
            self._digest()
        else:
            self._feed(data)

    def pause_writing(self) -> None:
        self._unread = max(self._unread, 0)
        self.full_since = self.full_since or monotonic()
        if self._handler is not None:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._unread = -1
        self.full_since = 0.0
        if self._handler is not None:
            self._handler.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and not self._closing_since:
            self._reason = reason_of(exc)
            if self._handler is not None and self._handler.player is not None:
                self._handler.player.lost(exc)
        try:
            if self._handler is not None:
                self._handler.on_closed(self._reason)
        finally:
            self._handler = None
            # Last, because the handler brings the session's counters up to date; and whatever happens there.
            self._listener.forget(self)

    def _digest(self) -> None:
        """Feed on what came at once, a piece a turn; nothing more is read meanwhile."""
        self._digesting = False
        if self._held or self.closing:
            return
        size = PIECE if self.role is not Role.PUBLISHER else len(self._backlog)
        piece, self._backlog = self._backlog[:size], self._backlog[size:]
        self._feed(piece)
        self._poll()
        if self._backlog and not self._digesting:
            self._digesting = True
            self._listener.loop.call_soon(self._digest)

    # -- the beat's side ---------------------------------------------------------------------------------------------

    def enter_beat(self) -> None:
        self._in_beat = True
        self._poll()

    def leave_beat(self) -> None:
        self._in_beat = False
        self._poll()

    def read(self) -> bool:
        handler = self._handler
        if self._held or self._backlog or self.transport.is_closing() or handler is None:
            return False
        if self._rests_until > monotonic() and not handler.watched:
            return False
        try:
            data = os.read(self._fd, READ_SIZE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            # The end, or an error: the poller sees the same and tells connection_lost.
            self._listener.beat.remove_reader(self)
            return False
        before = self._seen
        self._feed(data)
        if len(data) == READ_SIZE:
            return True
        self._rests_until = self._seen + min(RESTING_TIME, RESTING_BYTES / len(data) * (self._seen - before))
        return False

    # -- the handler's side -------------------------------------------------------------------------------------------

    def become(self, role: Role) -> None:
        """Take on ``role``: the deadline changes, and a publisher's socket is read by the beat (TLS hides it)."""
        self.role = role
        self._started = monotonic()
        self._listener.set_deadline(self)
        if role is Role.PUBLISHER and self._fd >= 0 and not self.closing:
            self._listener.beat.add_reader(self)
        else:
            self._listener.beat.remove_reader(self)

    def hold(self, held: bool) -> None:
        """Stop reading while a question is out to the authorizer, or go on."""
        self._held = held
        self._poll()
        if not held and self._backlog and not self._digesting:
            self._digesting = True
            self._listener.loop.call_soon(self._digest)

    def flush(self) -> None:
        """Send what the protocol has to say."""
        data = self.protocol.data_to_send()
        transport = self.transport
        if not data or transport.is_closing() or self._told:
            return
        player = self._handler.player if self._handler is not None else None
        if player is not None:
            player.say(data)
        else:
            self.session.bytes_out += len(data)
            transport.write(data)
        if self._unread >= 0:
            self._unread += len(data)
            if self._unread > UNREAD_ANSWERS:
                self.turn_away("asks and does not read")
                transport.abort()

    @property
    def closing(self) -> bool:
        """Whether it is closed, or will be when its last words are out."""
        return bool(self._closing_since) or self.transport.is_closing()

    def kick(self, reason: str) -> None:
        """Send the peer away, with a word if it understands one."""
        if self._handler is not None:
            self._handler.kick(reason)
        else:
            self.close(reason)

    def ask_back(self, reason: str) -> None:
        """Ask a peer that understands it to reconnect: what ends here for ``reason`` may go on with whoever serves next."""
        if not self.closing:
            self.asked_back = self.protocol.request_reconnect("", reason)
            self.flush()

    def turn_away(self, reason: str, *, told: bool = False) -> None:
        """Close on somebody who did wrong before there was anything to tell an EventSink about: one line says why."""
        if not self._closing_since:
            self._log(logging.INFO, "connection_refused", reason=reason)
        self.close(reason, told=told)

    def close(self, reason: str, *, told: bool = False) -> None:
        """Close after the last words are out. Harmless twice.

        With ``told`` the last words say why: the peer is given the time to read them. A socket that is closed with something
        unread in it takes back what it has not delivered.
        """
        if self._closing_since:
            return
        self._closing_since = monotonic()
        self._reason = reason
        self._backlog = b""
        self._listener.set_deadline(self)
        self._listener.beat.remove_reader(self)
        self.flush()
        self._waiting_bytes = self.transport.get_write_buffer_size()
        if told and self._fd >= 0 and not self.transport.is_closing():
            self._held = self._in_beat = False
            self._told = True
            try:
                self.transport.write_eof()
                self._poll()
            except OSError:  # the peer is gone already
                self.transport.close()
        else:
            self.transport.close()

    def is_late(self, now: float) -> bool:
        if self._closing_since:
            return self._takes_nothing_more(now)
        if self.role is Role.PUBLISHER:
            return now - self._seen > self._listener.idle_timeout
        return self.role is Role.UNDECIDED and now - self._started > self._listener.handshake_timeout

    def end(self) -> None:
        if self._closing_since:
            self.transport.abort()
        elif self.role is Role.PUBLISHER:
            self.close("idle for too long")
        else:
            self.turn_away("neither published nor played in time")

    def _takes_nothing_more(self, now: float) -> bool:
        """Whether a peer does not take its last words: at once if none are left, else when it has stopped taking them."""
        waiting = self.transport.get_write_buffer_size()
        if waiting and waiting < self._waiting_bytes:
            self._closing_since = now
        self._waiting_bytes = waiting
        return now - self._closing_since > CLOSING_TIME

    def _poll(self) -> None:
        if self.transport.is_closing():
            return
        if self._held or self._in_beat or self._backlog:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _feed(self, data: bytes) -> None:
        if self._closing_since:
            return
        self._seen = monotonic()
        self.session.bytes_in += len(data)
        try:
            events = self.protocol.receive_data(data)
            if events:
                if self._handler is None:
                    self._handler = self._listener.make_handler(self)
                self._handler.on_events(events)
        except RemoteProtocolError as error:
            self.turn_away(str(error))
        except Exception:  # noqa: BLE001 - it is logged
            # A bug of ours costs one connection, never the beat that reads the others.
            self._log(logging.ERROR, "connection_failed", exc_info=True)
            self.close("internal error")
        else:
            self.flush()

    def _log(self, level: int, event: str, *, exc_info: bool = False, **facts: object) -> None:
        session = self.session
        log.log(level, event, exc_info=exc_info, extra={"facts": {"session_id": session.id, "address": session.address, **facts}})


class RtmpListener:
    """The RTMP ports: accepts, admits, sweeps and drains connections."""

    def __init__(
        self,
        make_handler: Callable[[RtmpConnection], RtmpHandler],
        beat: Beat,
        limits: SessionLimits,
        *,
        handshake_timeout: float,
        idle_timeout: float,
        has_room: Callable[[], bool],
    ) -> None:
        self.make_handler = make_handler
        self.loop = asyncio.get_running_loop()
        self.beat = beat
        self.limits = limits
        self.handshake_timeout = handshake_timeout
        self.idle_timeout = idle_timeout
        self._has_room = has_room
        self._deadlines = Deadlines(self.loop)
        self.connections: set[RtmpConnection] = set()
        # Bytes of connections that are gone.
        self.bytes_in = 0
        self.bytes_out = 0
        self._servers: list[asyncio.Server] = []
        self._accepting = False
        # Connections that ``close`` waits for, and whom it tells.
        self._leaving: set[RtmpConnection] = set()
        self._all_gone: asyncio.Future[None] | None = None

    async def listen(self, host: str, port: int, context: ssl.SSLContext | None = None) -> None:
        """Open one port. Raises OSError if it is taken."""
        self._accepting = True
        server = await asyncio.get_running_loop().create_server(
            lambda: RtmpConnection(self),
            host,
            port,
            ssl=context,
            backlog=BACKLOG,
            # Half-open TLS handshakes meet the same deadline as half-sent RTMP handshakes.
            ssl_handshake_timeout=self.handshake_timeout if context is not None else None,
            ssl_shutdown_timeout=CLOSING_TIME if context is not None else None,
        )
        self._servers.append(server)

    def admit(self, connection: RtmpConnection) -> str:
        """Why one more connection cannot be taken on; empty if it can. It is kept in any case, until it is gone."""
        obstacle = "" if self._has_room() else "too many connections"
        if not self._accepting:  # its TLS handshake took longer than the port was open
            obstacle = "the port is closed"
        self.connections.add(connection)
        if connection.session.wire is Wire.RTMPS:
            # Its time runs since before its TLS handshake: it is not the last of the newcomers.
            self._deadlines.watch(connection)
        else:
            self.set_deadline(connection)
        return obstacle

    def set_deadline(self, connection: RtmpConnection) -> None:
        """``connection`` is in another role, or closing."""
        if connection not in self.connections:
            return
        if connection.closing or connection.role is Role.PUBLISHER:
            self._deadlines.watch(connection)
        elif connection.role is Role.UNDECIDED:
            self._deadlines.expect_word(connection)
        else:
            self._deadlines.forget(connection)

    def forget(self, connection: RtmpConnection) -> None:
        self.connections.discard(connection)
        self._deadlines.forget(connection)
        self.bytes_in += connection.session.bytes_in
        self.bytes_out += connection.session.bytes_out
        self.beat.remove_reader(connection)
        self._leaving.discard(connection)
        if self._all_gone is not None and not self._leaving and not self._all_gone.done():
            self._all_gone.set_result(None)

    def sweep(self, now: float) -> None:
        self._deadlines.apply(now)

    def take_leave(self, reason: str) -> None:
        """Close the ports, so that nobody comes back here, and ask those who understand it to reconnect. ``close`` ends it."""
        self._accepting = False
        for server in self._servers:
            server.close()  # ``close`` waits for what is left of it
        for connection in tuple(self.connections):
            connection.ask_back(reason)

    async def close(self, reason: str, drain: float = CLOSING_TIME) -> None:
        """Close the ports and every connection; those that do not go within ``drain`` seconds are cut off.

        What is opened meanwhile stays. One call at a time.
        """
        servers, self._servers = self._servers, []
        self._accepting = False
        for server in servers:
            server.close()
        self._leaving = set(self.connections)
        for connection in tuple(self._leaving):
            connection.close(reason)
        try:
            if self._leaving:
                self._all_gone = asyncio.get_running_loop().create_future()
                await asyncio.wait((self._all_gone,), timeout=drain)
        finally:
            self._all_gone = None
            for connection in tuple(self._leaving):
                connection.transport.abort()
        for server in servers:
            await server.wait_closed()
