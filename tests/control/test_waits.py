"""What waits for the database is told of once, and once when it goes on."""

import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import pytest

from control.analytics.attendance import Attendance
from control.analytics.countries import NoAtlas
from control.db import DatabaseUnavailable, open_database
from control.vault import Vault
from control.waits import Waits


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> logging.Logger:
    caplog.set_level(logging.INFO)
    return logging.getLogger("control.test")


def test_each_is_one_line(log: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    waits = Waits(log, "it_waits", "it_goes_on")
    waits.end()
    for _ in range(2):
        for number in range(5):
            waits.begin("it is away", number=number)
        waits.end()
        waits.end()
    told = [(record.levelname, record.getMessage(), vars(record)["facts"]) for record in caplog.records]
    waited = ("WARNING", "it_waits", {"number": 0, "reason": "it is away"})
    assert told == [waited, ("INFO", "it_goes_on", {"reason": "the database answers again"})] * 2


@contextlib.asynccontextmanager
async def attendance(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Attendance, list[bool]]]:
    """With whether its database is away."""
    database = await open_database(url, folder)
    away, write = [True], database.write

    def refuse() -> NoReturn:
        raise DatabaseUnavailable("it is away")

    monkeypatch.setattr(database, "write", lambda: refuse() if away[0] else write())
    yield Attendance(database, Vault(b"x" * 32), NoAtlas(), lambda: 1e9), away
    await database.close()


async def test_viewers_that_wait_are_no_line_every_two_seconds(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    async with attendance(sqlite_url, tmp_path, monkeypatch) as (viewers, away):
        assert [await viewers.flush() for _ in range(5)] == [True] * 5
        away[0] = False
        await viewers.flush()
    lines = [record.getMessage() for record in caplog.records if record.name == "control.analytics.attendance"]
    assert lines == ["viewer_sessions_wait", "viewer_sessions_go_on"]
