"""``/api/openapi.json``, and ``/api/docs``, where people read and try it."""

import asyncio
import hashlib
from collections.abc import Sequence

import orjson
from aiohttp import web

from control.openapi import document
from control.rest import PREFIXES, Operation
from control.web.assets import Assets
from control.web.pages import docs_page
from mediaserver.version import VERSION


class Docs:
    """Describes ``operations``."""

    def __init__(self, operations: Sequence[Operation], assets: Assets) -> None:
        self._operations = operations
        self._assets = assets
        self._body = b""
        self._etag = ""

    def route(self, router: web.UrlDispatcher) -> None:
        """Put it under every prefix."""
        for prefix in PREFIXES:
            router.add_get(f"{prefix}/openapi.json", self.show_document)
            router.add_get(f"{prefix}/docs", self.show_page)

    async def show_document(self, request: web.Request) -> web.Response:
        """OpenAPI 3.1."""
        if not self._body:
            # With the first who asks: most servers are never asked, and it takes a while.
            self._body = await asyncio.to_thread(lambda: orjson.dumps(document(self._operations, VERSION)))
            self._etag = f'"{hashlib.sha256(self._body).hexdigest()[:20]}"'
        headers = {"ETag": self._etag, "Cache-Control": "no-cache"}
        if self._etag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        return web.Response(body=self._body, content_type="application/json", headers=headers)

    async def show_page(self, _request: web.Request) -> web.Response:
        """The page."""
        return web.Response(text=docs_page(self._assets), content_type="text/html")
