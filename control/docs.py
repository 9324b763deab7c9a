"""``/api/openapi.json``, and ``/api/docs``, where people read and try it."""

import hashlib
from collections.abc import Sequence

import orjson
from aiohttp import web

from control.openapi import document
from control.rest import PREFIXES, Operation
from control.version import version
from control.web.pages import docs_page
from control.web.routes import ASSETS

_OPERATIONS: web.AppKey[tuple[Operation, ...]] = web.AppKey("described", tuple)
_DOCUMENT: web.AppKey[dict[str, bytes]] = web.AppKey("document", dict)


def setup(app: web.Application, operations: Sequence[Operation]) -> None:
    """Describe ``operations`` under every prefix."""
    app[_OPERATIONS] = tuple(operations)
    app[_DOCUMENT] = {}
    for prefix in PREFIXES:
        app.router.add_get(f"{prefix}/openapi.json", show_document)
        app.router.add_get(f"{prefix}/docs", show_page)


async def show_document(request: web.Request) -> web.Response:
    """OpenAPI 3.1."""
    made = request.app[_DOCUMENT]
    if not made:
        # With the first who asks: most servers are never asked, and it takes a while.
        operations = request.app[_OPERATIONS]
        made["body"] = orjson.dumps(document(operations, version()))
    etag = f'"{hashlib.sha256(made["body"]).hexdigest()[:20]}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if etag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    return web.Response(body=made["body"], content_type="application/json", headers=headers)


async def show_page(request: web.Request) -> web.Response:
    """The page."""
    return web.Response(text=docs_page(request.app[ASSETS]), content_type="text/html")
