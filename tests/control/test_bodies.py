"""What peers send to pages: bounded in size and in time, and no noise in the log when it is no HTTP."""

import asyncio
import io
import logging

import pytest
from aiohttp import web

from control import middleware
from control.app import MAX_BODY, create_app
from mediaserver.config import Config, HttpConfig
from tests.control.conftest import Connect, OpenPanel
from tests.control.engine import FakeEngine

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def raw(connect: Connect, config: Config | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    client = await connect(config)
    return await asyncio.open_connection("127.0.0.1", client.port)


LENGTHS = pytest.mark.parametrize("length", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
#: That of an operation, and that of players.
TAKEN = pytest.mark.parametrize("target", ["/api/auth/login", "/api/live/show/report"])


async def first_head(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(30):
        return await reader.readuntil(b"\r\n\r\n")


@LENGTHS
@TAKEN
@one_database
async def test_a_body_that_drips_is_given_up(panel: OpenPanel, target: str, length: str) -> None:
    here = await panel(http={"header_timeout": 0.2})
    reader, writer = await asyncio.open_connection("127.0.0.1", here.client.port)
    writer.write(f"POST {target} HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n1".encode())
    head = await first_head(reader)
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close" in head
    writer.close()
    await writer.wait_closed()


@LENGTHS
@pytest.mark.parametrize("target", ["/", "/nothing", "/api/live", "/api/nothing"])
async def test_nobody_waits_for_a_body_that_nobody_takes(connect: Connect, target: str, length: str) -> None:
    reader, writer = await raw(connect, Config(http=HttpConfig(header_timeout=30)))
    writer.write(f"POST {target} HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n1".encode())
    assert (await first_head(reader)).split(b" ")[1] in {b"404", b"405"}
    writer.close()
    await writer.wait_closed()


@TAKEN
@one_database
async def test_a_body_that_is_too_large_is_refused(panel: OpenPanel, target: str) -> None:
    here = await panel()
    answer = await here.nobody.post(target, data=io.BytesIO(bytes(MAX_BODY + 1)))
    assert (answer.status, answer.error["code"]) == (413, "TOO_LARGE")
    assert "larger than anything" in answer.error["message"]


async def test_a_body_within_the_bounds_reaches_its_handler(connect: Connect) -> None:
    client = await connect()
    assert (await client.post("/", data=b"small")).status == 405


async def test_malformed_bytes_of_a_peer_leave_no_traceback(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await raw(connect)
    with caplog.at_level(logging.DEBUG):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(30):
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
            writer.write(b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 400 " in await reader.readline()
            await reader.read()
    writer.close()
    await writer.wait_closed()
    assert "Traceback" not in caplog.text
    assert "malformed_request" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@LENGTHS
@TAKEN
@one_database
async def test_a_peer_that_hangs_up_in_the_middle_of_its_body_leaves_nothing_in_the_log(
    panel: OpenPanel, target: str, length: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever likes could fill it."""
    here = await panel()
    begun, over = asyncio.Event(), asyncio.get_running_loop().create_future()

    @web.middleware
    async def witness(request: web.Request, handler: middleware.Handler) -> web.StreamResponse:
        begun.set()
        try:
            response = await handler(request)
        except Exception as error:
            over.set_result(error)
            raise
        over.set_result(response.status)
        return response

    app = create_app(here.resident.engine, here.config, resident=here.resident)
    app.middlewares.insert(0, witness)
    runner = web.AppRunner(app)  # as the server's: a TestServer cancels handlers
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with asyncio.timeout(30):
            _, writer = await asyncio.open_connection(*runner.addresses[0])
            writer.write(f"POST {target} HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n1".encode())
            await begun.wait()
            writer.transport.abort()
            assert await over == 422
    finally:
        await runner.cleanup()
    assert not [record for record in caplog.records if record.levelno >= logging.INFO]


async def test_a_bug_in_a_handler_is_logged(connect: Connect, engine: FakeEngine, caplog: pytest.LogCaptureFixture) -> None:
    client = await connect()

    def broken() -> None:
        raise ZeroDivisionError

    engine.snapshot = broken  # type: ignore[method-assign, assignment]
    assert (await client.get("/api/live")).status == web.HTTPInternalServerError.status_code
    assert "ZeroDivisionError" in caplog.text
