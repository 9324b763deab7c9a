"""aiohttp's protocol: what it refuses by itself is explained by the beginning of that request, however it came."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from mediaserver.delivery.aiohttp_lane import HEARD, lane
from mediaserver.delivery.response import Headers

HEAD = b" HTTP/1.1\r\nHost: x\r\n"
#: What no server can make sense of.
BROKEN = b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport that says when an answer was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: asyncio.Queue[bytes] = asyncio.Queue()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.put_nowait(bytes(data))

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    async def answered(self) -> int:
        """The status of the next answer."""
        async with asyncio.timeout(30):
            while not (data := await self.written.get()).startswith(b"HTTP/1."):
                pass
        return int(data.split()[1])


class House:
    """A connection that aiohttp has, and what was asked to explain."""

    def __init__(self, wire: Wire, protocol: asyncio.Protocol, told: list[bytes]) -> None:
        self.wire, self.protocol, self.told = wire, protocol, told

    async def ask(self, *pieces: bytes) -> int:
        """The status of the answer to what comes like that."""
        for piece in pieces:
            self.protocol.data_received(piece)
            await asyncio.sleep(0)
        return await self.wire.answered()


@asynccontextmanager
async def connected() -> AsyncIterator[House]:
    async def handle(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    told: list[bytes] = []

    def explain(head: bytes, _status: int, _reason: str) -> tuple[Headers, bytes] | None:
        told.append(head)
        return None

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    wire = Wire()
    protocol = lane(runner, 75.0, explain)()
    protocol.connection_made(wire)
    try:
        yield House(wire, protocol, told)
    finally:
        protocol.connection_lost(None)
        await runner.cleanup()


@pytest.mark.parametrize("before", [False, True])
async def test_a_head_in_pieces_is_explained_by_how_it_begins(before: bool) -> None:
    async with connected() as house:
        if before:
            assert await house.ask(b"POST /watch/a" + HEAD + b"Content-Length: 9\r\n\r\n", b"GET /api/") == 200
        assert await house.ask(b"GET /a", b"pi/streams?" + b"a" * 500 + HEAD, BROKEN) == 400
        assert house.told == [(b"GET /api/streams?" + b"a" * 500)[:HEARD]]


async def test_a_body_that_looks_like_a_head_explains_nothing() -> None:
    async with connected() as house:
        head = b"POST /watch/a_name_that_is_as_long_as_a_name_may_be_so_that_it_counts" + HEAD
        assert await house.ask(head, b"Content-Length: x\r\n", b"POST /api/streams" + HEAD + b"\r\n") == 400
        assert house.told == [head[:HEARD]]
