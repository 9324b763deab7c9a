"""What the server cannot write when it starts, in words: which folder or file it is, which setting names it, and what to do."""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from control.db import DatabaseUnavailable
from mediaserver.errors import CannotServe

_FULL, _FORBIDDEN = {errno.ENOSPC, errno.EDQUOT}, {errno.EACCES, errno.EPERM, errno.EROFS}
#: Of SQLite's codes (the lower byte: https://sqlite.org/rescode.html) those that tell of the folder, and not of what is in it.
_FOLDER = {sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN}
_ROOM, _LEAVE = "make room there, or ", "let this user read and write there, or "


def writing_database(url: str, data_dir: Path) -> contextlib.AbstractContextManager[None]:
    """``writing`` where the database at ``url`` is a file; nothing where it is a server's."""
    scheme, _, rest = url.partition("://")
    if url and scheme != "sqlite":
        return contextlib.nullcontext()
    if name := rest.removeprefix("/"):
        file = data_dir / name
        return writing("database.url", file.parent, file)
    return writing("server.data_dir", data_dir)


@contextlib.contextmanager
def writing(key: str, folder: Path, file: Path | None = None) -> Iterator[None]:
    """What fails in here for want of room or of leave to write in ``folder``, or to ``file`` in it, which ``key`` names, is
    CannotServe with both."""
    try:
        yield
    except (OSError, sqlite3.Error, DatabaseUnavailable) as error:
        # Of the database's own complaints the cause is what tells.
        cause = error.__cause__ if isinstance(error, DatabaseUnavailable) else error
        match cause:
            case OSError():
                remedy = _ROOM if cause.errno in _FULL else _LEAVE if cause.errno in _FORBIDDEN else ""
                told = cause.strerror or str(cause)
            case sqlite3.Error() if (code := _code(cause)) in _FOLDER:
                remedy, told = _ROOM if code == sqlite3.SQLITE_FULL else _LEAVE, str(cause)
            case _:
                raise
        place = folder
        if file is not None and file.is_dir():
            place, told, remedy = file, "that is a folder, and no file", ""
        elif file is not None and remedy is _LEAVE and file.exists() and not os.access(file, os.R_OK | os.W_OK):
            place = file
        raise CannotServe(f"{place}: {told}: {remedy}choose another {key}") from error


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF
