"""From a target's address to a connection that was answered: names, the address guard, TCP, TLS, the RTMP handshake."""

import asyncio
import ssl
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any
from urllib.parse import urlsplit

from mediaserver.config import Config
from mediaserver.errors import Refused
from mediaserver.relay.address import RelayAddress, is_literal, is_own
from mediaserver.relay.lookups import Lookups
from mediaserver.relay.push import Ending, Outcome, Push, Setback
from mediaserver.transport.rtmp_client import ClientConnection, Tls, Unreachable, reach
from mediaserver.transport.targets import Target, is_public
from mediaserver.transport.trust import client_tls

#: Seconds that targets are given to hear the last words.
GOODBYE = 1.5
_OWN = "the address is this server's own: a stream would run in a circle"
_PRIVATE = "the address is not a public one (server.allow_private_targets)"


class Dialler:
    """Opens the connections of all Relays."""

    def __init__(self, config: Config, spawn: Callable[[Coroutine[None, None, None]], Any]) -> None:
        self._lookups = Lookups(spawn)
        self._allow_private = config.server.allow_private_targets
        self._own_ports: Collection[int] = {config.rtmp.port, config.rtmp.tls_port} - {0}
        self._own_name = urlsplit(config.server.public_url).hostname  # behind a translated address no interface knows it
        self._authority = config.relay.tls_ca
        self._context: ssl.SSLContext | None = None
        self._timeout = config.relay.connect_timeout
        self._connections: set[ClientConnection] = set()

    def check(self, address: RelayAddress) -> None:
        """Raises Refused for what can be seen to be wrong before any name is looked up."""
        if address.host == self._own_name and address.port in self._own_ports:
            raise Refused(_OWN)
        if is_literal(address.host):
            self._judge((address.host,), address.port)

    async def open(self, push: Push, *, reach_timeout: float = 0.0, stay: bool = True) -> None:
        """Bring ``push`` to where the target has answered the handshake; ``stay`` False: and leave. ``reach_timeout`` (seconds):
        for names and TCP, where it is not the configured one. Raises Setback."""
        address, reach_timeout = push.address, reach_timeout or self._timeout
        try:
            targets = await self._find(address, reach_timeout)
            tls = Tls(await self._trust(), address.host) if address.encrypted else None
            await push.reach(targets, reach_timeout=reach_timeout, answer_timeout=self._timeout, tls=tls, stay=stay)
            connection = push.connection
            self._connections.add(connection)
            connection.gone.add_done_callback(lambda _: self._connections.discard(connection))
        except BaseException:
            push.abort()
            raise

    async def touch(self, address: RelayAddress, patience: float) -> None:
        """See whether ``address`` takes a TCP connection within ``patience`` seconds, and close it. Raises Setback."""
        targets = await self._find(address, patience)
        try:
            sock = await reach(targets, patience)
        except Unreachable as error:
            raise Setback(Ending(Outcome.UNREACHABLE, error.reason)) from None
        sock.close()

    async def close(self) -> None:
        """Let those that are about to close do so."""
        if self._connections:
            await asyncio.wait([connection.gone for connection in self._connections], timeout=GOODBYE)
        for connection in tuple(self._connections):
            connection.abort()

    async def _find(self, address: RelayAddress, patience: float) -> Sequence[Target]:
        targets = await self._lookups.find(address.host, address.port, patience)
        if not targets:
            raise Setback(Ending(Outcome.UNREACHABLE, "the target's name cannot be resolved"))
        try:
            self.check(address)
            self._judge([target.address for target in targets], address.port)
        except Refused as refusal:
            raise Setback(Ending(Outcome.REFUSED, refusal.reason)) from None
        return targets

    def _judge(self, hosts: Collection[str], port: int) -> None:
        for host in hosts:
            if is_own(host, port, self._own_ports):
                raise Refused(_OWN)
            if not self._allow_private and not is_public(host):
                raise Refused(_PRIVATE)

    async def _trust(self) -> ssl.SSLContext:
        """The system's authorities and the configured one. They are read once, beside the loop: it takes a while."""
        if self._context is None:
            try:
                self._context = await asyncio.to_thread(client_tls, self._authority)
            except OSError:
                raise Setback(Ending(Outcome.REFUSED, "the certificates in relay.tls_ca cannot be read")) from None
        return self._context
