"""The way to the API, which is loaded with the first request for it; that one waits, and media does not."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from aiohttp import web
from yarl import URL

from control.ondemand import API
from control.services import Resident
from control.web.assets import Assets
from mediaserver.ondemand import load

if TYPE_CHECKING:
    from control.api import Api

#: Below these everything is the API's, but for what has a route of its own.
ROOTS = ("/api", "/v1/api")


class Gate:
    """Opens the API once."""

    def __init__(self, resident: Resident, assets: Assets) -> None:
        self._resident = resident
        self._assets = assets
        self._opening = asyncio.Lock()
        self._api: Api | None = None

    async def api(self) -> "Api":
        """The API."""
        return self._api or await self._open()

    async def _open(self) -> "Api":
        async with self._opening:
            if self._api is None:  # nobody was faster
                module, cipher = await load(API), await self._resident.control.vault.cipher()
                opened: Api = await asyncio.to_thread(module.Api, self._resident, cipher, self._assets)
                self._api = opened
            return self._api

    async def let_go(self, _app: web.Application) -> None:
        """The server stops: who follows live updates would stay for ever, and is not waited for."""
        self._resident.live.close()

    async def close(self, _app: web.Application) -> None:
        """Give back what it holds. Harmless if nobody asked."""
        if self._api is not None:
            self._api.close()


GATE: web.AppKey[Gate] = web.AppKey("gate", Gate)


def setup(app: web.Application, gate: Gate) -> None:
    """Lead to ``gate`` what comes to the API's addresses."""
    app[GATE] = gate
    app.on_shutdown.append(gate.let_go)
    app.on_cleanup.append(gate.close)
    for root in ROOTS:
        app.router.register_resource(_Root(root, gate))


class _Root(web.AbstractResource):
    """Everything below an address, for aiohttp's router: it asks for the route with the request, and may wait for the answer."""

    def __init__(self, root: str, gate: Gate) -> None:
        super().__init__()
        self._root = root
        self._gate = gate

    @property
    def canonical(self) -> str:
        return self._root

    async def resolve(self, request: web.Request) -> tuple[web.UrlMappingMatchInfo | None, set[str]]:
        return await (await self._gate.api()).resolve(request)

    def get_info(self) -> Any:
        return {"prefix": self._root}

    def raw_match(self, path: str) -> bool:
        return path == self._root

    def add_prefix(self, prefix: str) -> NoReturn:
        raise NotImplementedError  # for those who hang one application below another

    def url_for(self, **parts: str) -> URL:  # noqa: ARG002
        return URL(self._root)

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[web.AbstractRoute]:
        return iter(())
