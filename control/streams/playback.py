"""The documented addresses ``/static/streams/…``: they lead to where the stream plays."""

import re

from aiohttp import web

from control.errors import NotFoundError
from control.streams.onair import OnAir, playback_name
from mediaserver.ports import rendition_name

_FILE = re.compile(r"stream_(\d{1,18})(?:_([a-z0-9]{1,16}))?\.(m3u8|mpd)", re.ASCII)
_KINDS = {"hls": ("m3u8", "index.m3u8"), "dash": ("mpd", "manifest.mpd")}


ON_AIR: web.AppKey[OnAir] = web.AppKey("on_air", OnAir)


def setup(app: web.Application, on_air: OnAir) -> None:
    """Add the addresses to ``app``."""
    app[ON_AIR] = on_air
    app.router.add_get("/static/streams/{kind}/{file}", lead)


async def lead(request: web.Request) -> web.Response:
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
    headers = {
        "Location": f"/live/{name}/{resource}{query}",
        "Cache-Control": "public, max-age=1",
        "Access-Control-Allow-Origin": "*",
    }
    return web.Response(status=302, headers=headers)
