"""The documented addresses ``/static/streams/…``: they lead to where the stream plays."""

import re

from aiohttp import web
from yarl import URL

from control.errors import NotFoundError
from control.streams.onair import OnAir, playback_name
from mediaserver.ports import rendition_name

_FILE = re.compile(r"stream_(\d{1,18})(?:_([a-z0-9]{1,16}))?\.(m3u8|mpd)", re.ASCII)
#: The end of the tag that everything stands in.
_MPD_START = re.compile(rb"(<MPD\b[^>]*>)")
_KINDS = {"hls": ("m3u8", "index.m3u8"), "dash": ("mpd", "manifest.mpd")}


ON_AIR: web.AppKey[OnAir] = web.AppKey("on_air", OnAir)


def setup(app: web.Application, on_air: OnAir) -> None:
    """Add the addresses to ``app``."""
    app[ON_AIR] = on_air
    app.router.add_get("/static/streams/{kind}/{file}", lead)


async def lead(request: web.Request) -> web.StreamResponse:
    """To the playlist or the MPD of a stream, or of one quality; to the whole stream where that quality is not made."""
    match = _FILE.fullmatch(request.match_info["file"])
    extension, resource = _KINDS.get(request.match_info["kind"], ("", ""))
    if match is None or match[3] != extension:
        raise NotFoundError("There is nothing at this address.")
    name = playback_name(int(match[1]))
    if match[2]:
        rendition = rendition_name(name, match[2])
        live = {stream.name for stream in request.app[ON_AIR].everything()}
        name = rendition if rendition in live else name
    query = f"?{request.query_string}" if request.query_string else ""
    address = f"/live/{name}/{resource}{query}"
    if extension == "mpd":
        return await _mpd(request, address, name)
    headers = {"Location": address, "Cache-Control": "public, max-age=1", "Access-Control-Allow-Origin": "*"}
    return web.Response(status=302, headers=headers)


async def _mpd(request: web.Request, address: str, name: str) -> web.StreamResponse:
    """The MPD itself, which says where its segments are: FFmpeg looks for them beside the address that it was given, wherever
    that has led it."""
    headers = {key: value for key, value in request.headers.items() if key.lower() != "accept-encoding"}
    asked = request.clone(method="GET", rel_url=URL(address, encoded=True), headers=headers)
    match = await request.app.router.resolve(asked)
    if match.http_exception is not None:
        raise NotFoundError("There is nothing at this address.")
    answer = await match.handler(asked)
    if not isinstance(answer, web.Response) or answer.status != 200 or not isinstance(answer.body, bytes):
        return answer
    # Relative, for a proxy may have put something before both addresses (ISO/IEC 23009-1, 5.6).
    based = _MPD_START.sub(rb"\1<BaseURL>../../../live/%s/</BaseURL>" % name.encode(), answer.body, count=1)
    kept = {key: value for key, value in answer.headers.items() if key.lower() not in ("content-length", "etag")}
    return web.Response(body=based, headers=kept)
