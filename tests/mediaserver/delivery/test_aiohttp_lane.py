"""aiohttp's protocol: what it refuses by itself is explained by the beginning of that request, however it came; and no head may
take for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import cast

import pytest
from aiohttp import web

from mediaserver.config import HttpConfig
from mediaserver.delivery.aiohttp_lane import lane
from mediaserver.delivery.counters import Counters
from mediaserver.delivery.next_head import HEARD
from mediaserver.delivery.response import Cors, Headers
from mediaserver.delivery.web import Web

HEAD = b" HTTP/1.1\r\nHost: x\r\n"
#: What no server can make sense of.
BROKEN = b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport that says when an answer was written to it, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.put_nowait(bytes(data))

    def is_closing(self) -> bool:
        return self.closed.is_set()

    def close(self) -> None:
        self.closed.set()

    async def answered(self) -> int:
        """The status of the next answer."""
        async with asyncio.timeout(30):
            while not (data := await self.written.get()).startswith(b"HTTP/1."):
                pass
        return int(data.split()[1])


class House:
    """A connection that aiohttp has, what was asked to explain, and what was counted. Unless ``idle`` nothing is answered."""

    def __init__(
        self, wire: Wire, protocol: asyncio.Protocol, told: list[bytes], counters: Counters, idle: asyncio.Event
    ) -> None:
        self.wire, self.protocol, self.told, self.counters, self.idle = wire, protocol, told, counters, idle

    async def ask(self, *pieces: bytes) -> int:
        """The status of the answer to what comes like that."""
        for piece in pieces:
            self.protocol.data_received(piece)
            await asyncio.sleep(0)
        status = await self.wire.answered()
        for _ in range(10):  # aiohttp comes to wait for the next head some turns behind the answer
            await asyncio.sleep(0)
        return status


@asynccontextmanager
async def connected(**http: float) -> AsyncIterator[House]:
    idle, counters = asyncio.Event(), Counters()
    idle.set()

    async def handle(request: web.Request) -> web.Response:
        await idle.wait()
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
    fast = SimpleNamespace(
        config=HttpConfig(**{"header_timeout": 3600.0} | http), counters=counters, cors=Cors(("*",)), date="", explain=explain
    )
    protocol = lane(runner, cast("Web", fast))()
    protocol.connection_made(wire)
    try:
        yield House(wire, protocol, told, counters, idle)
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


#: The least that can be configured.
SHORT = 0.1


async def test_a_later_head_that_drips_is_given_up() -> None:
    async with connected(header_timeout=SHORT) as house:
        assert await house.ask(b"GET /a" + HEAD + b"\r\n") == 200
        house.protocol.data_received(b"GET /api/")
        async with asyncio.timeout(30):
            while not house.wire.is_closing():
                house.protocol.data_received(b"a")
                await asyncio.sleep(SHORT / 10)
        assert await house.wire.answered() == 408
        assert house.told[0].startswith(b"GET /api/")
        assert (house.counters.timeouts, house.counters.requests["malformed"]) == (1, 1)


async def test_a_head_that_came_in_time_is_answered_whenever_that_is() -> None:
    async with connected(header_timeout=SHORT) as house:
        assert await house.ask(b"GET /a" + HEAD + b"\r\n") == 200
        house.idle.clear()
        house.protocol.data_received(b"GET /a")
        house.protocol.data_received(HEAD + b"\r\n")
        await asyncio.sleep(2 * SHORT)
        house.idle.set()
        assert await house.wire.answered() == 200
        assert house.counters.timeouts == 0


async def test_a_body_is_no_head() -> None:
    async with connected(header_timeout=SHORT) as house:
        for _ in range(2):
            house.protocol.data_received(b"POST /a" + HEAD + b"Content-Length: 2\r\n\r\n1")
            await asyncio.sleep(2 * SHORT)
            assert await house.ask(b"2") == 200


async def test_an_empty_line_begins_no_head() -> None:
    """Some send one behind a body (RFC 9112, 2.2)."""
    async with connected(header_timeout=SHORT) as house:
        assert await house.ask(b"GET /a" + HEAD + b"\r\n") == 200
        house.protocol.data_received(b"\r\n")
        await asyncio.sleep(2 * SHORT)
        assert not house.wire.is_closing()
        assert await house.ask(b"GET /a" + HEAD + b"\r\n") == 200


async def test_a_head_that_has_begun_has_its_time_whatever_is_left_of_keepalive() -> None:
    async with asyncio.timeout(60):
        while not await survives_its_keepalive():
            pass


async def survives_its_keepalive() -> bool:
    """False: on this busy machine its time was over before the head began."""
    async with connected(header_timeout=3600, keepalive_timeout=SHORT) as house:
        assert await house.ask(b"GET /a" + HEAD + b"\r\n") == 200
        if house.wire.is_closing():
            return False
        house.protocol.data_received(b"GET /a")
        await asyncio.sleep(2 * SHORT)
        assert not house.wire.is_closing()
        assert await house.ask(HEAD + b"\r\n") == 200
        return True


async def test_a_connection_that_begins_no_other_head_ends_with_its_keepalive() -> None:
    async with connected(header_timeout=3600, keepalive_timeout=SHORT) as house:
        assert await house.ask(b"GET /a" + HEAD + b"\r\n") == 200
        if not house.wire.is_closing():
            house.protocol.data_received(b"GET /a")
            assert await house.ask(HEAD + b"\r\n") == 200
        async with asyncio.timeout(30):
            await house.wire.closed.wait()
        assert house.counters.timeouts == 0


POST = b"POST /a" + HEAD
#: Whole requests, as they come, and in the last piece how the head of the next one begins.
BEGUN = (
    [b"GET /a" + HEAD + b"\r\nGET /api/"],
    [b"GET /a" + HEAD + b"\r\n\r\nGET /api/"],
    [b"GET /b" + HEAD + b"\r\nGET /a" + HEAD + b"\r", b"\nGET /api/"],
    [b"GET /b" + HEAD + b"\r\nGET /a" + HEAD + b"\r\nGET /api/"],
    [POST + b"Content-Length: 2\r\n\r\n12GET /api/"],
    [POST + b"Content-Length: 4\r\n\r\n1", b"2", b"34GET /api/"],
    [POST + b"Content-Length: 0\r\n\r\nGET /api/"],
    [POST + b"Content-Encoding: deflate\r\nContent-Length: 9\r\n\r\nx\x9cK\x04\x00\x00b\x00bGET /api/"],
    [POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", b"0\r\n\r\nGET /api/"],
    [POST + b"Content-Length: 1\r\n\r\n1", b"GET /", b"api/"],
)


def answers(pieces: list[bytes]) -> int:
    return b"".join(pieces).count(b" HTTP/1.1")


@pytest.mark.parametrize("pieces", BEGUN)
@pytest.mark.parametrize("keepalive", [SHORT, 3600], ids=["shorter", "longer"])
async def test_a_head_that_began_behind_a_request_that_was_not_answered_yet_has_its_time(
    pieces: list[bytes], keepalive: float
) -> None:
    async with connected(header_timeout=SHORT, keepalive_timeout=keepalive) as house:
        house.idle.clear()
        for piece in pieces:
            house.protocol.data_received(piece)
            await asyncio.sleep(0)
        house.idle.set()
        for _ in range(answers(pieces)):
            assert await house.wire.answered() == 200
        assert await house.wire.answered() == 408
        assert house.wire.is_closing()
        assert house.told == [b"GET /api/"]
        assert (house.counters.timeouts, house.counters.requests["malformed"]) == (1, 1)


@pytest.mark.parametrize("pieces", BEGUN)
async def test_a_head_that_began_so_is_answered_when_it_is_whole(pieces: list[bytes]) -> None:
    async with connected(header_timeout=3600, keepalive_timeout=3600) as house:
        assert await house.ask(*pieces) == 200
        for _ in range(answers(pieces) - 1):
            assert await house.wire.answered() == 200
        assert await house.ask(HEAD, b"\r\n") == 200


@pytest.mark.parametrize(
    "pieces",
    [
        [b"GET /a" + HEAD + b"\r\n"],
        [b"GET /a" + HEAD + b"\r\n\r\n"],
        [b"GET /a" + HEAD + b"\r\n" + b"GET /b" + HEAD + b"\r\n"],
        [POST + b"Content-Length: 2\r\n\r\n12"],
        [POST + b"Content-Length: 2\r\n\r\n", b"1", b"2"],
        [POST + b"Content-Length: 2\r\n\r\n1", b"2\r\n"],
        [POST + b"Content-Length: 2\r\n\r\n12\r", b"\n"],
        [POST + b"Content-Length: 2\r\n\r\n12" + POST + b"Content-Length: 3\r\n\r\n345\r\n"],
        [POST + b"Content-Length: 2\r\n\r\n12" + POST + b"Content-Length: 3\r\n\r\n345"],
        [POST + b"Content-Length: 2\r\n\r\n1", b"2" + POST + b"Content-Length: 3\r\n\r\n3", b"45"],
        [POST + b"Content-Encoding: deflate\r\nContent-Length: 9\r\n\r\nx\x9cK\x04\x00", b"\x00b\x00b"],
        [POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"],
        [POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", b"0\r\nA: b\r\n\r", b"\n"],
        [b"GET /a" + HEAD + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n" + POST + b"Content-Length: 2\r\n\r\n12"],
        # More than aiohttp hands out at a time.
        [b"GET /a" + HEAD + b"\r\n"] * 33,
        [b"".join([b"GET /a" + HEAD + b"\r\n"] * 31 + [POST + b"Content-Length: 2\r\n\r\n{}", b"GET /a" + HEAD + b"\r\n"])],
        [(POST + b"Content-Length: 2\r\n\r\n{}") * 70],
    ],
)
async def test_nothing_is_behind_what_is_whole(pieces: list[bytes]) -> None:
    """With a deadline for heads that is over at once where one runs, the connection ends by its keepalive, without a word."""
    async with connected(header_timeout=SHORT, keepalive_timeout=SHORT) as house:
        for piece in pieces:
            house.protocol.data_received(piece)
            await asyncio.sleep(0)
        for _ in range(answers(pieces)):
            assert await house.wire.answered() == 200
        async with asyncio.timeout(30):
            await house.wire.closed.wait()
        assert house.counters.timeouts == 0


async def test_a_connection_ends_with_its_keepalive_also_behind_a_head_that_outlasted_it() -> None:
    async with connected(header_timeout=3600, keepalive_timeout=SHORT) as house:
        assert await house.ask(b"GET /a" + HEAD + b"\r\nGET /a") == 200
        await asyncio.sleep(2 * SHORT)
        assert not house.wire.is_closing()
        assert await house.ask(HEAD + b"\r\n") == 200
        async with asyncio.timeout(30):
            await house.wire.closed.wait()
        assert house.counters.timeouts == 0
