"""``/api/live/NAME/report``: what the player of a page says of how well it plays.

It is no operation of the API, which an idle server has not even loaded: anybody may report, and is heard if the session token is
one that watches now. There is no other answer than that it arrived.
"""

from typing import Annotated

from aiohttp import web
from pydantic import Field, ValidationError

from control.analytics.attendance import Attendance, Quality
from control.asked import ADDRESS
from control.errors import ControlError, ErrorCode, NotFoundError
from control.ratelimit import Limit, RateLimiter
from control.schema import Taken
from control.streams.onair import stream_id_of
from mediaserver.ports import SESSION_TOKEN, is_name

#: Bytes of a report.
MAX_REPORT = 1024

ATTENDANCE: web.AppKey[Attendance] = web.AppKey("attendance", Attendance)
LIMITER: web.AppKey[RateLimiter] = web.AppKey("limiter", RateLimiter)

_Seconds = Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)]


class PlayerReport(Taken):
    """Since the page began. Seconds."""

    session: Annotated[str, Field(pattern=f"^{SESSION_TOKEN.pattern}$")]
    startup: _Seconds | None = None
    played: _Seconds
    stalled: _Seconds


def setup(app: web.Application, attendance: Attendance, limiter: RateLimiter) -> None:
    """Add the address to ``app``."""
    app[ATTENDANCE] = attendance
    app[LIMITER] = limiter
    app.router.add_post("/api/live/{name}/report", take_report)


async def take_report(request: web.Request) -> web.Response:
    """Take note, if the viewer is known; say nothing about that."""
    draw = await request.app[LIMITER].draw(Limit.REPORTS, "", request[ADDRESS])
    if draw is not None:
        draw.require()
    name = request.match_info["name"]
    if not is_name(name):
        raise NotFoundError("No stream can have this name.")
    data = await request.read()
    if len(data) > MAX_REPORT:
        raise ControlError(ErrorCode.TOO_LARGE, f"A report has {MAX_REPORT} bytes at most")
    try:
        said = PlayerReport.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise ControlError(ErrorCode.VALIDATION, "The report is invalid", {"fields": _faults(error)}) from None
    stream_id = stream_id_of(name)
    if stream_id is not None:
        quality = Quality(said.startup, said.played, said.stalled)
        request.app[ATTENDANCE].report(stream_id, said.session, quality)
    return web.Response(status=204)


def _faults(error: ValidationError) -> dict[str, str]:
    """The faulty fields; a name that is none of ours is not repeated."""
    found: dict[str, str] = {}
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        name = str(detail["loc"][0]) if detail["loc"] else ""
        found.setdefault(name if name in PlayerReport.model_fields else "body", detail["msg"])
    return found
