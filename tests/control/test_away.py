"""What is said of a PostgreSQL server that answers and still cannot be had."""

import ssl
from pathlib import Path

import asyncpg
import pytest

from control.away import in_words
from control.db import DatabaseUnavailable, open_database
from tests.control.conftest import database_on
from tests.peers import Postgres

URL = "postgresql://u:geheim@h/x"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (asyncpg.CannotConnectNowError("geheim"), "PostgreSQL at h:5432 takes nobody now, it is starting or stopping: try again"),
        (asyncpg.TooManyConnectionsError("geheim"), "PostgreSQL at h:5432 has no connection left: raise its limit"),
        (asyncpg.InsufficientPrivilegeError("geheim"), "PostgreSQL at h:5432 does not let that user into that database: GRANT"),
        (
            asyncpg.InvalidPasswordError("geheim"),
            "PostgreSQL at h:5432 does not let that user in: correct the user",
        ),
        (
            ssl.SSLCertVerificationError(1, "geheim"),
            "its certificate is not trusted, or not for that name: correct the host",
        ),
        (ssl.SSLError(1, "geheim"), "TLS with it fails: correct sslmode"),
        (
            ConnectionError("geheim"),
            "what listens there takes no TLS, or is no PostgreSQL: switch TLS on there",
        ),
        (ConnectionResetError("geheim"), "what listens there hangs up: look into its log, or correct"),
        (asyncpg.ConnectionDoesNotExistError("geheim"), "what listens there hangs up: look into its log, or correct"),
        (asyncpg.exceptions.ClientConfigurationError("geheim"), "an option is wrong, or names a file that is not there: correct"),
        (FileNotFoundError("geheim"), "there is no such socket, or no such certificate: start it, or correct database.url"),
        (IsADirectoryError("geheim"), "cannot be reached at h:5432: IsADirectoryError: correct database.url"),
        (OSError("Multiple exceptions: geheim"), "cannot be reached at h:5432: nobody answers there: start it, or correct"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_refusal_has_words_of_its_own(error: Exception, told: str) -> None:
    words = in_words(URL, error)
    assert told in words
    assert "geheim" not in words


async def test_a_server_says_why_it_takes_nobody(postgres: Postgres, tmp_path: Path) -> None:
    """What PostgreSQL and the driver make of it, and not only what they are said to."""

    async def refused(url: str, told: str) -> None:
        with pytest.raises(DatabaseUnavailable, match=told):
            await open_database(url, tmp_path)

    await refused(f"{postgres.url()}?sslmode=require", "takes no TLS, or is no PostgreSQL: switch TLS on there")
    await refused(f"{postgres.url()}?sslmode=odd", "an option is wrong, or names a file that is not there: correct")
    await refused(
        f"{postgres.url()}?sslmode=verify-full&sslrootcert=/nowhere", r"no such certificate|names a file that is not there"
    )
    async with database_on(postgres) as url:
        name = url.rpartition("/")[2]
        guest = url.replace("test@", f"{name}@")
        admin = await asyncpg.connect(postgres.url())
        try:
            await admin.execute(f"CREATE ROLE {name} LOGIN; REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
            await refused(guest, "does not let that user into that database: GRANT CONNECT there")
            await admin.execute(f"GRANT CONNECT ON DATABASE {name} TO {name}; ALTER DATABASE {name} CONNECTION LIMIT 0")
            await refused(guest, "has no connection left: raise its limit")
        finally:
            await admin.execute(f"REVOKE CONNECT ON DATABASE {name} FROM {name}; DROP ROLE IF EXISTS {name}")
            await admin.close()
