"""The client's end of RTMP over TCP and TLS: the only place where a socket meets a ClientSession."""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast

from mediaserver.transport.lost import notice_loss
from mediaserver.transport.rtmp import CLOSING_TIME
from mediaserver.transport.targets import Target
from mediaserver.transport.trust import objection
from protocols.errors import RemoteProtocolError
from protocols.rtmp.client import ClientSession
from protocols.rtmp.events import Event
from protocols.rtmp.states import SessionState

#: Addresses of one name that are tried.
MOST_ADDRESSES = 4
#: Seconds after which an address that did not answer is asked anew: the kernel itself asks again after 1, 3, 7 seconds, and
#: somebody who is back in between would be noticed late.
ROUND = 2.5
#: Seconds that are too few for another question.
_MOMENT = 0.02
#: Looks in CLOSING_TIME at a peer that is to hear the last words, and how often it may have that time anew for taking some. A
#: loop that stood still meanwhile has looked but once.
_LOOKS, _MOST_TURNS = 4, 10
_SILENCE = "no answer to the attempt to connect"
#: Bytes that the kernel may hold unsent, and bytes that the transport may hold before it says so. What waits beyond that waits
#: where it can still be dropped.
UNSENT_BYTES = 128 * 1024
BUFFER_BYTES = 64 * 1024
#: Where ``struct tcp_info`` of Linux holds what we ask for: segments in flight, bytes acknowledged (4.1), bytes unsent (4.6).
_TCP_INFO_SIZE, _UNACKED, _BYTES_ACKED, _NOTSENT = 148, 24, 120, 144


class Unreachable(Exception):
    """Nobody answered as an RTMP server does. ``silent``: there was no peer, or it said nothing before it went; a peer that
    answered with something else, such as a certificate that cannot be trusted, is not."""

    def __init__(self, reason: str, *, silent: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.silent = silent


class ClientHandler(Protocol):
    """What a connection's events are handed to."""

    def on_events(self, events: list[Event]) -> None: ...

    def on_writable(self) -> None:
        """The peer takes more again."""

    def on_lost(self, reason: str) -> None:
        """The connection is gone, and was not closed by us. Not more than once."""


@dataclass(frozen=True, slots=True)
class Tls:
    """The trust that TLS rests on, and the name that the peer's certificate must be for."""

    context: ssl.SSLContext
    name: str


class Taken(NamedTuple):
    """How much a peer has taken: bytes that its kernel acknowledged, and whether any are still on their way to it."""

    acknowledged: int
    waiting: bool


class ClientConnection(asyncio.Protocol):
    """One connection to an RTMP server: bytes to ``session`` to events to ``handler``, and back.

    The kernel gives it up when the peer's acknowledges nothing for ``patience`` seconds.
    """

    transport: asyncio.Transport

    def __init__(self, session: ClientSession, handler: ClientHandler, patience: float) -> None:
        self.session = session
        self.bytes_out = 0
        self.writable = False
        self._handler = handler
        self._patience = patience
        loop = asyncio.get_running_loop()
        self._answered: asyncio.Future[Unreachable | None] = loop.create_future()
        #: Done when the socket is closed.
        self.gone: asyncio.Future[None] = loop.create_future()
        self._over = False
        self._stay = True
        self._socket: socket.socket | None = None

    async def open(
        self,
        targets: Sequence[Target],
        *,
        reach_timeout: float,
        answer_timeout: float,
        tls: Tls | None,
        stay: bool = True,
    ) -> None:
        """Connect to the first of ``targets`` that lets us, and pass the handshakes of TLS and RTMP. Raises Unreachable.

        ``stay`` False: leave as soon as the peer has answered, without another word.
        """
        self._stay = stay
        sock = await reach(targets, reach_timeout)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(answer_timeout):
                await loop.create_connection(
                    lambda: self,
                    sock=sock,
                    ssl=tls.context if tls else None,
                    server_hostname=tls.name if tls else None,
                    ssl_handshake_timeout=answer_timeout if tls else None,
                    ssl_shutdown_timeout=CLOSING_TIME if tls else None,
                )
                problem = await self._answered
        except TimeoutError:
            self.abort()
            raise Unreachable(f"no answer within {answer_timeout:g} s") from None
        except ssl.SSLError as error:
            raise Unreachable(objection(error), silent=False) from None
        except OSError as error:
            raise Unreachable(_words(error)) from None
        except BaseException:
            self.abort()
            raise
        if problem is not None:
            raise problem

    # -- asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast and no check: uvloop's transports are no subclasses of asyncio's.
        self.transport = transport = cast(asyncio.Transport, transport)
        self._socket = transport.get_extra_info("socket")
        transport.set_write_buffer_limits(BUFFER_BYTES)
        self.writable = True
        self._prepare()
        self.session.start()
        self.flush()

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        try:
            events = self.session.receive_data(data)
        except RemoteProtocolError as error:
            self._lose(str(error), silent=False)
            self.transport.abort()
            return
        if not self._answered.done() and self.session.state is not SessionState.HANDSHAKE:
            self._answered.set_result(None)
            if not self._stay:
                self._over = True
                self.transport.close()
                return
        if events:
            self._handler.on_events(events)
        self.flush()

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        if not self._over:
            self._handler.on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        self.writable = False
        self._socket = None
        if not self.gone.done():
            self.gone.set_result(None)
        self._lose("the target closed the connection" if exc is None else _words(exc))

    # -- the handler's side -----------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send what the session has to say; bodies go out uncopied."""
        pieces = self.session.pieces_to_send()
        if pieces and not self.transport.is_closing():
            self.bytes_out += sum(map(len, pieces))
            self.transport.writelines(pieces)

    @property
    def buffered(self) -> int:
        """Bytes that wait for the socket."""
        return 0 if self._socket is None else self.transport.get_write_buffer_size()

    def taken(self) -> Taken:
        """What the peer's kernel has taken of all that was sent; where the system does not say, what ours has."""
        sock = self._socket
        if sock is None:
            return Taken(0, waiting=False)
        buffered = self.buffered
        with contextlib.suppress(AttributeError, OSError, struct.error):
            facts = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
            acknowledged = struct.unpack_from("Q", facts, _BYTES_ACKED)[0]
            unacked, unsent = struct.unpack_from("I", facts, _UNACKED)[0], struct.unpack_from("I", facts, _NOTSENT)[0]
            return Taken(acknowledged, waiting=bool(unacked or unsent or buffered))
        return Taken(self.bytes_out - buffered, waiting=buffered > 0)

    def close(self) -> None:
        """Say goodbye, and close when the peer has heard it; one that takes nothing more is cut off. Harmless twice."""
        if self._over:
            return
        self._over = True
        if self._socket is None or self.transport.is_closing():
            return
        self.session.close()
        self.flush()
        # What it still says is not read, so a socket closed at once would take back what it has not delivered.
        if self.transport.can_write_eof():
            with contextlib.suppress(OSError):
                self.transport.write_eof()
        else:
            self.transport.close()
        loop = asyncio.get_running_loop()
        loop.call_later(CLOSING_TIME / _LOOKS, self._see_off, self.taken().acknowledged, _LOOKS - 1, loop.time())

    def _see_off(self, before: int, left: int, since: float) -> None:
        """Cut off a peer that takes no more of what was said. ``left``: looks that it has for it."""
        if self._socket is None:
            return
        loop, acknowledged = asyncio.get_running_loop(), self.taken().acknowledged
        if acknowledged != before and loop.time() - since < _MOST_TURNS * CLOSING_TIME:
            left = _LOOKS
        if left > 0:
            loop.call_later(CLOSING_TIME / _LOOKS, self._see_off, acknowledged, left - 1, since)
        else:
            self.transport.abort()

    def abort(self) -> None:
        """Cut the connection off, whatever waits. Harmless twice, and before there is one."""
        self._over = True
        self._answered.cancel()
        if self._socket is not None:
            self.transport.abort()

    def reset(self) -> None:
        """Cut the connection off so that the peer knows: what it has not acknowledged is not sent first, only the end."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    def _lose(self, reason: str, *, silent: bool = True) -> None:
        if self._over:
            return
        self._over = True
        if self._answered.done():
            self._handler.on_lost(reason)
        else:
            self._answered.set_result(Unreachable(reason, silent=silent))

    def _prepare(self) -> None:
        sock = self._socket
        if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
            return
        notice_loss(sock, self._patience)
        with contextlib.suppress(AttributeError):  # not everywhere
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


async def reach(targets: Sequence[Target], patience: float) -> socket.socket:
    """A socket that is connected, within ``patience`` seconds, to the first of ``targets`` that lets us. Raises Unreachable:
    with the silence, where one of them was silent to the end."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    asked = silent = list(targets[:MOST_ADDRESSES])
    problem = "no address"
    while silent:
        left = max(0.0, deadline - loop.time())
        found = await _reach_once(asked, left / max(1, round(left / (ROUND * len(silent)))))
        if isinstance(found, socket.socket):
            return found
        silent = [target for target, words in zip(asked, found, strict=True) if words == _SILENCE]
        # Who said something says it at once, and leaves the time of the next round to those who did not.
        asked = [target for target, words in zip(asked, found, strict=True) if words != _SILENCE] + silent
        problem = _SILENCE if silent else found[-1]
        if deadline - loop.time() < _MOMENT:
            break
    raise Unreachable(problem)


async def _reach_once(targets: Sequence[Target], patience: float) -> socket.socket | list[str]:
    """The socket, or what is wrong with each of ``targets``."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    problems: list[str] = []
    for at, target in enumerate(targets):
        sock = socket.socket(target.family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            # One address that is a hole must not take the time of those behind it.
            async with asyncio.timeout((deadline - loop.time()) / (len(targets) - at)):
                await loop.sock_connect(sock, (target.address, target.port))
        except TimeoutError:
            sock.close()
            problems.append(_SILENCE)
        except OSError as error:
            sock.close()
            problems.append(_words(error))
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    return problems


def _words(error: Exception) -> str:
    """What went wrong, without addresses."""
    match error:
        case TimeoutError():
            return "the target has taken nothing for too long"
        case ConnectionRefusedError():
            return "the connection was refused"
        case ConnectionResetError():
            return "the connection was reset"
        case BrokenPipeError():
            return "the target closed the connection"
        case OSError(errno=int(number)) if number in errno.errorcode:
            return os.strerror(number).lower()
        case _:
            return f"the connection failed ({type(error).__name__})"
