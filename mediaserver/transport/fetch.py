"""HTTP for worker processes: every connection, after every redirect too, goes only where the server may go.

Blocking, one request a connection. The address that was judged is the one that is connected to.
"""

import base64
import http.client
import ssl
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from mediaserver.errors import Refused
from mediaserver.transport.targets import LookUp, connect, resolve
from mediaserver.transport.trust import client_tls, objection

#: Redirects that are followed.
MAX_REDIRECTS = 5
#: Bytes of a URL.
MAX_URL = 4096
#: Seconds of ``timeout`` that a whole resource may take, however steadily it drips.
WHOLE = 6

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}
_AGENT = "mediaserver"


def _uncounted(_: int) -> None:
    """Nobody counts."""


class FetchError(Exception):
    """The source did not give what it was asked for. No address in the words: it may hold a secret."""


class Resource:
    """What a server answers with: ``read`` as much as has come. To be closed. ``url`` is where it was found in the end."""

    def __init__(
        self,
        connection: http.client.HTTPConnection,
        response: http.client.HTTPResponse,
        url: str,
        spend: Callable[[int], None],
    ) -> None:
        self.url = url
        self._spend = spend
        #: Bytes that it says it has; None for one without an end.
        self.length = response.length
        self._connection, self._response = connection, response
        self._missing = response.length

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes, as soon as there are any; empty at the end. Raises FetchError, for an end too early as well."""
        try:
            data = self._response.read1(size)
        except (OSError, http.client.HTTPException) as error:
            raise FetchError(f"the source broke off: {_words(error)}") from None
        self._spend(len(data))
        if self._missing is not None:
            self._missing -= len(data)
            if not data and size and self._missing:
                raise FetchError("the source broke off: it ended too early")
        return data

    def close(self) -> None:
        self._response.close()
        self._connection.close()

    def __enter__(self) -> "Resource":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Fetcher:
    """Gets ``http`` and ``https`` URLs. ``timeout`` (seconds) is for each wait; ``trust`` says whom TLS believes; ``spend`` is
    told of all bytes that come, and may wait or raise; ``look_up`` resolves names in tests."""

    def __init__(
        self,
        *,
        allow_private: bool,
        timeout: float,
        trust: Callable[[], ssl.SSLContext] = client_tls,
        spend: Callable[[int], None] = _uncounted,
        look_up: LookUp | None = None,
    ) -> None:
        self._allow_private, self._timeout, self._look_up = allow_private, timeout, look_up
        self._trust, self._spend = trust, spend
        self._context: ssl.SSLContext | None = None

    def open(self, url: str, headers: Mapping[str, str] | None = None) -> Resource:
        """The resource at ``url``, redirects followed. Raises FetchError, and Refused for where the server may not go."""
        given = self._parse(url)
        for _ in range(MAX_REDIRECTS + 1):
            parts = self._parse(url)
            # A password is for the host that it was given for, and for no other that this one names.
            secret = given if (given.scheme, given.netloc) == (parts.scheme, parts.netloc) else None
            connection = self._connect(parts)
            try:
                response = self._ask(connection, parts, secret, headers or {})
            except BaseException:
                connection.close()
                raise
            if response.status not in _REDIRECTS:
                return self._accept(connection, response, url)
            connection.close()
            url = self._join(url, response.headers.get("Location", ""))
        raise FetchError("too many redirects")

    def get(self, url: str, limit: int, headers: Mapping[str, str] | None = None) -> tuple[bytes, str]:
        """All of the resource, and the URL that it was found at. Raises FetchError for more than ``limit`` bytes, too."""
        deadline = time.monotonic() + WHOLE * self._timeout
        pieces, size = [], 0
        with self.open(url, headers) as resource:
            while piece := resource.read(1 << 16):
                pieces.append(piece)
                size += len(piece)
                if size > limit:
                    raise FetchError(f"more than {limit} bytes where a piece of a stream belongs")
                if time.monotonic() > deadline:
                    raise FetchError("the source is too slow")
            return b"".join(pieces), resource.url

    @staticmethod
    def _join(url: str, reference: str) -> str:
        try:
            return urljoin(url, reference)
        except ValueError:
            raise FetchError("a redirect to an address that is none") from None

    def _parse(self, url: str) -> SplitResult:
        if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
            raise FetchError("an address that cannot be used")
        try:
            parts = urlsplit(url)
            usable = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise FetchError("an address that is not http or https")
        return parts

    def _connect(self, parts: SplitResult) -> http.client.HTTPConnection:
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        targets = resolve(host, port, allow_private=self._allow_private, look_up=self._look_up)
        connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
        try:
            connection.sock = connect(targets, self._timeout)
            if parts.scheme == "https":
                self._context = self._context or self._trust()
                connection.sock = self._context.wrap_socket(connection.sock, server_hostname=host)
        except OSError as error:
            connection.close()
            raise FetchError(f"{host} cannot be reached: {_words(error)}") from None
        return connection

    @staticmethod
    def _ask(
        connection: http.client.HTTPConnection, parts: SplitResult, secret: SplitResult | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        sent = {"Host": parts.netloc.rpartition("@")[2], "User-Agent": _AGENT, "Accept-Encoding": "identity", **headers}
        if secret is not None and secret.username is not None:
            pair = f"{unquote(secret.username)}:{unquote(secret.password or '')}"
            sent["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        try:
            connection.request("GET", target, headers=sent)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise FetchError(f"the source does not answer: {_words(error)}") from None

    def _accept(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, url: str) -> Resource:
        if response.status not in (200, 206):
            status = response.status
            response.close()
            connection.close()
            raise FetchError(f"the source answers with status {status}")
        return Resource(connection, response, url, self._spend)


def _words(error: Exception) -> str:
    """What went wrong, without what the peer wrote."""
    if isinstance(error, TimeoutError):
        return "it is silent"
    if isinstance(error, ssl.SSLError):
        return objection(error)
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


__all__ = ["FetchError", "Fetcher", "Refused", "Resource"]
