"""What every answer of the control plane passes: errors become pages or JSON, and headers keep browsers careful."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from control.asked import ACTOR, ADDRESS, KEY_MARK, OPERATION, REQUEST_ID, SERVICES, TOKEN, family_of
from control.db import DatabaseUnavailable
from control.errors import ControlError, DamagedBodyError, ErrorCode, Family, SlowBodyError
from control.frame import ROOTS, framed, new_request_id
from control.ratelimit import Draw, Limit
from control.web.pages import error_page
from mediaserver.addresses import Network, client_address
from mediaserver.errors import Unavailable

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUESTS: web.AppKey[Counter[str]] = web.AppKey("requests", Counter)
BODY_TIMEOUT: web.AppKey[float] = web.AppKey("body_timeout", float)
CORS_ORIGINS: web.AppKey[tuple[str, ...]] = web.AppKey("cors_origins", tuple)
TRUSTED_PROXIES: web.AppKey[Sequence[Network]] = web.AppKey("trusted_proxies", Sequence)

_DRAW: web.RequestKey[Draw] = web.RequestKey("draw", Draw)
_REFUSED: web.RequestKey[Exception] = web.RequestKey("refused", Exception)

#: What a page of another origin may send and see (Fetch, 3.2). Credentials are no part of it: who asks says so in a header.
_CORS_TAKEN = "Authorization, Content-Type, X-API-Key, Last-Event-ID"
_CORS_SHOWN = "X-Request-ID, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After"
_CORS_BELIEVED = "600"

_SOURCES = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors "
)
# Anybody may embed a player: it holds no session and changes nothing, so there is nothing to click-jack.
_CSP_EMBEDDABLE = _SOURCES + "*"
_CSP = _SOURCES + "'none'"

_MESSAGES = {
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    413: "What was sent is larger than anything that is taken here.",
}
_CODES = {404: ErrorCode.NOT_FOUND, 405: ErrorCode.METHOD_NOT_ALLOWED, 413: ErrorCode.TOO_LARGE}
_KINDS = {"": "page", "watch": "page", "static": "static", "api": "api"} | dict.fromkeys(
    ("metrics", "healthz", "readyz"), "system"
)


@web.middleware
async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count requests by kind: a handful of words, whatever is asked for."""
    request.app[REQUESTS][_KINDS.get(request.path.removeprefix("/").partition("/")[0], "other")] += 1
    return await handler(request)


@web.middleware
async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A name for the request in logs and answers, and the address that it comes from."""
    request[REQUEST_ID] = new_request_id()
    # A proxy may add a line of its own to those that are there: they are one list (RFC 9110, 5.3).
    forwarded = ", ".join(request.headers.getall("X-Forwarded-For", ()))
    request[ADDRESS] = client_address(request.remote or "", forwarded, request.app[TRUSTED_PROXIES])
    return await handler(request)


@web.middleware
async def render_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """An error as JSON under ``/api``, else as a page. Nothing of the request is repeated in it."""
    try:
        return await handler(request)
    except ControlError as error:
        response = _render(request, error)
        if isinstance(error, (SlowBodyError, DamagedBodyError)):
            # Nobody knows where its next request would begin.
            response.force_close()
        return response
    except DatabaseUnavailable as error:
        log.warning("database_unavailable", extra={"facts": {"request_id": request[REQUEST_ID], "reason": str(error)[:200]}})
        return _render(request, ControlError(ErrorCode.UNAVAILABLE, "The database does not answer", headers={"Retry-After": "5"}))
    except Unavailable:
        return _render(request, ControlError(ErrorCode.UNAVAILABLE, "The server is starting or stopping. Try again in a moment."))
    except web.HTTPException as error:
        if error.status not in _MESSAGES:
            raise
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        if request.method == "OPTIONS" and allow and is_api(request):
            return _preflight(allow["Allow"])
        return _render(request, ControlError(_CODES[error.status], _MESSAGES[error.status], headers=allow))
    except Exception:
        if not is_api(request):
            raise
        log.exception("request_failed", extra={"facts": {"request_id": request[REQUEST_ID]}})
        return _render(request, ControlError(ErrorCode.INTERNAL, "The server made a mistake. It is in its log."))


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Who asks the API: a token that is none is refused, no token is nobody."""
    if _limit(request) is not None:
        token = _token(request)
        if token:
            try:
                request[ACTOR] = await request[SERVICES].accounts.authenticate(token, request[ADDRESS])
                request[TOKEN] = token
            except ControlError as error:
                request[_REFUSED] = error  # raised once it has been counted
            except DatabaseUnavailable as error:
                actor = request[SERVICES].accounts.vouch(token) if _without_database(request) else None
                if actor is None:
                    request[_REFUSED] = error
                else:
                    request[ACTOR], request[TOKEN] = actor, token
    return await handler(request)


def _without_database(request: web.Request) -> bool:
    return OPERATION in request and request[OPERATION].without_database


def _token(request: web.Request) -> str:
    """By what the asker is to be known: the bearer's token before an API key, and either before what is in the address."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and given.strip():
        return given.strip()
    if key := request.headers.get("X-API-Key", ""):
        return key
    in_query = request.query.get("token", "") if OPERATION in request and request[OPERATION].token_in_query else ""
    # Addresses end up in logs and histories: what is good for long counts for nothing there.
    return "" if in_query.startswith(f"{KEY_MARK}_") else in_query


@web.middleware
async def limit_rate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Requests to the API draw from buckets; what each left is told with the answer."""
    limit = _limit(request)
    if request.method == "OPTIONS" and SERVICES in request:
        # A browser asks before its page may: that takes nothing from anybody.
        left = await request[SERVICES].limiter.look(Limit.API, "", request[ADDRESS])
        if left is not None:
            request[_DRAW] = left
    elif limit is not None and limit is not Limit.NONE:
        actor = request.get(ACTOR)
        token = "" if actor is None else str(actor.user_id)
        draw = await request[SERVICES].limiter.draw(limit, token, request[ADDRESS])
        if draw is not None:
            request[_DRAW] = draw
            draw.require()
    # Who logs in anew, or refreshes, may still send the token that has had its day: nobody looks at it there.
    operation = request.get(OPERATION)
    if _REFUSED in request and operation is not None and (operation.permission is not None or operation.token_in_query):
        raise request[_REFUSED]
    return await handler(request)


def _limit(request: web.Request) -> Limit | None:
    """From which buckets ``request`` draws; None if it is none to the API. Addresses of the API that lead nowhere count too."""
    if OPERATION in request:
        return request[OPERATION].limit
    astray = SERVICES in request and request.match_info.http_exception is not None and request.method != "OPTIONS"
    return Limit.API if astray else None


@web.middleware
async def read_body(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A body is read before its handler runs, bounded in size (aiohttp's ``client_max_size``) and in time. Where no handler
    is, nobody reads it."""
    if request.body_exists and request.match_info.http_exception is None:
        try:
            async with asyncio.timeout(request.app[BODY_TIMEOUT]):
                await request.read()
        except TimeoutError:
            raise SlowBodyError("What was to be sent took too long.") from None
        except (web.RequestPayloadError, ConnectionError):
            # Of a peer that hung up in the middle, too: nobody hears the answer, and it is no mistake of ours.
            raise DamagedBodyError from None
    return await handler(request)


def quiet(record: logging.LogRecord) -> bool:
    """A filter for aiohttp's log: bytes of a peer that are no HTTP are not worth a traceback, and a line only for debugging."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, (HttpProcessingError, web.RequestPayloadError)):
        return True
    log.debug("malformed_request", extra={"facts": {"reason": str(error).partition("\n")[0]}})
    return False


def is_api(request: web.Request) -> bool:
    """Whether ``request`` is one of a program, under any of the prefixes."""
    return request.path.startswith(ROOTS)


def _render(request: web.Request, error: ControlError) -> web.Response:
    family = family_of(request)
    word, status = error.code.spoken(family)
    if not is_api(request):
        return web.Response(
            text=error_page(status, error.message), status=status, content_type="text/html", headers=error.headers
        )
    details: object = error.details
    if family is Family.STUDIO:
        details = "; ".join(f"{name}: {value}" for name, value in error.details.get("fields", error.details).items())
    return web.json_response(framed(word, error.message, details, request[REQUEST_ID]), status=status, headers=error.headers)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Runs as each response is prepared, so that no handler can forget."""
    headers = response.headers
    headers["Server"] = "mediaserver"
    if is_api(request):
        # aiohttp refuses some requests by itself, before they have a name.
        headers["X-Request-ID"] = request.get(REQUEST_ID) or new_request_id()
        if _DRAW in request:
            for name, value in request[_DRAW].headers().items():
                headers.setdefault(name, value)  # a handler that asks for a longer wait is believed
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    headers.setdefault("Cache-Control", "no-store" if response.status >= 400 else "no-cache")
    if response.content_type == "text/html":
        headers["Content-Security-Policy"] = _CSP_EMBEDDABLE if request.path.startswith("/watch/") else _CSP
    if is_api(request):
        _allow_origin(request, response)


def _preflight(methods: str) -> web.Response:
    """The answer to what a browser asks before it lets a page of another origin ask; whether it may, ``_allow_origin`` adds."""
    headers = {
        "Allow": methods,
        "Access-Control-Allow-Methods": methods,
        "Access-Control-Allow-Headers": _CORS_TAKEN,
        "Access-Control-Max-Age": _CORS_BELIEVED,
    }
    return web.Response(status=204, headers=headers)


def _allow_origin(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Access-Control-Expose-Headers"] = _CORS_SHOWN
    allowed, origin = request.app[CORS_ORIGINS], request.headers.get("Origin", "")
    if "*" in allowed:
        response.headers["Access-Control-Allow-Origin"] = "*"
        return
    response.headers["Vary"] = "Origin"
    if origin in allowed:
        response.headers["Access-Control-Allow-Origin"] = origin
