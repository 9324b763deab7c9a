"""A stream is made and changed only to an input of its type."""

from typing import Any

import pytest

from tests.control.conftest import OpenPanel
from tests.control.engine import FakeEngine
from tests.control.panel import Answer
from tests.control.streams.test_conductor import FETCHED, TARGET, made

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


PRIVATE = ("127.0.0.1", "127.1", "2130706433", "[::1]", "[::ffff:10.0.0.1]", "192.168.1.20", "169.254.169.254")


@pytest.mark.parametrize("host", PRIVATE)
async def test_a_private_address_that_is_written_out_is_refused_at_once(panel: OpenPanel, engine: FakeEngine, host: str) -> None:
    """For all that is fetched and everywhere that streams go, made or changed; what is pushed here is not meant."""
    here = await panel()
    admin = await here.log_in()
    stream, target = await made(admin, "streams", **FETCHED), await made(admin, "destinations", **TARGET)
    engine.allow_private = False
    there = {**TARGET, "rtmp_url": f"rtmp://{host}/app/"}
    camera = {"input_type": "rtsp", "input_url": f"rtsp://u:p@{host}:554/1"}
    for answer, field in (
        (await admin.post("/api/streams", json={"name": "Camera", **camera}), "input_url"),
        (await admin.put(f"/api/streams/{stream}", json=camera), "input_url"),
        (await admin.post("/api/streams", json={**PUSHED, "destinations": [TARGET, there]}), "destinations.1.rtmp_url"),
        (await admin.put(f"/api/streams/{stream}", json={"destinations": [there]}), "destinations.0.rtmp_url"),
        (await admin.post("/api/destinations", json=there), "rtmp_url"),
        (await admin.put(f"/api/destinations/{target}", json={"rtmp_url": there["rtmp_url"], "stream_key": ""}), "rtmp_url"),
    ):
        assert names(answer, field), answer
        assert "is not a public address (server.allow_private_targets)" in answer.error["details"]["fields"][field]
    own = {"name": "Pushed", "input_url": f"rtmp://127.0.0.1:{here.config.rtmp.port}/live/another_key"}
    assert (await admin.post("/api/streams", json=own)).status == 201
    engine.allow_private = True
    assert (await admin.post("/api/streams", json={"name": "Camera", **camera})).status == 201
    assert (await admin.post("/api/destinations", json=there)).status == 201
