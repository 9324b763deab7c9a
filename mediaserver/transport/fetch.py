"""HTTP for worker processes: every connection, after every redirect too, goes only where the server may go.

Blocking, one request a connection. The address that was judged is the one that is connected to.
"""

import base64
import http.client
import re
import ssl
import time
from collections.abc import Callable
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
#: What says which bytes come, and of how many (RFC 9110, 14.4).
_CONTENT_RANGE = re.compile(r"bytes +([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.IGNORECASE)


def _uncounted(_: int) -> None:
    """Nobody counts."""


class FetchError(Exception):
    """The source did not give what it was asked for. No address in the words: it may hold a secret."""


class Resource:
    """What a server answers with: ``read`` as much as has come. To be closed. ``url`` is where it was found in the end;
    ``partial``: only the part of it that was asked for comes."""

    def __init__(
        self,
        connection: http.client.HTTPConnection,
        response: http.client.HTTPResponse,
        url: str,
        spend: Callable[[int], None],
        *,
        partial: bool,
    ) -> None:
        self.url, self.partial = url, partial
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

    def open(self, url: str, part: range | None = None) -> Resource:
        """The resource at ``url``, redirects followed, or ``part`` of its bytes; all of them where a server gives no parts
        (RFC 9110, 14.2). Raises FetchError, and Refused for where the server may not go.
        """
        given = self._parse(url)
        for _ in range(MAX_REDIRECTS + 1):
            parts = self._parse(url)
            # A password is for the host that it was given for, and for no other that this one names.
            secret = given if (given.scheme, given.netloc) == (parts.scheme, parts.netloc) else None
            connection = self._connect(parts)
            try:
                response = self._ask(connection, parts, secret, part)
            except BaseException:
                connection.close()
                raise
            if response.status not in _REDIRECTS:
                return self._accept(connection, response, url, part)
            connection.close()
            url = self._join(url, response.headers.get("Location", ""))
        raise FetchError("too many redirects")

    def get(self, url: str, limit: int, part: range | None = None) -> tuple[bytes, str]:
        """All of the resource, or ``part`` of its bytes (fewer where it ends within), and the URL that it was found at.

        Raises FetchError for more than ``limit`` bytes, too, the part's as well as those that come before it.
        """
        deadline = time.monotonic() + WHOLE * self._timeout
        taken = bytearray()
        with self.open(url, part) as resource:
            start = 0 if part is None or resource.partial else part.start
            end = None if part is None else start + len(part)
            # Said at the first part of a file that is too long, not in the middle of it.
            if (resource.length or 0) > limit:
                raise FetchError(_too_much(limit, whole=part is not None and not resource.partial))
            while (end is None or len(taken) < end) and (piece := resource.read(1 << 16)):
                taken += piece
                if len(taken) > limit:
                    raise FetchError(_too_much(limit, whole=part is not None and not resource.partial))
                if time.monotonic() > deadline:
                    raise FetchError("the source is too slow")
            if part is not None and len(taken) <= start:
                raise FetchError("the source broke off: it ended too early")
            return bytes(taken[start:end]), resource.url

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
        connection: http.client.HTTPConnection, parts: SplitResult, secret: SplitResult | None, part: range | None
    ) -> http.client.HTTPResponse:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        sent = {"Host": parts.netloc.rpartition("@")[2], "User-Agent": _AGENT, "Accept-Encoding": "identity"}
        if part is not None:
            sent["Range"] = f"bytes={part.start}-{part.stop - 1}"
        if secret is not None and secret.username is not None:
            pair = f"{unquote(secret.username)}:{unquote(secret.password or '')}"
            sent["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        try:
            connection.request("GET", target, headers=sent)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise FetchError(f"the source does not answer: {_words(error)}") from None

    def _accept(
        self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, url: str, part: range | None
    ) -> Resource:
        status = response.status
        if status == 200 or (part is not None and status == 206 and _is_part(response, part)):
            return Resource(connection, response, url, self._spend, partial=status == 206)
        response.close()
        connection.close()
        if part is not None and status == 206:
            raise FetchError("the source gives other bytes of a file than it was asked for")
        raise FetchError(f"the source answers with status {status}")


def _is_part(response: http.client.HTTPResponse, part: range) -> bool:
    """Whether ``response`` holds ``part``, or as much of it as there is."""
    said = response.headers.get("Content-Range")
    if said is None:
        return response.length == len(part)  # it must be there, and sometimes is not
    found = _CONTENT_RANGE.fullmatch(said.strip())
    if found is None:
        return False
    first, last, total = found.groups()
    end = int(last) + 1
    return int(first) == part.start and (end == part.stop or (end < part.stop and total == str(end)))


def _too_much(limit: int, *, whole: bool) -> str:
    if whole:
        return f"the source gives all of a file, more than {limit} bytes, where it was asked for a part of it"
    return f"more than {limit} bytes where a piece of a stream belongs"


def _words(error: Exception) -> str:
    """What went wrong, without what the peer wrote."""
    if isinstance(error, TimeoutError):
        return "it is silent"
    if isinstance(error, ssl.SSLError):
        return objection(error)
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


__all__ = ["FetchError", "Fetcher", "Refused", "Resource"]
