"""What a player is told: an answer of the packaging house as an HTTP response. Pure; both lanes of the HTTP port use it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from mediaserver.delivery.request import MediaRequest, Method
from mediaserver.packaging.answer import Gone, Growing, Missing, Ready, TooFar

#: How long "no such thing" may be kept by a cache, in seconds: long enough to shield an origin from a storm, short enough
#: that a stream which goes live now is seen now.
MISSING_AGE: Final = 1
#: How long a segment that was sent while it grew may be kept, in seconds.
GROWING_AGE: Final = 60
PREFLIGHT_AGE: Final = 86400
SERVER: Final = "mediaserver"
#: Never kept by any cache: errors that are about this one request.
NO_STORE: Final = ("Cache-Control", "no-store")
#: The reason of a 503 for what was promised.
LATE: Final = "it did not come in time"
#: The reason of a 408 for a head.
TOO_SLOW: Final = "the request took too long"

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_TEXT: Final = "text/plain; charset=utf-8"

Headers = tuple[tuple[str, str], ...]
#: Headers and body for what was no request: its first bytes, the status and the reason. None: a line of text will do.
Explain = Callable[[bytes, int, str], tuple[Headers, bytes] | None]


@dataclass(frozen=True, slots=True)
class Response:
    """``length`` is what Content-Length says, and differs from the body's for HEAD; None: the length is not known yet."""

    status: int
    headers: Headers
    body: bytes | memoryview = b""
    length: int | None = 0


class Cors:
    """Which pages may read the answers (``http.cors_origins``). Credentials are never allowed: media needs none."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origins)

    def headers(self, origin: str) -> Headers:
        """The header fields for a request from ``origin`` (its Origin header, empty if it had none)."""
        expose = ("Access-Control-Expose-Headers", "Content-Length, Content-Range, Date, Age")
        if self._any:
            return (("Access-Control-Allow-Origin", "*"), expose)
        if origin in self._origins:
            return (("Access-Control-Allow-Origin", origin), expose)
        return ()

    def vary(self, *, gzip: bool) -> Headers:
        """What else but the address decides about an answer, for caches."""
        fields = [name for name, applies in (("Accept-Encoding", gzip), ("Origin", not self._any)) if applies]
        return (("Vary", ", ".join(fields)),) if fields else ()


def respond(request: MediaRequest, answer: Ready | Growing | Gone | TooFar | Missing, cors: Cors) -> Response:
    """The response to ``request`` that says ``answer``. A Growing answer's body follows by other means."""
    match answer:
        case Ready():
            return _ready(request, answer, cors)
        case Growing():
            headers = (("Content-Type", answer.content_type), ("Cache-Control", f"public, max-age={GROWING_AGE}"))
            return Response(200, headers + cors.vary(gzip=False) + cors.headers(request.origin), length=None)
        case Gone() | Missing():
            reason = (answer.reason if isinstance(answer, Missing) else "") or "there is no such thing here"
            return refusal(request, 404, reason, cors, ("Cache-Control", f"public, max-age={MISSING_AGE}"))
        case TooFar():
            return refusal(request, 400, answer.reason, cors)


def refusal(request: MediaRequest | None, status: int, reason: str, cors: Cors, cache: tuple[str, str] = NO_STORE) -> Response:
    """A response that says no in a line of text. ``request`` is None where it could not be read."""
    body = f"{reason}\n".encode()
    headers: Headers = (("Content-Type", _TEXT), ("X-Content-Type-Options", "nosniff"), cache)
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers += (("Allow", "GET, HEAD, OPTIONS"),)
    elif status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers += (("Retry-After", "1"),)
    headers += cors.vary(gzip=False) + cors.headers(request.origin if request else "")
    return _shown(request, Response(status, headers, body, len(body)))


def no_request(head: bytes, status: int, reason: str, cors: Cors, explain: Explain) -> Response:
    """The response to ``head``, which is no request, by ``reason``; in the words of whom it was for."""
    told = explain(head, status, reason)
    if told is None:
        return refusal(None, status, reason, cors)
    headers, body = told
    return Response(status, headers, body, len(body))


def preflight(request: MediaRequest, cors: Cors) -> Response:
    """The answer to OPTIONS, whether a browser's preflight (Fetch standard, 4.8) or not."""
    headers: Headers = (("Allow", "GET, HEAD, OPTIONS"),)
    if allowed := cors.headers(request.origin):
        headers += (
            allowed[0],
            ("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS"),
            ("Access-Control-Allow-Headers", "Accept, Authorization, Cache-Control, Content-Type, If-None-Match, Range"),
            ("Access-Control-Max-Age", str(PREFLIGHT_AGE)),
        )
    return Response(204, headers + cors.vary(gzip=False), length=None)


def render(response: Response, date: str, *, keep_alive: bool, chunked: bool = False) -> bytes:
    """Status line and header fields with the empty line after them. ``date`` is an IMF-fixdate."""
    lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}", f"Server: {SERVER}", f"Date: {date}"]
    lines += [f"{name}: {value}" for name, value in response.headers]
    if response.length is not None:
        lines.append(f"Content-Length: {response.length}")
    elif chunked:
        lines.append("Transfer-Encoding: chunked")
    if not keep_alive:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _ready(request: MediaRequest, answer: Ready, cors: Cors) -> Response:
    # Not compressed before somebody asks for it so.
    gzip = request.gzip and answer.compressible
    headers: Headers = (("Content-Type", answer.content_type), ("Cache-Control", _cache_control(answer)))
    headers += cors.vary(gzip=answer.compressible) + cors.headers(request.origin)
    if gzip:
        headers += (("Content-Encoding", "gzip"),)
    body = answer.gzipped if gzip else answer.body
    if not answer.immutable:
        return _shown(request, Response(200, headers, body, len(body)))
    headers += (("Accept-Ranges", "bytes"),)
    if request.byte_range and request.method is Method.GET and not gzip:
        return _ranged(request.byte_range, headers, body)
    return _shown(request, Response(200, headers, body, len(body)))


def _cache_control(answer: Ready) -> str:
    """How long it may be kept, in whole seconds (RFC 9111, 5.2.2)."""
    seconds, shared = int(answer.max_age), int(answer.shared_age)
    if answer.immutable:
        return f"public, max-age={seconds}, immutable"
    if shared > seconds:
        return f"public, max-age={seconds}, s-maxage={shared}"
    return f"public, max-age={seconds}" if seconds else "no-cache"


def _ranged(byte_range: str, headers: Headers, body: bytes) -> Response:
    """One range of ``body`` (RFC 9110, 14). What is no single range of bytes is answered with the whole, as it allows."""
    size = len(body)
    found = _RANGE.fullmatch(byte_range.replace(" ", ""))
    if found is None or found[1] == found[2] == "" or (found[1] and found[2] and int(found[2]) < int(found[1])):
        return Response(200, headers, body, size)
    if found[1]:
        start, end = int(found[1]), min(int(found[2] or size - 1), size - 1)
    else:
        start, end = max(0, size - int(found[2])), size - 1
    if start > end:
        # What one has asked for amiss must not be what others get.
        kept = tuple(field for field in headers if field[0] != NO_STORE[0])
        return Response(416, (*kept, NO_STORE, ("Content-Range", f"bytes */{size}")))
    part = memoryview(body)[start : end + 1]
    return Response(206, (*headers, ("Content-Range", f"bytes {start}-{end}/{size}")), part, len(part))


def _shown(request: MediaRequest | None, response: Response) -> Response:
    """Without its body where the method is HEAD."""
    if request is None or request.method is not Method.HEAD:
        return response
    return Response(response.status, response.headers, b"", response.length)
