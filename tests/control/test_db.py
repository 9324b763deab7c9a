"""The database: what holds on SQLite and on a real PostgreSQL alike, and each one's own ways of failing."""

import asyncio
import contextlib
import logging
import socket
import sqlite3
import stat
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from control import db
from control.away import in_words
from control.db import Conflict, Database, DatabaseUnavailable, NestedWrite, is_id, open_database
from tests.control.conftest import database_on
from tests.peers import ROOT, Postgres, wait_until

MARK = "INSERT INTO login_failures (subject, failures, last_at) VALUES (?, 1, 0)"


async def mark(database: Database, subject: str) -> None:
    async with database.write() as tx:
        await tx.execute(MARK, subject)


async def marks(database: Database) -> set[str]:
    async with database.read() as tx:
        return {row["subject"] for row in await tx.rows("SELECT subject FROM login_failures")}


# -- transactions ------------------------------------------------------------------------------------------------------


async def test_leaving_commits_and_an_exception_rolls_back(database: Database) -> None:
    await mark(database, "kept")

    async def fail() -> None:
        async with database.write() as tx:
            await tx.execute(MARK, "gone")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await marks(database) == {"kept"}


async def test_execute_tells_how_many_rows_it_changed(database: Database) -> None:
    for subject in "abc":
        await mark(database, subject)
    async with database.write() as tx:
        assert await tx.execute("UPDATE login_failures SET failures = 2 WHERE subject <> ?", "a") == 2
        assert await tx.execute("DELETE FROM login_failures WHERE subject = ?", "nobody") == 0
        assert await tx.row("SELECT subject FROM login_failures WHERE subject = ?", "nobody") is None


async def test_a_row_that_exists_already_is_a_conflict_and_undoes_the_rest(database: Database) -> None:
    await mark(database, "twice")

    async def write() -> None:
        async with database.write() as tx:
            await tx.execute(MARK, "first")
            await tx.execute(MARK, "twice")

    with pytest.raises(Conflict):
        await write()
    assert await marks(database) == {"twice"}


async def test_a_row_that_needs_another_is_a_conflict(database: Database) -> None:
    with pytest.raises(Conflict):
        async with database.write() as tx:
            await tx.execute(
                "INSERT INTO logins (id, user_id, refresh_hash, family_hash, created_at, expires_at, address, agent)"
                " VALUES ('x', 4711, '', '', 0, 0, '', '')"
            )


@pytest.mark.parametrize("when", ["at once", "having begun", "having written"])
async def test_a_cancelled_transaction_leaves_nothing_behind(database: Database, when: str) -> None:
    begun, written = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        async with database.write() as tx:
            begun.set()
            await tx.execute(MARK, "gone")
            written.set()
            await asyncio.Event().wait()

    for _ in range(10):
        begun.clear()
        written.clear()
        task = asyncio.create_task(work())
        if when == "at once":
            await asyncio.sleep(0)  # it is waiting for its BEGIN
        else:
            await (begun if when == "having begun" else written).wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # The connection is whole: what comes next is neither refused nor part of what was given up.
        await mark(database, "kept")
        assert await marks(database) == {"kept"}
        async with database.write() as tx:
            await tx.execute("DELETE FROM login_failures")


async def test_a_cancelled_reader_leaves_nothing_behind(database: Database) -> None:
    async def look() -> None:
        async with database.read() as tx:
            await tx.rows("SELECT 1 AS one")
            await asyncio.Event().wait()

    for turns in range(8):
        tasks = [asyncio.create_task(look()) for _ in range(2)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await marks(database) == set()


async def test_a_write_inside_a_write_is_refused_at_once(database: Database) -> None:
    async with database.write() as tx:
        await tx.execute(MARK, "outer")
        with pytest.raises(NestedWrite):
            async with database.write():
                raise AssertionError
    await mark(database, "next")
    assert await marks(database) == {"outer", "next"}


async def test_a_read_inside_a_write_sees_what_was_committed(database: Database) -> None:
    async with database.write() as tx:
        await tx.execute(MARK, "open")
        assert await marks(database) == set()
    assert await marks(database) == {"open"}


async def test_concurrent_writers_lose_no_update(database: Database) -> None:
    await mark(database, "sum")

    async def add() -> None:
        async with database.write() as tx:
            await tx.execute("UPDATE login_failures SET failures = failures + 1 WHERE subject = ?", "sum")

    await asyncio.gather(*(add() for _ in range(40)))
    async with database.read() as tx:
        row = await tx.row("SELECT failures FROM login_failures")
    assert row is not None
    assert row["failures"] == 41


async def test_a_reader_sees_one_moment(database: Database) -> None:
    await mark(database, "before")
    async with database.read() as tx:
        before = await tx.rows("SELECT subject FROM login_failures")
        await mark(database, "meanwhile")
        assert await tx.rows("SELECT subject FROM login_failures") == before
    assert await marks(database) == {"before", "meanwhile"}


async def test_a_reader_changes_nothing(database: Database) -> None:
    with pytest.raises((sqlite3.OperationalError, asyncpg.ReadOnlySQLTransactionError)):
        async with database.read() as tx:
            await tx.execute(MARK, "no")
    assert await marks(database) == set()


async def test_a_statement_that_is_wrong_is_a_mistake_of_ours_and_no_outage(database: Database) -> None:
    for statement in ("SELEC", "SELECT nothing FROM users", "SELECT 1 FROM nowhere"):
        with pytest.raises(Exception) as raised:
            async with database.read() as tx:
                await tx.rows(statement)
        assert not isinstance(raised.value, (DatabaseUnavailable, Conflict))
    await mark(database, "goes on")


async def test_ids_stay_within_what_a_row_can_have(database: Database) -> None:
    assert [is_id(number) for number in (-1, 0, 1, 2**63 - 1, 2**63, 10**30)] == [False, False, True, True, False, False]
    async with database.read() as tx:
        assert await tx.row("SELECT id FROM users WHERE id = ?", 2**63 - 1) is None


async def test_a_closed_database_is_unavailable_and_may_be_closed_again(database: Database) -> None:
    await database.close()
    await database.close()
    for use in (database.read, database.write):
        with pytest.raises(DatabaseUnavailable):
            async with use():
                raise AssertionError


# -- opening -----------------------------------------------------------------------------------------------------------


async def test_opening_again_keeps_everything(empty_database_url: str, tmp_path: Path) -> None:
    for subject in ("first", "second"):
        opened = await open_database(empty_database_url, tmp_path)
        await mark(opened, subject)
        await opened.close()
    opened = await open_database(empty_database_url, tmp_path)
    assert await marks(opened) == {"first", "second"}
    async with opened.read() as tx:
        numbers = [row["number"] for row in await tx.rows("SELECT number FROM migrations ORDER BY number")]
    assert numbers == [number for number, _ in db.migrations()]
    await opened.close()


async def test_a_database_of_a_newer_version_is_left_alone(database: Database, database_url: str, tmp_path: Path) -> None:
    async with database.write() as tx:
        await tx.execute("INSERT INTO migrations (number, at) VALUES (9999, 0)")
    with pytest.raises(DatabaseUnavailable, match="newer version"):
        await open_database(database_url, tmp_path)


OPEN = (
    "import asyncio, sys\n"
    "from pathlib import Path\n"
    "from control import db\n"
    "async def main():\n"
    "    opened = await db.open_database(sys.argv[1], Path(sys.argv[2]))\n"
    "    await opened.close()\n"
    "asyncio.run(main())\n"
)


async def test_several_processes_may_open_an_empty_database_at_once(empty_database_url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN, empty_database_url, str(tmp_path)]
    started = [await asyncio.create_subprocess_exec(*command, cwd=ROOT, stderr=asyncio.subprocess.PIPE) for _ in range(3)]
    for process in started:
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
    opened = await open_database(empty_database_url, tmp_path)
    await mark(opened, "works")
    await opened.close()


HALFWAY = OPEN.replace(
    "async def main():",
    "whole = db.statements\n"
    "def halfway(text):\n"
    "    for statement in whole(text):\n"
    "        yield statement\n"
    "        print('halfway', flush=True)\n"
    "        sys.stdin.readline()\n"
    "db.statements = halfway\n"
    "async def main():",
)


async def test_killed_in_the_middle_of_a_migration_it_starts_from_its_beginning(empty_database_url: str, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HALFWAY, empty_database_url, str(tmp_path), cwd=ROOT, stdin=-1, stdout=-1
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"halfway\n"
    process.kill()
    await process.wait()
    opened = await open_database(empty_database_url, tmp_path)
    await mark(opened, "works")
    await opened.close()


@pytest.mark.parametrize("url", ["mysql://x/y", "oracle:thin"])
async def test_a_url_of_an_unknown_kind_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not known"):
        await open_database(url, tmp_path)


@pytest.mark.parametrize(
    "url",
    ["postgresql://u:geheim@127.0.0.1:1/x", "postgresql://u:geheim@127.0.0.1:geheim/x", "postgresql://u:geheim@[::1/x"],
)
async def test_what_is_said_of_an_unreachable_server_holds_no_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable) as raised:
        await open_database(url, tmp_path)
    assert "geheim" not in str(raised.value)
    assert "database.url" in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "error", "told"),
    [
        ("postgresql://u@db.example/x", TimeoutError(), "at db.example:5432: it does not answer: start it, or correct"),
        ("postgresql://u@[2001:db8::7]:1/x", ConnectionRefusedError(), "at [2001:db8::7]:1: nobody listens there: start it"),
        ("postgresql://u@no.such.name/x", socket.gaierror(), "at no.such.name:5432: that name leads nowhere: start it"),
        ("postgresql://a:1,b:2/x", ConnectionRefusedError(), "cannot be reached: nobody listens there"),
        ("postgresql:///x?host=/nowhere", FileNotFoundError(), "cannot be reached: there is no such socket"),
        ("postgresql://u@h/x?sslmode=odd", ValueError("geheim"), "at h:5432: ValueError: correct database.url"),
    ],
)
def test_where_a_server_was_looked_for_is_said_and_what_to_do(url: str, error: Exception, told: str) -> None:
    assert told in in_words(url, error)


async def test_a_server_that_is_away_or_lets_nobody_in_is_named_at_the_start(postgres: Postgres, tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        with pytest.raises(DatabaseUnavailable, match=rf"at 127\.0\.0\.1:{port}: nobody listens there: start it"):
            await open_database(f"postgresql://u:geheim@127.0.0.1:{port}/x", tmp_path)
    with pytest.raises(DatabaseUnavailable, match=r"has no such database: create it, or correct database\.url"):
        await open_database(postgres.url("no_such_database"), tmp_path)
    with pytest.raises(DatabaseUnavailable, match="does not let that user in: correct the user or the password"):
        await open_database(postgres.url().replace("test@", "nobody_known@"), tmp_path)


# -- SQLite's own ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await open_database("", tmp_path)
    yield opened
    await opened.close()


@contextlib.asynccontextmanager
async def locked(file: Path) -> AsyncIterator[None]:
    """Another process holds the write lock. It waits for whoever has it, whom the event loop must not keep from letting go."""
    script = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('BEGIN IMMEDIATE')\n"
        "print('locked', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(file), stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"locked\n"
        yield
    finally:
        process.kill()
        await process.communicate()


async def test_sqlite_locked_by_another_process_for_too_long_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "LOCKED", 0.2)
    sqlite = await open_database("", tmp_path)
    await mark(sqlite, "before")
    async with locked(tmp_path / "mediaserver.db"):
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable):
                await mark(sqlite, "never")
        assert await marks(sqlite) == {"before"}  # reading goes on
    await mark(sqlite, "after")
    assert await marks(sqlite) == {"before", "after"}
    await sqlite.close()


async def test_sqlite_s_files_are_the_server_s_alone(sqlite: Database, tmp_path: Path) -> None:
    await mark(sqlite, "x")
    files = [tmp_path / f"mediaserver.db{end}" for end in ("", "-wal", "-shm")]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


async def test_sqlite_survives_kill_9_with_what_was_confirmed(tmp_path: Path) -> None:
    script = OPEN.replace(
        "    await opened.close()\n",
        "    for number in range(100000):\n"
        "        async with opened.write() as tx:\n"
        f"            await tx.execute({MARK!r}, str(number))\n"
        "        print(number, flush=True)\n",
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, "", str(tmp_path), cwd=ROOT, stdout=-1)
    assert process.stdout is not None
    for _ in range(30):
        await process.stdout.readline()
    process.kill()
    rest, _ = await process.communicate()
    last = int(rest.split()[-1]) if rest.endswith(b"\n") else 29
    opened = await open_database("", tmp_path)
    assert {str(number) for number in range(last + 1)} <= await marks(opened)
    await opened.close()


async def test_no_value_of_a_statement_is_in_the_log_whatever_its_level(
    sqlite: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await mark(sqlite, "canary")
    assert "canary" not in caplog.text


async def test_what_is_no_sqlite_file_is_unavailable_and_no_thread_stays(tmp_path: Path) -> None:
    (tmp_path / "mediaserver.db").write_bytes(b"this is no database at all" * 100)
    before = threading.active_count()
    with pytest.raises(DatabaseUnavailable):
        await open_database("", tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(DatabaseUnavailable):
        await open_database("sqlite:///folder", tmp_path)
    wait_until(lambda: threading.active_count() <= before, "the threads to end")


async def test_a_full_sqlite_is_unavailable_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    opened = await open_database("", tmp_path)
    assert isinstance(opened, db.SqliteDatabase)
    assert opened._writer is not None
    await opened._writer.execute("PRAGMA max_page_count = 60")
    with pytest.raises(DatabaseUnavailable, match="full"):
        await mark(opened, "x" * 2_000_000)
    await mark(opened, "small")
    assert await marks(opened) == {"small"}
    await opened.close()


async def test_a_slow_statement_of_sqlite_does_not_stop_the_loop(sqlite: Database) -> None:
    loop, begun, seen = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def slow() -> bool:
        """Takes until the loop has seen that it runs."""
        loop.call_soon_threadsafe(begun.set)
        return seen.wait(20)

    async with sqlite.read() as tx:
        assert isinstance(tx, db._SqliteTransaction)
        await tx._connection.create_function("slow", 0, slow)
        asking = asyncio.create_task(tx.row("SELECT slow() AS seen"))
        await begun.wait()
        seen.set()
        assert await asking == {"seen": 1}


# -- PostgreSQL's own --------------------------------------------------------------------------------------------------


async def test_postgresql_rows_locked_for_too_long_are_unavailable(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(db, "LOCKED", 0.2)
    async with database_on(postgres) as url:
        opened = await open_database(url, tmp_path)
        other = await asyncpg.connect(url)
        await mark(opened, "before")
        async with other.transaction():
            await other.execute("LOCK TABLE login_failures IN EXCLUSIVE MODE")
            with pytest.raises(DatabaseUnavailable):
                await mark(opened, "never")
            assert await marks(opened) == {"before"}
        await mark(opened, "after")
        assert await marks(opened) == {"before", "after"}
        await other.close()
        await opened.close()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_postgresql_may_be_restarted_beneath_us(
    postgres: Postgres, database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened = await open_database(database_url, tmp_path)
    await mark(opened, "before")
    postgres.stop()
    try:
        with pytest.raises(DatabaseUnavailable):
            await mark(opened, "never")
        async with asyncio.timeout(30):
            while "asyncpg.pool" not in {record.name for record in caplog.records}:  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.01)
        # A line each, though the pool itself would tell where in its own code.
        assert {record.getMessage() for record in caplog.records} == {"database_away"}
        assert not [record for record in caplog.records if record.exc_info]
    finally:
        postgres.start()
    await mark(opened, "after")
    assert await marks(opened) == {"before", "after"}
    await opened.close()


@pytest.mark.parametrize(
    "error", [ConnectionResetError(), TimeoutError(), asyncpg.AdminShutdownError(), ZeroDivisionError()], ids=repr
)
def test_only_that_the_server_is_away_is_told_without_its_trace(error: Exception) -> None:
    record = logging.LogRecord("asyncpg.pool", logging.ERROR, __file__, 1, "while closing", (), (type(error), error, None))
    assert db._in_a_line(record)
    assert (record.msg, record.exc_info is None) == (
        ("while closing", False) if isinstance(error, ZeroDivisionError) else ("database_away", True)
    )
