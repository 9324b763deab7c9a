"""``/``, ``/watch/NAME`` and the files that they load."""

from aiohttp import web

from control.errors import NotFoundError
from control.system.routes import LIVE
from control.web.assets import Assets
from control.web.pages import Pages
from mediaserver.ports import is_name

ASSETS: web.AppKey[Assets] = web.AppKey("assets", Assets)
PAGES: web.AppKey[Pages] = web.AppKey("pages", Pages)

_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "public, max-age=60, must-revalidate"


def setup(app: web.Application, pages: Pages, assets: Assets) -> None:
    """Add this domain's routes to ``app``."""
    app[PAGES] = pages
    app[ASSETS] = assets
    app.router.add_get("/", show_home)
    app.router.add_get("/favicon.ico", show_icon)
    app.router.add_get("/watch/{name}", show_watch)
    app.router.add_get("/static/web/{file:.+}", show_file)


async def show_home(request: web.Request) -> web.Response:
    """How to push, and what is live."""
    return web.Response(text=request.app[PAGES].home(), content_type="text/html")


async def show_watch(request: web.Request) -> web.Response:
    """The player's page. It exists for every name: a viewer may come before the publisher."""
    name = request.match_info["name"]
    if not is_name(name):
        raise NotFoundError("No stream can have this name.")
    title = await request.app[LIVE].title(name)
    return web.Response(text=request.app[PAGES].watch(name, title), content_type="text/html")


async def show_icon(request: web.Request) -> web.Response:
    """The icon, for whatever asks for it by its old name."""
    raise web.HTTPFound(request.app[ASSETS].url("icon.svg"))


async def show_file(request: web.Request) -> web.Response:
    """A file of the pages: for ever under the present version's path, for a minute under any other."""
    assets, file = request.app[ASSETS], request.match_info["file"]
    version, _, rest = file.partition("/")
    name, cache = (rest, _FOR_EVER) if version == assets.version else (file, _ASK_AGAIN)
    asset = assets.find(name)
    if asset is None:
        raise NotFoundError("There is nothing at this address.")
    headers = {"Content-Type": asset.content_type, "Cache-Control": cache, "ETag": asset.etag, "Vary": "Accept-Encoding"}
    if asset.etag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    gzipped = "gzip" in request.headers.get("Accept-Encoding", "")
    if gzipped:
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=await assets.read(name, gzipped), headers=headers)
