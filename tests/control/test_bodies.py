"""What peers send to pages: bounded in size and in time, and no noise in the log when it is no HTTP."""

import asyncio
import io
import logging

import pytest
from aiohttp import web

from control.app import MAX_BODY
from mediaserver.config import Config, HttpConfig
from tests.control.conftest import Connect
from tests.control.engine import FakeEngine


async def raw(connect: Connect, config: Config | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    client = await connect(config)
    return await asyncio.open_connection("127.0.0.1", client.port)


@pytest.mark.parametrize("length", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("target", ["/", "/nothing", "/api/live"])
async def test_a_body_that_drips_is_given_up(connect: Connect, target: str, length: str) -> None:
    reader, writer = await raw(connect, Config(http=HttpConfig(header_timeout=0.2)))
    writer.write(f"POST {target} HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n1".encode())
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close" in head
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("target", ["/", "/api/live"])
async def test_a_body_that_is_too_large_is_refused(connect: Connect, target: str) -> None:
    client = await connect()
    answer = await client.post(target, data=io.BytesIO(bytes(MAX_BODY + 1)))
    assert answer.status == 413
    assert "larger than anything" in await answer.text()


async def test_a_body_within_the_bounds_reaches_its_handler(connect: Connect) -> None:
    client = await connect()
    assert (await client.post("/", data=b"small")).status == 405


async def test_malformed_bytes_of_a_peer_leave_no_traceback(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await raw(connect)
    with caplog.at_level(logging.DEBUG):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(10):
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
            writer.write(b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 400 " in await reader.readline()
            await reader.read()
    writer.close()
    await writer.wait_closed()
    assert "Traceback" not in caplog.text
    assert "malformed_request" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_bug_in_a_handler_is_logged(connect: Connect, engine: FakeEngine, caplog: pytest.LogCaptureFixture) -> None:
    client = await connect()

    def broken() -> None:
        raise ZeroDivisionError

    engine.snapshot = broken  # type: ignore[method-assign, assignment]
    assert (await client.get("/api/live")).status == web.HTTPInternalServerError.status_code
    assert "ZeroDivisionError" in caplog.text
