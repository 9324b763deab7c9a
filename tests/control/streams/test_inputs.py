"""A stream is made and changed only to an input of its type."""

from typing import Any

import pytest

from tests.control.conftest import OpenPanel
from tests.control.panel import Answer
from tests.control.streams.test_conductor import FETCHED, made

PUSHED = {"name": "Pushed", "input_url": "rtmp://localhost/live/a_key"}


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


def names(answer: Answer, field: str) -> bool:
    return (answer.status, answer.error["code"], answer.fields) == (422, "VALIDATION_ERROR", {field})


@pytest.mark.parametrize(
    ("input_type", "input_url"),
    [
        ("hls", "hls"),
        ("hls", "ftp://elsewhere.example/y"),
        ("http", "rtmp://localhost/live/key"),
        ("srt", "rtmp://localhost/live/key"),
        ("rtsp", "rtmp://elsewhere.example/live/key"),
        ("rtmp", "https://elsewhere.example/live/key"),
        ("rtmp", "rtmp:///live/key"),
        ("file", "rtmp://localhost/live/key"),
        ("http", "http://elsewhere.example/\u200b"),
    ],
)
async def test_an_address_that_nothing_of_the_type_can_be_at_makes_no_stream(
    panel: OpenPanel, input_type: str, input_url: str
) -> None:
    admin = await (await panel()).log_in()
    wrong: dict[str, Any] = {"input_type": input_type, "input_url": input_url}
    assert names(await admin.post("/api/streams", json={"name": "Show", **wrong}), "input_url")
    assert (await admin.get("/api/streams")).json["total"] == 0
    path = f"/api/streams/{await made(admin, 'streams', **FETCHED)}"
    before = (await admin.get(path)).json
    assert names(await admin.put(path, json=wrong), "input_url")
    assert (await admin.get(path)).json == before


async def test_whichever_of_the_two_is_changed_it_must_fit_the_other(panel: OpenPanel) -> None:
    admin = await (await panel()).log_in()
    pushed = f"/api/streams/{await made(admin, 'streams', **PUSHED)}"
    fetched = f"/api/streams/{await made(admin, 'streams', **FETCHED)}"
    for path, change in (
        (pushed, {"input_type": "srt"}),
        (pushed, {"input_type": "file"}),
        (pushed, {"input_url": FETCHED["input_url"]}),
        (fetched, {"input_type": "rtmp"}),
        (fetched, {"input_url": PUSHED["input_url"]}),
    ):
        assert names(await admin.put(path, json=change), *change)
    both = {"input_type": FETCHED["input_type"], "input_url": FETCHED["input_url"]}
    assert (await admin.put(pushed, json=both)).status == 200
    assert (await admin.put(fetched, json={"input_type": "hls"})).json["input_type"] == "hls"
