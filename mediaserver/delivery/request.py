"""What a player asks for: the head of an HTTP request as a value. Pure; strict where a proxy might read it differently."""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

import httptools

from mediaserver.ports import SESSION_TOKEN, is_name

#: Bytes of a whole head, of a request target, and header fields (RFC 9112, 3 recommends at least 8000 for a request line;
#: our own addresses are far below a tenth of that).
MAX_HEAD = 16 * 1024
MAX_TARGET = 4 * 1024
MAX_FIELDS = 100
MAX_QUERY_FIELDS = 32

PREFIX = b"/live/"
_METHODS = (b"GET", b"HEAD", b"OPTIONS")
_REQUEST_LINE = re.compile(rb"([A-Z]{1,24}) ([\x21-\x7e]+) HTTP/(\d)\.(\d)\r\n")
_LINE_START = re.compile(rb"\r?\Z|[A-Z]{1,24}(?: |\Z)")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_STEP = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_SESSION = re.compile(rb"([?&])session=(" + SESSION_TOKEN.pattern.encode() + rb")(&| )")
_GZIP = re.compile(r"(?:^|,)\s*(?:gzip|\*)\s*(?:;\s*q=(?P<q>[0-9.]+)\s*)?(?:,|$)", re.IGNORECASE)


class RequestError(Exception):
    """The request cannot be answered; the connection is closed after saying ``status`` and ``reason``."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Method(enum.Enum):
    """The methods that media is asked for with."""

    GET = "GET"
    HEAD = "HEAD"
    OPTIONS = "OPTIONS"


@dataclass(frozen=True, slots=True)
class Target:
    """An address below ``/live/``: ``resource`` is what follows ``/live/NAME/``, empty for ``/live/NAME.flv``.

    ``session`` is the viewer's token (``ports.SESSION_TOKEN``), or empty. ``credentials`` is the query without that and the
    ``_HLS_`` directives: what an Authorizer may care about. All are kept out of ``repr``.
    """

    name: str
    resource: str
    query: dict[str, str] = field(default_factory=dict, repr=False)
    credentials: str = field(default="", repr=False)
    session: str = field(default="", repr=False)

    @property
    def is_flv(self) -> bool:
        return not self.resource


#: The target of a request that has none.
NOWHERE: Final = Target("", "nowhere")


@dataclass(frozen=True, slots=True)
class MediaRequest:
    """A request for media. ``target`` is None where the address can name nothing that exists (a plain 404)."""

    method: Method
    target: Target | None
    keep_alive: bool = True
    chunked: bool = True
    gzip: bool = False
    origin: str = ""
    byte_range: str = ""
    forwarded: str = ""
    agent: str = ""
    websocket: Mapping[str, str] | None = None

    @property
    def place(self) -> Target:
        """The target of a request that is known to have one."""
        if self.target is None:
            raise LookupError("this address names nothing")
        return self.target


def looks_like_http(start: bytes) -> bool:
    """Whether ``start`` may be the beginning of a request line, however little of it is there."""
    return _LINE_START.match(start, 0, 25) is not None


def read_head(head: bytes) -> MediaRequest | None:
    """Read a whole request head, its empty line included. None: not a request for media, somebody else's to answer.

    Raises:
        RequestError: for what RFC 9112 does not allow, a body where none belongs, or what is beyond the limits.
    """
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise RequestError(400, "malformed request line")
    method, target = line[1], line[2]
    if len(target) > MAX_TARGET:
        raise RequestError(414, "address too long")
    if head.count(b"\n") > MAX_FIELDS + 2:
        raise RequestError(431, "too many header fields")
    fields = _Fields(head)
    if fields.version not in ("1.0", "1.1"):
        raise RequestError(505, "HTTP version not supported")
    # The other lane gets sound heads only: aiohttp would log a traceback for each that is not.
    if method not in _METHODS or not target.startswith(PREFIX):
        return None
    path, _, query = target.decode("ascii").partition("?")
    return media_request(Method(method.decode()), fields.version, fields.values, path, query)


def media_request(method: Method, version: str, values: Mapping[str, str], path: str, query: str) -> MediaRequest:
    """The request for ``path`` and ``query`` (both still percent-encoded) with the header fields ``values`` (names in lower
    case, repeated ones joined by commas). Both lanes of the HTTP port come through here.

    Raises:
        RequestError: see ``read_head``.
    """
    if values.get("content-length", "0") != "0" or "transfer-encoding" in values:
        raise RequestError(400, "a request for media has no body")
    if version == "1.1" and "," in values.get("host", ","):
        raise RequestError(400, "exactly one Host is needed")
    return MediaRequest(
        method=method,
        target=read_target(path, query),
        keep_alive=version == "1.1" and "close" not in tokens(values.get("connection", "")),
        chunked=version == "1.1",
        gzip=accepts_gzip(values.get("accept-encoding", "")),
        origin=values.get("origin", ""),
        # Media have no validators, so none that is asked about is theirs (RFC 9110, 13.1.5).
        byte_range="" if "if-range" in values else values.get("range", ""),
        forwarded=values.get("x-forwarded-for", ""),
        agent=values.get("user-agent", "")[:256],
        websocket=values if values.get("upgrade", "").lower() == "websocket" else None,
    )


def read_target(path: str, query: str) -> Target | None:
    """The address ``path?query``, both percent-encoded, or None if nothing can live there.

    Raises:
        RequestError: escapes that are none, or that are not UTF-8; too many parameters.
    """
    steps = [_unescape(step) for step in path[len(PREFIX) :].split("/")]
    if not path.startswith("/live/"):
        return None
    name = steps[0]
    if len(steps) == 1:
        if not name.endswith(".flv"):
            return None
        name = name[:-4]
    if not is_name(name) or not all(_STEP.fullmatch(step) and ".." not in step for step in steps[1:]):
        return None
    fields = query.split("&") if query else []
    if len(fields) > MAX_QUERY_FIELDS:
        raise RequestError(400, "too many parameters")
    values: dict[str, str] = {}
    for parameter in fields:
        key, _, value = parameter.partition("=")
        values.setdefault(_unescape(key), _unescape(value))
    credentials = "&".join(parameter for parameter in fields if not parameter.startswith(("_HLS_", "session=")))
    session = values.get("session", "")
    return Target(name, "/".join(steps[1:]), values, credentials, session if SESSION_TOKEN.fullmatch(session) else "")


def without_session(head: bytes) -> tuple[bytes, str]:
    """``head`` as all viewers would send it, and the session token that stood in its address, or "".

    What is answered to all alike is found by its bytes. A multivariant playlist is not: it passes the token on.
    """
    line = head.find(b"\r\n")
    found = _SESSION.search(head, 0, line)
    if found is None or head.find(b"/index.m3u8?", 0, line) >= 0:
        return head, ""
    start, end = found.span()
    between = found[1] if found[3] == b"&" else b" "
    return b"".join((head[:start], between, head[end:])), found[2].decode()


def tokens(value: str) -> set[str]:
    """The members of a header field that is a list of tokens, in lower case."""
    return {token.strip().lower() for token in value.split(",")}


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header allows gzip (RFC 9110, 12.5.3)."""
    found = _GZIP.search(accept_encoding)
    return found is not None and (found["q"] or "1").strip("0.") != ""


def _unescape(text: str) -> str:
    if "%" not in text:
        return text
    if _BAD_ESCAPE.search(text):
        raise RequestError(400, "malformed percent escape")
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise RequestError(400, "percent escapes are not UTF-8") from None


class _Fields:
    """A head as llhttp reads it: names in lower case, repeated fields joined by commas."""

    def __init__(self, head: bytes) -> None:
        self.values: dict[str, str] = {}
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            # Asked for by the client; whether it is granted is not the parser's business.
            pass
        except httptools.HttpParserError:
            raise RequestError(400, "malformed request") from None
        self.version: str = parser.get_http_version()

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.values[key] = f"{self.values[key]}, {text}" if key in self.values else text
