"""The web application on a free port, over an engine that a test arranges; databases and Redis for real."""

import asyncio
import contextlib
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request
from argon2 import PasswordHasher

from control.app import create_app
from control.auth.passwords import Passwords
from control.db import Database, migrations, open_database
from mediaserver.config import Config
from tests.control.engine import FakeEngine
from tests.control.panel import Panel, open_panel
from tests.peers import Postgres, Redis

Client = TestClient[Request, Application]
Connect = Callable[..., Awaitable[Client]]
#: ``await panel(config)``: an application with a control plane behind it, and who asks it.
OpenPanel = Callable[..., Awaitable[Panel]]


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


# -- databases --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A PostgreSQL server for the session."""
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A Redis server for the session."""
    server = Redis(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_with_tables(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database from which others are copied."""

    async def make() -> str:
        admin = await asyncpg.connect(postgres.url())
        await admin.execute("CREATE DATABASE with_tables")
        await admin.close()
        opened = await open_database(postgres.url("with_tables"), tmp_path_factory.mktemp("with_tables"))
        await opened.close()
        return "with_tables"

    # In a thread: it may be asked for where a loop runs already.
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, make()).result()


@pytest.fixture(scope="session")
def sqlite_with_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file from which others are copied: to make all tables anew takes a disk a while."""
    folder = tmp_path_factory.mktemp("sqlite_with_tables")

    async def make() -> None:
        await (await open_database("", folder)).close()

    with ThreadPoolExecutor(1) as threads:
        threads.submit(asyncio.run, make()).result()
    return folder / "mediaserver.db"


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_with_tables: Path) -> str:
    """The URL of a file whose tables are empty."""
    file = tmp_path / "data" / "test.db"
    file.parent.mkdir()
    shutil.copy(sqlite_with_tables, file)
    return f"sqlite:///{file}"


@pytest.fixture(scope="session")
def given_back() -> list[str]:
    """The names of databases with tables that tests have had."""
    return []


#: Whoever is left there goes; no row stays, and rows are numbered from 1 again. A copy of a template costs many times as much.
EMPTY = f"""
DO $$
DECLARE each record;
BEGIN
    WHILE EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()) LOOP
        PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();
        PERFORM pg_sleep(0.005), pg_stat_clear_snapshot();
    END LOOP;
    SET LOCAL session_replication_role = replica; -- in whatever order: no row is missed by another
    FOR each IN SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'migrations' LOOP
        EXECUTE format('DELETE FROM %I', each.name);
    END LOOP;
    FOR each IN SELECT sequencename AS name FROM pg_sequences WHERE schemaname = 'public' LOOP
        PERFORM setval(each.name::regclass, 1, false);
    END LOOP;
    DELETE FROM migrations WHERE number > {migrations()[-1][0]};
END $$
"""


@contextlib.asynccontextmanager
async def tables_on(server: Postgres, template: str, given_back: list[str]) -> AsyncIterator[str]:
    """The URL of a database whose tables are empty."""
    if given_back:
        name = given_back.pop()
        connection = await asyncpg.connect(server.url(name))
        await connection.execute(EMPTY)
    else:
        name = f"test_{secrets.token_hex(6)}"
        connection = await asyncpg.connect(server.url())
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    await connection.close()
    yield server.url(name)
    given_back.append(name)


@contextlib.asynccontextmanager
async def database_on(server: Postgres) -> AsyncIterator[str]:
    """The URL of a new database."""
    name = f"test_{secrets.token_hex(6)}"
    admin = await asyncpg.connect(server.url())
    await admin.execute(f"CREATE DATABASE {name}")
    try:
        yield server.url(name)
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/data/test.db"
        return
    async with database_on(request.getfixturevalue("postgres")) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The URL of a database of each kind that has its tables already, and nothing in them."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_url")
        return
    async with tables_on(*map(request.getfixturevalue, ("postgres", "postgres_with_tables", "given_back"))) as url:
        yield url


@pytest.fixture
async def database(database_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    """An open database of each kind, with its tables."""
    opened = await open_database(database_url, tmp_path)
    yield opened
    await opened.close()


# -- the panel --------------------------------------------------------------------------------------------------------


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    """Real Argon2id with the least parameters: a test logs in often."""
    with contextlib.closing(Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))) as opened:
        yield opened


@pytest.fixture
async def panel(engine: FakeEngine, tmp_path: Path, database_url: str, passwords: Passwords) -> AsyncIterator[OpenPanel]:
    """On each kind of database."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(url: str = database_url, **tables: dict[str, object]) -> Panel:
            return await stack.enter_async_context(open_panel(engine, tmp_path, url, passwords, tables))

        yield start
