"""``/api/rtmp``."""

import hmac
from collections.abc import Mapping
from ipaddress import ip_network
from urllib.parse import urlsplit

from aiohttp import web

from control import audit
from control.db import Row, Transaction
from control.errors import ControlError, ErrorCode
from control.permissions import Permission
from control.ratelimit import Limit
from control.rest import Call, Domain
from control.rtmp.schemas import OnPublish, RtmpStarted, RtmpStatus, RtmpStopped, RtmpStream
from control.site import site
from control.streams import models, service
from control.streams.onair import playback_name, stream_id_of
from control.transactions import transact
from mediaserver.addresses import is_trusted
from mediaserver.errors import Refused, Unavailable
from mediaserver.ports import PublishRequest, Wire
from mediaserver.snapshot import EngineSnapshot
from mediaserver.version import VERSION

rtmp = Domain("RTMP server")

_WIRES = {Wire.RTMP, Wire.RTMPS}
_MASK = "••••"


@rtmp.get("/rtmp/status", permission=Permission.RTMP_VIEW, answer=RtmpStatus)
async def show_rtmp(call: Call) -> RtmpStatus:
    """What is connected to the RTMP server now"""
    services = call.services
    try:
        seen = services.engine.snapshot()
    except Unavailable:
        seen = EngineSnapshot(0.0, False, 0.0, 0, 0, (), ())
    sessions = [session for session in seen.sessions if session.wire in _WIRES]
    publishers = [session for session in sessions if session.publishing]
    rows = await _rows(call, [session.name for session in publishers])
    bitrates = {stream.name: stream.bitrate // 1000 for stream in seen.streams}
    since = services.engine.rtmp_since
    return RtmpStatus(
        running=since > 0,
        port=services.config.rtmp.port,
        active_streams=len(publishers),
        total_connections=len(sessions),
        uptime=int(call.now - since) if since else 0,
        version=VERSION,
        streams=[
            RtmpStream(
                stream_key=_key(call, session.name, rows),
                client_ip=session.address if _may_see(call, session.name, rows) else "",
                connected_at=session.since,
                bitrate=bitrates.get(session.name, 0),
            )
            for session in publishers
        ],
    )


async def _rows(call: Call, names: list[str]) -> Mapping[str, Row]:
    """The rows of those that are streams of the API."""
    numbers = {number for name in names if (number := stream_id_of(name)) is not None}
    return {playback_name(row["id"]): row for row in await models.streams_by_ids(call.tx, numbers)}


def _may_see(call: Call, name: str, rows: Mapping[str, Row]) -> bool:
    row = rows.get(name)
    return call.actor.owns(row["user_id"] if row is not None else 0, Permission.STREAMS_ALL)


def _key(call: Call, name: str, rows: Mapping[str, Row]) -> str:
    """The key that ``name`` is pushed with, for who may know it."""
    row = rows.get(name)
    if row is None or row["key_hash"] is None:
        # Published by the configuration's leave: its name is public.
        return name
    if not _may_see(call, name, rows):
        return _MASK
    url = call.services.cipher.read(service.INPUT_URL, row["input_url"])
    return _MASK if url is None else urlsplit(url).path.strip("/").partition("/")[2]


@rtmp.post("/rtmp/start", permission=Permission.RTMP, answer=RtmpStarted, limit=Limit.STREAMING, errors=(ErrorCode.RTMP_SERVER,))
async def start_rtmp(call: Call) -> RtmpStarted:
    """Open the RTMP ports. Harmless twice"""
    config = call.services.config.rtmp
    call.after(lambda: _open_ports(call))
    await audit.record(call, audit.Action.RTMP_STARTED, "rtmp", config.port)
    url = f"rtmp://{_host(call)}:{config.port}/{config.app}/"
    return RtmpStarted(status="success", message="RTMP server started successfully", port=config.port, url=url)


async def _open_ports(call: Call) -> None:
    try:
        await call.services.engine.open_rtmp()
    except OSError as error:
        port = call.services.config.rtmp.port
        await transact(call.services.db.write, lambda tx: _note_failure(call, tx, port))
        raise ControlError(ErrorCode.RTMP_SERVER, f"Port {port} cannot be opened", {"reason": error.strerror or ""}) from None


async def _note_failure(call: Call, tx: Transaction, port: int) -> None:
    call.tx = tx
    await audit.record(call, audit.Action.RTMP_NOT_STARTED, "rtmp", port)


def _host(call: Call) -> str:
    """By which name the world knows this machine, as far as it is told: an address of IPv6 in brackets."""
    host = urlsplit(site(call.request, call.services.config.server.public_url)).hostname or "localhost"
    return f"[{host}]" if ":" in host else host


@rtmp.post("/rtmp/stop", permission=Permission.RTMP, answer=RtmpStopped, limit=Limit.STREAMING)
async def stop_rtmp(call: Call) -> RtmpStopped:
    """Close the RTMP ports and everybody on them. Harmless twice"""
    await audit.record(call, audit.Action.RTMP_STOPPED, "rtmp", call.services.config.rtmp.port)
    call.after(lambda: call.services.engine.close_rtmp("the RTMP server was stopped"))
    return RtmpStopped(status="success", message="RTMP server stopped successfully")


@rtmp.post(
    "/rtmp/auth",
    permission=None,
    body=OnPublish,
    answer="text/plain",
    form=True,
    transaction=False,
    limit=Limit.RTMP_AUTH,
    errors=(ErrorCode.FORBIDDEN,),
)
async def authorize_publish(call: Call, body: OnPublish) -> web.Response:
    """May that key publish? 200 or 403, for nginx-rtmp's on_publish, from a trusted proxy or with the shared secret"""
    config = call.services.config
    # Not who hands it on, but where it comes from: a proxy in front of the whole API hands on what anybody asks.
    if not is_trusted(call.address, [ip_network(text) for text in config.http.trusted_proxies]):
        await _require_secret(call, body.secret or call.request.query.get("secret", ""))
    request = PublishRequest(
        session_id=call.request_id, wire=Wire.RTMP, address=body.addr, app=body.app, key=body.name.partition("?")[0]
    )
    try:
        await call.services.authorizer.may_publish(request)
    except Refused:
        raise ControlError(ErrorCode.FORBIDDEN, "This key may not publish") from None
    return web.Response(text="OK")


async def _require_secret(call: Call, given: str) -> None:
    """Who gives another one may be looking for it: as many tries as for a password, and then the right one is not heard either.

    Raises ControlError (403, 429).
    """
    limiter, secret = call.services.limiter, call.services.config.rtmp.auth_secret.get_secret_value()
    if (left := await limiter.look(Limit.GUESSES, "", call.address)) is not None:
        left.require()
    if not secret or not hmac.compare_digest(secret.encode(), given.encode("utf-8", "surrogateescape")):
        await limiter.draw(Limit.GUESSES, "", call.address)
        raise ControlError(ErrorCode.FORBIDDEN, "Only a trusted proxy may ask, or who knows rtmp.auth_secret")
