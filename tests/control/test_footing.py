"""What the server cannot write when it starts is told with the folder, the setting that names it, and what to do."""

import errno
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from control import footing, plane
from control.db import Database, DatabaseUnavailable
from control.plane import open_control
from mediaserver.config import Config
from mediaserver.errors import CannotServe

SECRET = "s" * 32


def full() -> sqlite3.Error:
    """What SQLite itself says where there is no room."""
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(sqlite3.Error) as caught:
        connection.execute("CREATE TABLE t (a)")
    connection.close()
    return caught.value


def read_only() -> sqlite3.Error:
    """What it says of a file that it may only read."""
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA query_only = 1")
    with pytest.raises(sqlite3.Error) as caught:
        connection.execute("CREATE TABLE t (a)")
    connection.close()
    return caught.value


async def refusal(folder: Path, url: str = "", secret: str = SECRET) -> str:
    config = Config.model_validate(
        {"server": {"data_dir": str(folder)}, "auth": {"jwt_secret": secret}, "database": {"url": url}}
    )
    with pytest.raises(CannotServe) as caught:
        async with open_control(config):
            pass
    return str(caught.value)


@pytest.mark.parametrize("secret", ["", SECRET], ids=["secret", "database"])
async def test_a_folder_in_which_nothing_can_be_made_is_named(secret: str) -> None:
    told = await refusal(Path("/proc"), secret=secret)
    assert told.startswith("/proc: ")
    assert told.endswith("choose another server.data_dir")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device: make room there, or "),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system: let this user read and write there, or "),
    ],
)
async def test_a_full_or_read_only_disk_is_told_where_the_secret_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, told: str
) -> None:
    def fail(configured: str, data_dir: Path) -> bytes:
        raise error

    monkeypatch.setattr(plane, "server_secret", fail)
    assert await refusal(tmp_path) == f"{tmp_path}: {told}choose another server.data_dir"


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize(("error", "remedy"), [(full, "make room there"), (read_only, "let this user read and write there")])
async def test_the_database_s_own_complaint_is_told_likewise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[[], sqlite3.Error], remedy: str, wrapped: bool
) -> None:
    complaint = error()

    async def fail(url: str, data_dir: Path) -> Database:
        if wrapped:
            raise DatabaseUnavailable("it does not work") from complaint
        raise complaint

    monkeypatch.setattr(plane, "open_database", fail)
    assert await refusal(tmp_path) == f"{tmp_path}: {complaint}: {remedy}, or choose another server.data_dir"
    # Where the database is somewhere else, that is what is to be changed.
    elsewhere = tmp_path / "elsewhere"
    told = await refusal(tmp_path, f"sqlite:///{elsewhere}/media.db")
    assert told == f"{elsewhere}: {complaint}: {remedy}, or choose another database.url"


async def test_a_folder_where_the_database_should_be_is_what_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    told = f"{tmp_path / 'folder'}: that is a folder, and no file: choose another database.url"
    for url in ("sqlite:///folder", f"sqlite:///{tmp_path}/folder"):
        assert await refusal(tmp_path, url) == told


async def test_a_database_that_may_not_be_written_is_what_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "media.db"
    file.touch()
    # Whoever runs the tests may do anything with any file.
    monkeypatch.setattr(footing.os, "access", lambda place, _mode: place != file)

    async def fail(url: str, data_dir: Path) -> Database:
        raise DatabaseUnavailable("it cannot be opened") from PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(plane, "open_database", fail)
    told = f"{file}: Permission denied: let this user read and write there, or choose another database.url"
    assert await refusal(tmp_path, "sqlite:///media.db") == told


@pytest.mark.parametrize("url", ["", "postgresql://h/media"])
async def test_what_is_not_about_the_folder_is_told_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    async def fail(url: str, data_dir: Path) -> Database:
        raise DatabaseUnavailable("it went away") from (ConnectionResetError(errno.ECONNRESET, "reset") if url else None)

    monkeypatch.setattr(plane, "open_database", fail)
    config = Config.model_validate({"server": {"data_dir": str(tmp_path)}, "database": {"url": url}})
    with pytest.raises(DatabaseUnavailable, match="it went away"):
        async with open_control(config):
            pass


@pytest.mark.parametrize(
    "lines", [b"1.0.0.0,1.0.0.255,AU\n1.0.1.0\n", b"1.0.0.0,1.0.0.255,AU\n\xff", b'1.0.0.0,1.0.0.255,"' + b"A" * 200_000]
)
async def test_a_line_of_the_list_of_countries_that_cannot_be_is_told_with_the_setting(tmp_path: Path, lines: bytes) -> None:
    file = tmp_path / "list.csv"
    file.write_bytes(lines)
    config = Config.model_validate({"server": {"data_dir": str(tmp_path)}, "analytics": {"country_file": str(file)}})
    with pytest.raises(ValueError, match=r"analytics\.country_file = .*: line [12] is not FIRST,LAST,CC"):
        async with open_control(config):
            pass
