"""The web application on a free port, over an engine that a test arranges."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from control.app import create_app
from mediaserver.config import Config
from tests.control.engine import FakeEngine

Client = TestClient[Request, Application]
Connect = Callable[..., Awaitable[Client]]


@pytest.fixture
def engine() -> FakeEngine:
    fake = FakeEngine()
    fake.show()
    return fake


@pytest.fixture
async def connect(engine: FakeEngine) -> AsyncIterator[Connect]:
    """``await connect(config)``: a client of the application with that configuration."""
    clients: list[Client] = []

    async def start(config: Config | None = None, **options: object) -> Client:
        app = create_app(engine, config or Config(), **options)  # type: ignore[arg-type]
        client: Client = TestClient(TestServer(app), auto_decompress=False)
        await client.start_server()
        clients.append(client)
        return client

    yield start
    for client in clients:
        await client.close()


@pytest.fixture
async def client(connect: Connect) -> Client:
    return await connect()
