"""What streams of rows are called where they are watched."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from control.db import DatabaseUnavailable
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
