"""The database: SQLite in ``data_dir``, or PostgreSQL by URL. Plain SQL that both understand, one transaction a request.

What they spell differently is written once, here: ``?`` is a parameter, and in migrations ``{id}`` is a key that counts itself,
``{bytes}`` a binary column. Times are Unix seconds (DOUBLE PRECISION), switches are 0 or 1 (SMALLINT), JSON is TEXT.
"""

import asyncio
import contextlib
import errno
import logging
import os
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import aiosqlite

from control.away import in_words

if TYPE_CHECKING:
    import asyncpg

T = TypeVar("T")
#: A row by column name.
Row = Mapping[str, Any]

MIGRATIONS = Path(__file__).parent / "migrations"
#: Connections that only read SQLite; one more writes.
READERS = 2
#: Seconds that a database is waited for which is out of reach, or busy with our own work; and for what others hold locked in it.
PATIENCE, LOCKED = 5.0, 5.0

# At DEBUG aiosqlite writes every statement down with its values, hashes and keys among them.
logging.getLogger("aiosqlite").setLevel(logging.INFO)

_MIGRATION = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_LARGEST_ID = (1 << 63) - 1


class DatabaseUnavailable(Exception):
    """The database does not answer, is locked or is full. Nothing of the transaction has happened."""


class Deadlocked(DatabaseUnavailable):
    """This transaction and another waited for each other, and this one was given up: begun anew it may succeed at once."""


class Conflict(Exception):
    """A row like it exists already, or one that it needs does not."""


class NestedWrite(RuntimeError):
    """Whoever writes asks to write once more: it would wait for itself."""


class Transaction(Protocol):
    """Statements that all happen or none. ``?`` stands for each of ``values`` in turn.

    Raises DatabaseUnavailable, and Conflict where a constraint forbids it. A statement that is wrong in itself raises what
    the driver raises: that is a mistake of ours, and belongs in the log.
    """

    async def rows(self, sql: str, *values: object) -> Sequence[Row]:
        """All rows that it gives."""

    async def row(self, sql: str, *values: object) -> Row | None:
        """The first row, or None."""

    async def execute(self, sql: str, *values: object) -> int:
        """How many rows it changed."""


class Database(Protocol):
    """Where everything is kept that outlives the process."""

    #: Whether other servers may write there, too.
    shared: bool

    def read(self) -> contextlib.AbstractAsyncContextManager[Transaction]:
        """A consistent look; changes are refused."""

    def write(self) -> contextlib.AbstractAsyncContextManager[Transaction]:
        """A transaction: leaving commits, an exception rolls back."""

    async def close(self) -> None:
        """Close all connections. Harmless twice."""


def is_id(number: int) -> bool:
    """Whether ``number`` may be the id of a row at all."""
    return 0 < number <= _LARGEST_ID


async def open_database(url: str, data_dir: Path) -> Database:
    """Open the database at ``url`` (empty: a file in ``data_dir``) and bring its tables up to date.

    Raises DatabaseUnavailable, and ValueError for a URL that it does not know.
    """
    scheme, _, rest = url.partition("://")
    database: SqliteDatabase | PostgresDatabase
    if not url or scheme == "sqlite":
        # sqlite:///relative, sqlite:////absolute: relative ones start at data_dir.
        database = SqliteDatabase(data_dir / (rest.removeprefix("/") or "mediaserver.db"))
    elif scheme in {"postgresql", "postgres"}:
        database = PostgresDatabase(url)
    else:
        raise ValueError(f"database.url: {scheme}:// is not known")
    try:
        await database.open()
        await migrate(database)
    except BaseException:
        await database.close()
        raise
    return database


# -- migrations -------------------------------------------------------------------------------------------------------


def migrations() -> list[tuple[int, str]]:
    """Number and text of every migration, in order."""
    found = []
    for file in sorted(MIGRATIONS.iterdir()):
        match = _MIGRATION.fullmatch(file.name)
        if match is not None:
            found.append((int(match[1]), file.read_text("utf-8")))
    return found


async def migrate(database: "SqliteDatabase | PostgresDatabase") -> None:
    """Apply what has not been applied, each migration in a transaction of its own, whoever else does the same.

    Raises DatabaseUnavailable where a newer version of this program was here before.
    """
    async with database.write() as transaction:
        await database.lock_schema(transaction)
        await transaction.execute(
            "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, at DOUBLE PRECISION NOT NULL)"
        )
        newest = await transaction.row("SELECT max(number) AS number FROM migrations")
    every = migrations()
    if newest is not None and (newest["number"] or 0) > every[-1][0]:
        raise DatabaseUnavailable("the database was made by a newer version of this program")
    for number, text in every:
        async with database.write() as transaction:
            await database.lock_schema(transaction)
            if await transaction.row("SELECT number FROM migrations WHERE number = ?", number):
                continue
            for statement in statements(database.spell(text)):
                await transaction.execute(statement)
            await transaction.execute("INSERT INTO migrations (number, at) VALUES (?, ?)", number, time.time())


def statements(text: str) -> Iterator[str]:
    """The statements of a migration, without comments. None of ours has a semicolon inside."""
    text = "\n".join(line.partition("--")[0] for line in text.splitlines())
    for statement in text.split(";"):
        if statement.strip():
            yield statement.strip()


# -- SQLite -----------------------------------------------------------------------------------------------------------


class SqliteDatabase:
    """One file. One connection writes, in turn; others read beside it (write-ahead log)."""

    shared = False

    def __init__(self, file: Path) -> None:
        self._file = file
        self._writer: aiosqlite.Connection | None = None
        self._writing = asyncio.Lock()
        self._writers = _Writers()
        self._readers: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()
        self._all: list[aiosqlite.Connection] = []

    async def open(self) -> None:
        """Open all connections; makes the file."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            # There are hashes of passwords in it: nobody else on the machine reads along. SQLite's other files follow it.
            self._file.touch(mode=0o600)
            if self._file.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            self._writer = await self._connect()
            # FULL: what an answer has confirmed survives a power cut.
            await self._writer.execute("PRAGMA synchronous = FULL")
            for _ in range(READERS):
                reader = await self._connect()
                await reader.execute("PRAGMA query_only = 1")
                self._readers.put_nowait(reader)
        except (OSError, sqlite3.Error) as error:
            raise DatabaseUnavailable(f"{self._file}: {error}") from error

    async def _connect(self) -> aiosqlite.Connection:
        connection = await aiosqlite.connect(self._file, isolation_level=None, timeout=LOCKED, cached_statements=512)
        self._all.append(connection)
        for pragma in ("journal_mode = WAL", "foreign_keys = ON"):
            await connection.execute(f"PRAGMA {pragma}")
        return connection

    def read(self) -> contextlib.AbstractAsyncContextManager[Transaction]:
        self._check_open()
        return _Reading(self._readers)

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[Transaction]:
        with self._writers.enter():
            self._check_open()
            await _in_time(self._writing.acquire())
            try:
                async with self._transaction(self._check_open(), "BEGIN IMMEDIATE") as transaction:
                    yield transaction
            finally:
                self._writing.release()

    def _check_open(self) -> aiosqlite.Connection:
        if self._writer is None:
            raise DatabaseUnavailable("the database is closed")
        return self._writer

    @contextlib.asynccontextmanager
    async def _transaction(self, connection: aiosqlite.Connection, begin: str) -> AsyncIterator[Transaction]:
        transaction = _SqliteTransaction(connection, begin)
        try:
            yield transaction
            await transaction.commit()
        except BaseException:
            # Of a request that was cancelled something may still be on its way to the connection's thread, BEGIN included:
            # so what is asked there, behind it, is whether there is something to roll back, and not here and now.
            await asyncio.shield(_roll_back(connection))
            raise

    async def close(self) -> None:
        connections, self._all, self._writer = self._all, [], None
        for connection in connections:
            with contextlib.suppress(sqlite3.Error, ValueError):
                await connection.close()

    async def lock_schema(self, transaction: Transaction) -> None:
        """BEGIN IMMEDIATE has locked it already."""

    @staticmethod
    def spell(text: str) -> str:
        """A migration in SQLite's spelling."""
        return text.replace("{id}", "INTEGER PRIMARY KEY AUTOINCREMENT").replace("{bytes}", "BLOB")


class _Reading:
    """A transaction of one of the ``readers``. A class of its own: every GET has one."""

    def __init__(self, readers: asyncio.Queue[aiosqlite.Connection]) -> None:
        self._readers = readers

    async def __aenter__(self) -> Transaction:
        # A deadline is worth its price only where somebody has to wait.
        free = not self._readers.empty()
        self._connection = self._readers.get_nowait() if free else await _in_time(self._readers.get())
        self._transaction = _SqliteTransaction(self._connection, "BEGIN")
        return self._transaction

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                await self._transaction.commit()
        except BaseException:
            await asyncio.shield(_roll_back(self._connection))
            raise
        else:
            if kind is not None:
                await asyncio.shield(_roll_back(self._connection))
        finally:
            self._readers.put_nowait(self._connection)


class _SqliteTransaction:
    """Begins with its first statement, in the same turn of the connection's thread: each turn costs more than most statements."""

    def __init__(self, connection: aiosqlite.Connection, begin: str) -> None:
        self._connection = connection
        self._begin = begin

    async def rows(self, sql: str, *values: object) -> Sequence[Row]:
        return await self._turn(_fetched, sql, values)

    async def row(self, sql: str, *values: object) -> Row | None:
        found = await self.rows(sql, *values)
        return found[0] if found else None

    async def execute(self, sql: str, *values: object) -> int:
        return await self._turn(_counted, sql, values)

    async def commit(self) -> None:
        """If there was a statement at all."""
        if not self._begin:
            await self._turn(_counted, "COMMIT", ())

    async def _turn(self, work: "Callable[[sqlite3.Connection, str, str, Sequence[object]], T]", sql: str, values: Any) -> T:
        begin, self._begin = self._begin, ""
        connection = self._connection
        with _sqlite_errors():
            # What aiosqlite's own methods do, each in a turn of its own.
            done: T = await connection._execute(  # type: ignore[no-untyped-call]
                lambda: work(connection._conn, begin, sql, values)
            )
        return done


def _fetched(connection: sqlite3.Connection, begin: str, sql: str, values: Sequence[Any]) -> Sequence[Row]:
    if begin:
        connection.execute(begin)
    cursor = connection.execute(sql, values)
    names = [column[0] for column in cursor.description or ()]
    found = [dict(zip(names, row, strict=True)) for row in cursor]
    cursor.close()
    return found


def _counted(connection: sqlite3.Connection, begin: str, sql: str, values: Sequence[Any]) -> int:
    if begin:
        connection.execute(begin)
    cursor = connection.execute(sql, values)
    count = cursor.rowcount
    cursor.close()
    return count


async def _roll_back(connection: aiosqlite.Connection) -> None:
    with contextlib.suppress(sqlite3.Error, ValueError):
        await connection.rollback()  # does nothing where nothing was begun


@contextlib.contextmanager
def _sqlite_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise Conflict(str(error)) from error
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) in _OUR_MISTAKES:
            raise
        raise DatabaseUnavailable(str(error)) from error
    except ValueError as error:
        if str(error) in _CLOSED:
            raise DatabaseUnavailable("the database is closed") from error
        raise


#: A statement that is wrong, rather than a database that is: no code at all is the driver's own complaint.
_OUR_MISTAKES = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_MISUSE,
    sqlite3.SQLITE_RANGE,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_READONLY,
}
#: What aiosqlite says of a connection that was closed meanwhile.
_CLOSED = {"Connection closed", "no active connection"}


async def _in_time(wait: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(PATIENCE):
            return await wait
    except TimeoutError:
        raise DatabaseUnavailable("the database is busy") from None


class _Writers:
    """Which tasks write: one that writes already would wait for itself, and is told so at once."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any] | None] = set()

    @contextlib.contextmanager
    def enter(self) -> Iterator[None]:
        task = asyncio.current_task()
        if task in self._tasks:
            raise NestedWrite("a write inside a write")
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)


# -- PostgreSQL -------------------------------------------------------------------------------------------------------


class PostgresDatabase:
    """A pool of connections to a PostgreSQL server (the extra ``postgres``)."""

    shared = True

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: asyncpg.Pool[Any] | None = None
        self._writers = _Writers()

    async def open(self) -> None:
        """Connect."""
        try:
            import asyncpg  # noqa: PLC0415 - an extra
        except ImportError:
            raise DatabaseUnavailable("PostgreSQL needs the package asyncpg: pip install 'mediaserver[postgres]'") from None
        logging.getLogger("asyncpg.pool").addFilter(_in_a_line)
        settings = {"application_name": "mediaserver", "lock_timeout": str(round(LOCKED * 1000))}
        try:
            self._pool = await asyncpg.create_pool(
                self._url, min_size=1, max_size=10, timeout=PATIENCE, command_timeout=30.0, server_settings=settings
            )
        except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise DatabaseUnavailable(in_words(self._url, error)) from None

    def read(self) -> contextlib.AbstractAsyncContextManager[Transaction]:
        return self._transaction(readonly=True)

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[Transaction]:
        with self._writers.enter():
            async with self._transaction(readonly=False) as transaction:
                yield transaction

    @contextlib.asynccontextmanager
    async def _transaction(self, *, readonly: bool) -> AsyncIterator[Transaction]:
        pool = self._pool
        if pool is None:
            raise DatabaseUnavailable("the database is closed")
        with _postgres_errors():
            connection = await pool.acquire(timeout=PATIENCE)
        try:
            begun = connection.transaction(readonly=readonly, isolation="repeatable_read" if readonly else "read_committed")
            with _postgres_errors():
                await begun.start()
            try:
                yield _PostgresTransaction(connection)
            except BaseException:
                with contextlib.suppress(DatabaseUnavailable), _postgres_errors():
                    await asyncio.shield(begun.rollback())
                raise
            with _postgres_errors():
                await begun.commit()
        finally:
            with contextlib.suppress(DatabaseUnavailable), _postgres_errors():
                await asyncio.shield(pool.release(connection, timeout=PATIENCE))

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(PATIENCE):
                    await pool.close()
            except TimeoutError:
                pool.terminate()

    async def lock_schema(self, transaction: Transaction) -> None:
        """Several nodes may start at once: one of them migrates, the others wait for it."""
        await transaction.execute("SELECT pg_advisory_xact_lock(1935)")

    @staticmethod
    def spell(text: str) -> str:
        """A migration in PostgreSQL's spelling."""
        return text.replace("{id}", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY").replace("{bytes}", "BYTEA")


def _in_a_line(record: logging.LogRecord) -> bool:
    """A filter for the pool's log: that the server is away is told without a traceback through the driver each time, and
    without the error's text, which may hold the URL. A bug keeps what leads to it."""
    import asyncpg  # noqa: PLC0415 - an extra

    away = (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, asyncpg.InterfaceError)
    if record.exc_info and record.exc_info[0] is not None and issubclass(record.exc_info[0], away):
        record.facts = {"kind": "PostgreSQL", "reason": record.exc_info[0].__name__}
        record.msg, record.args, record.exc_info = "database_away", (), None
    return True


class _PostgresTransaction:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def rows(self, sql: str, *values: object) -> Sequence[Row]:
        with _postgres_errors():
            return [dict(row) for row in await self._connection.fetch(_numbered(sql), *values)]

    async def row(self, sql: str, *values: object) -> Row | None:
        with _postgres_errors():
            row = await self._connection.fetchrow(_numbered(sql), *values)
        return None if row is None else dict(row)

    async def execute(self, sql: str, *values: object) -> int:
        with _postgres_errors():
            status: str = await self._connection.execute(_numbered(sql), *values)
        count = status.rpartition(" ")[2]  # "UPDATE 3"
        return int(count) if count.isdigit() else 0


@lru_cache(maxsize=1024)
def _numbered(sql: str) -> str:
    """``?`` as ``$1``, ``$2`` … None of our statements has a question mark elsewhere."""
    pieces = sql.split("?")
    return "".join(piece + (f"${number}" if number < len(pieces) else "") for number, piece in enumerate(pieces, 1))


@contextlib.contextmanager
def _postgres_errors() -> Iterator[None]:
    import asyncpg  # noqa: PLC0415 - an extra; here only where it is in use

    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        raise Conflict(str(error)) from error
    except (asyncpg.SyntaxOrAccessError, asyncpg.DataError, asyncpg.ReadOnlySQLTransactionError):
        raise  # a statement that is wrong, rather than a database that is
    except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError) as error:
        raise Deadlocked(f"{type(error).__name__}: {error}") from error
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if isinstance(error, ValueError):
            raise  # a value that is none of the column's type
        raise DatabaseUnavailable(f"{type(error).__name__}: {error}") from error
