"""One POST to somebody's server: to addresses that were judged, within a time, with nothing followed and little read."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from aiohttp import (
    ClientConnectorCertificateError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    DummyCookieJar,
    ServerDisconnectedError,
    TCPConnector,
)
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from control.webhooks.outcome import Outcome
from mediaserver.errors import Refused

#: Bytes of an answer that are read, and letters of it that are kept.
MAX_READ = 2048
MAX_KEPT = 500
#: Seconds that the body of an answer is waited for: what counts is its status.
BODY = 1.0


class Address(Protocol):
    """An address that may be connected to."""

    @property
    def family(self) -> int: ...
    @property
    def address(self) -> str: ...
    @property
    def port(self) -> int: ...


#: The engine's guard: the addresses of a host and port. Raises Refused.
Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]


class Sender:
    """``async with Sender(...)``: a pool of connections to receivers."""

    def __init__(self, resolve: Resolve, timeout: float, connections: int, agent: str) -> None:
        self._resolve = resolve
        self._timeout = timeout
        self._connections = connections
        self._agent = agent
        self._session: ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = TCPConnector(limit=self._connections, resolver=_Guarded(self._resolve), use_dns_cache=False)
        self._session = ClientSession(
            connector=connector,
            timeout=ClientTimeout(total=self._timeout),
            cookie_jar=DummyCookieJar(),
            headers={"User-Agent": self._agent, "Accept": "*/*", "Accept-Encoding": "identity"},
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Send it. Never raises for what the receiver does, and says nothing of ``url``."""
        began = time.monotonic()
        status, response, wish = None, "", 0.0
        try:
            async with asyncio.timeout(self._timeout):
                status, response, wish = await self._post(URL(url, encoded=True), body, headers)
            error = "" if 200 <= status < 300 else _complaint(status)
        except Exception as failure:  # noqa: BLE001 - whatever a stranger's server brings about
            error = _reason(failure)
        return Outcome(status, error, round(time.monotonic() - began, 3), response, wish)

    async def _post(self, url: URL, body: bytes, headers: Mapping[str, str]) -> tuple[int, str, float]:
        if self._session is None:
            raise RuntimeError("the sender is closed")
        # An address that stands in the URL itself is not looked up by the connector: it is judged here, like any other.
        await self._resolve(url.raw_host or "", url.port or 0)
        sent = {"Content-Type": "application/json", **headers}
        async with self._session.post(url, data=body, headers=sent, allow_redirects=False) as response:
            text = await _beginning(response)
            return response.status, text, _wish(response)


class _Guarded(AbstractResolver):
    """Names lead to the addresses that were judged, and to no others."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:  # noqa: ARG002
        try:
            found = await self._resolve(host, port)
        except Refused as refusal:
            raise OSError(refusal.reason) from refusal
        return [
            ResolveResult(hostname=host, host=target.address, port=target.port, family=target.family, proto=0, flags=0)
            for target in found
        ]

    async def close(self) -> None:
        """Nothing to close."""


async def _beginning(response: ClientResponse) -> str:
    """The first of what was answered. Whatever comes beyond is not waited for: the connection is closed then."""
    read = b""
    with contextlib.suppress(TimeoutError, ClientError):
        async with asyncio.timeout(BODY):
            while len(read) < MAX_READ and (data := await response.content.read(MAX_READ - len(read))):
                read += data
    if not response.content.at_eof():
        response.close()
    text = read.decode("utf-8", "replace")[:MAX_KEPT]
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


def _wish(response: ClientResponse) -> float:
    text = response.headers.get("Retry-After", "")
    return float(text) if response.status in {429, 503} and text.isascii() and text.isdecimal() and len(text) < 9 else 0.0


def _complaint(status: int) -> str:
    if 300 <= status < 400:
        return f"the receiver answered {status}: redirects are not followed"
    return f"the receiver answered {status}"


def _reason(failure: Exception) -> str:
    """A failure in words. The exceptions' own text holds the URL, which may hold a secret."""
    chain: list[BaseException | None] = [failure]
    for _ in range(4):
        last = chain[-1]
        chain.append(getattr(last, "os_error", None) or getattr(last, "__cause__", None))
    for one in chain:
        if isinstance(one, Refused):
            return one.reason
    for kinds, words in _REASONS:
        if any(isinstance(one, kinds) for one in chain):
            return words
    return f"it could not be sent: {type(failure).__name__}"


_REASONS: Sequence[tuple[tuple[type[BaseException], ...], str]] = (
    ((TimeoutError,), "the receiver did not answer in time"),
    ((ClientConnectorCertificateError, ClientSSLError), "no secure connection: its certificate or TLS is not valid"),
    ((ConnectionRefusedError,), "nobody answers at its address"),
    ((ServerDisconnectedError, ConnectionResetError), "the receiver closed the connection without an answer"),
    ((OSError,), "its address cannot be reached"),
    ((ClientError,), "the receiver's answer is no HTTP"),
)
