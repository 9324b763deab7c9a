"""What every answer of the control plane passes: errors become pages or JSON, and headers keep browsers careful."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from control.errors import ControlError, ErrorCode, SlowBodyError
from control.web.pages import error_page
from mediaserver.errors import Unavailable

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUESTS: web.AppKey[Counter[str]] = web.AppKey("requests", Counter)
BODY_TIMEOUT: web.AppKey[float] = web.AppKey("body_timeout", float)
CORS_ORIGINS: web.AppKey[tuple[str, ...]] = web.AppKey("cors_origins", tuple)

_SOURCES = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors "
)
# Anybody may embed a player: it holds no session and changes nothing, so there is nothing to click-jack.
_CSP_EMBEDDABLE = _SOURCES + "*"
_CSP = _SOURCES + "'none'"

#: What any page in the world may read, as far as the configuration lets it.
_PUBLIC = ("/api/live", "/api/time")

_MESSAGES = {
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    413: "What was sent is larger than anything that is taken here.",
}
_KINDS = {"": "page", "watch": "page", "static": "static", "api": "api"} | dict.fromkeys(
    ("metrics", "healthz", "readyz"), "system"
)


@web.middleware
async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count requests by kind: a handful of words, whatever is asked for."""
    request.app[REQUESTS][_KINDS.get(request.path.split("/", 2)[1], "other")] += 1
    return await handler(request)


@web.middleware
async def render_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """An error as JSON under ``/api``, else as a page. Nothing of the request is repeated in it."""
    try:
        return await handler(request)
    except ControlError as error:
        response = _render(request, error.code, error.message)
        if isinstance(error, SlowBodyError):
            # Nobody knows where its next request would begin.
            response.force_close()
        return response
    except Unavailable:
        return _render(request, ErrorCode.UNAVAILABLE, "The server is starting or stopping. Try again in a moment.")
    except web.HTTPException as error:
        if error.status not in _MESSAGES:
            raise
        response = _render(request, ErrorCode(error.status), _MESSAGES[error.status])
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response


@web.middleware
async def read_body(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A body is read before its handler runs, bounded in size (aiohttp's ``client_max_size``) and in time."""
    if request.body_exists:
        try:
            async with asyncio.timeout(request.app[BODY_TIMEOUT]):
                await request.read()
        except TimeoutError:
            raise SlowBodyError("What was to be sent took too long.") from None
    return await handler(request)


def quiet(record: logging.LogRecord) -> bool:
    """A filter for aiohttp's log: bytes of a peer that are no HTTP are not worth a traceback, and a line only for debugging."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, HttpProcessingError):
        return True
    log.debug("malformed_request", extra={"facts": {"reason": error.message.partition("\n")[0]}})
    return False


def _render(request: web.Request, code: ErrorCode, message: str) -> web.Response:
    if request.path.startswith("/api/"):
        return web.json_response({"error": {"code": code.name, "message": message}}, status=code.value)
    return web.Response(text=error_page(code.value, message), status=code.value, content_type="text/html")


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Runs as each response is prepared, so that no handler can forget."""
    headers = response.headers
    headers["Server"] = "mediaserver"
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    headers.setdefault("Cache-Control", "no-store" if response.status >= 400 else "no-cache")
    if response.content_type == "text/html":
        headers["Content-Security-Policy"] = _CSP_EMBEDDABLE if request.path.startswith("/watch/") else _CSP
    if request.path.startswith(_PUBLIC):
        _allow_origin(request, response)


def _allow_origin(request: web.Request, response: web.StreamResponse) -> None:
    allowed, origin = request.app[CORS_ORIGINS], request.headers.get("Origin", "")
    if "*" in allowed:
        response.headers["Access-Control-Allow-Origin"] = "*"
        return
    response.headers["Vary"] = "Origin"
    if origin in allowed:
        response.headers["Access-Control-Allow-Origin"] = origin
