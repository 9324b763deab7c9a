"""Somebody's server that is told things: it keeps what came, and behaves as a test wants."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from aiohttp.test_utils import TestServer

PATIENCE = 30.0
#: Behaviours that are no HTTP status.
HANG: Final = -1
RESET: Final = -2


@dataclass(frozen=True, slots=True)
class Post:
    """One request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    said: int

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class Receiver:
    """``says(number)`` is the status that the post of that number is answered with, HANG or RESET."""

    def __init__(self, says: Callable[[int], int] = lambda _: 204, headers: Mapping[str, str] | None = None) -> None:
        self.says = says
        self.headers = dict(headers or {})
        self.posts: list[Post] = []
        self.at_once = self.most_at_once = 0
        self._came = asyncio.Event()
        self._over = asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._take)
        self._server = TestServer(app, host="127.0.0.1")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Receiver"]:
        await self._server.start_server()
        try:
            yield self
        finally:
            self._over.set()
            await self._server.close()

    def url(self, path: str = "/") -> str:
        return str(self._server.make_url(path))

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        said = self.says(len(self.posts))
        self.posts.append(Post(request.raw_path, request.headers.copy(), body, said))
        self._came.set()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if said == HANG:
                await self._over.wait()
                return web.Response(status=500)
            if said == RESET:
                assert request.transport is not None
                request.transport.abort()
            return web.Response(status=max(200, said), headers=self.headers, text="noted" if said != 204 else None)
        finally:
            self.at_once -= 1

    async def wait_for(self, count: int) -> list[Post]:
        """The first ``count`` posts."""
        return await self.until(lambda: len(self.posts) >= count, count)

    async def until(self, question: Callable[[], bool], count: int | None = None) -> list[Post]:
        async with asyncio.timeout(PATIENCE):
            while not question():
                self._came.clear()
                await self._came.wait()
        return self.posts[:count]

    @property
    def accepted(self) -> list[str]:
        """The ids of what it took, as often as it took it."""
        return [post.id for post in self.posts if 200 <= post.said < 300]


async def eventually(question: Callable[[], Any]) -> Any:
    """Ask (and await) until the answer is something: for what happens in a database, which tells nobody."""
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await question()
            if answer:
                return answer
            await asyncio.sleep(0.01)
