"""What streams of rows are called where they are watched."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from typing import Any, NoReturn

import pytest

from control.db import Database, DatabaseUnavailable, Transaction
from control.streams.titles import AWAY, FRESH, Titles
from tests.control.conftest import OpenPanel
from tests.control.engine import FakeEngine, stream

KEY = "a-key-that-nobody-sees-4711"


class Gone:
    """A database that does not answer."""

    def __init__(self) -> None:
        self.asked = 0

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[Any]:
        self.asked += 1
        raise DatabaseUnavailable("gone")
        yield


class Slow:
    """A database that says nothing until it is let."""

    def __init__(self, db: Database) -> None:
        self._read = db.read
        self.asked = 0
        self.let, self.ended = asyncio.Event(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[Any]:
        self.asked += 1
        try:
            await self.let.wait()
            async with self._read() as tx:
                yield tx
        finally:
            self.ended.set()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for a while loses no names."""
    monkeypatch.setattr("control.streams.titles.PATIENCE", 60.0)


async def test_what_is_live_has_its_owners_name_for_it_and_nothing_else_of_the_row(engine: FakeEngine, panel: OpenPanel) -> None:
    opened = await panel()
    admin = await opened.log_in()
    body = {"name": "My <show>", "input_url": f"rtmp://localhost:1935/live/{KEY}"}
    number = (await admin.post("/api/streams", json=body)).json["id"]
    name = f"stream_{number}"
    text = await (await opened.client.get(f"/watch/{name}")).text()
    assert f"<title>{name} · mediaserver</title>" in text
    engine.show(stream(name), stream(f"{name}@360p", source=name), stream("demo"), stream("stream_4711"))
    for path, title in (
        (name, "My <show>"),
        (f"{name}@360p", "My <show> · 360p"),
        ("demo", "demo"),
        ("stream_4711", "stream_4711"),
    ):
        # The list is as it was for a moment.
        while (shown := (await opened.nobody.get(f"/api/live/{path}")).json["stream"]) is None:
            pass
        assert (shown["name"], shown["title"]) == (path, title)
    text = await (await opened.client.get(f"/watch/{name}")).text()
    assert "<title>My &lt;show&gt; · mediaserver</title>" in text
    assert f'data-name="{name}"' in text
    text += await (await opened.client.get("/api/live")).text()
    assert KEY not in text


async def test_another_name_is_followed_and_a_database_that_is_gone_takes_none_away(
    panel: OpenPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = await panel()
    admin = await opened.log_in()
    number = (await admin.post("/api/streams", json={"name": "One", "input_url": f"rtmp://localhost/live/{KEY}"})).json["id"]
    now, name = 0.0, f"stream_{number}"
    titles = Titles(opened.control.db, lambda: now)
    assert await titles.of([name, f"{name}@360p", "demo", "stream_99"]) == {name: "One", f"{name}@360p": "One"}
    await admin.put(f"/api/streams/{number}", json={"name": "Two"})
    assert await titles.of([name]) == {name: "One"}
    now += FRESH
    assert await titles.of([name]) == {name: "Two"}
    gone = Gone()
    monkeypatch.setattr(titles, "_db", gone)
    now += FRESH
    for _ in range(3):
        assert await titles.of([name]) == {name: "Two"}
    assert gone.asked == 1
    now += AWAY
    assert await titles.of([name, "stream_99"]) == {name: "Two"}
    assert gone.asked == 2


async def test_what_hangs_is_not_waited_for_and_asked_no_second_time(panel: OpenPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says in the end serves."""
    opened = await panel()
    admin = await opened.log_in()
    number = (await admin.post("/api/streams", json={"name": "One", "input_url": f"rtmp://localhost/live/{KEY}"})).json["id"]
    now, name, slow = 0.0, f"stream_{number}", Slow(opened.control.db)
    titles = Titles(slow, lambda: now)  # type: ignore[arg-type]
    monkeypatch.setattr("control.streams.titles.PATIENCE", 0.0)
    for _ in range(3):
        assert await titles.of([name]) == {}
        now += AWAY
    assert slow.asked == 1
    assert not slow.ended.is_set()
    slow.let.set()
    await slow.ended.wait()
    assert await titles.of([name]) == {name: "One"}
    await titles.close()


async def test_the_list_is_there_while_the_database_hangs_and_the_end_ends_what_is_read(
    engine: FakeEngine, panel: OpenPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def hang(_tx: Transaction, _stream_ids: Collection[int]) -> NoReturn:
        assert not begun.is_set()
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    opened = await panel()
    engine.show(stream("stream_1"))
    monkeypatch.setattr("control.streams.models.names", hang)
    monkeypatch.setattr("control.streams.titles.PATIENCE", 0.0)
    (shown,) = (await opened.nobody.get("/api/live")).json["streams"]
    assert shown["title"] == "stream_1"
    await begun.wait()
    assert not ended.is_set()
    monkeypatch.setattr("control.streams.titles.PATIENCE", 60.0)
    await opened.client.close()
    assert ended.is_set()
