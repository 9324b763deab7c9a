"""What /api/rtmp/status shows, and to whom."""

import pytest

from tests.control.conftest import OpenPanel
from tests.control.contract.conftest import ObedientEngine
from tests.control.engine import publisher, stream
from tests.control.panel import Panel


@pytest.fixture
async def here(panel: OpenPanel) -> Panel:
    return await panel()


@pytest.mark.parametrize(
    "spelled", ["the_key_of_the_owner", "the_key_of_the_owner/", "the_key_of_the_owner?a=1", "the_key_of_the_owner/?a=/b"]
)
async def test_the_key_is_the_one_that_is_pushed_with_however_the_address_was_spelled(
    here: Panel, engine: ObedientEngine, spelled: str
) -> None:
    _, owner = await here.person("owner")
    _, other = await here.person("other")
    url = f"rtmp://localhost:{here.config.rtmp.port}/live/{spelled}"
    made = await owner.post("/api/streams", json={"name": "Show", "input_url": url})
    name = f"stream_{made.json['id']}"
    engine.show(stream(name), sessions=(publisher(name),))
    keys = [(await person.get("/api/rtmp/status")).json["streams"][0]["stream_key"] for person in (owner, other)]
    assert keys == ["the_key_of_the_owner", "••••"]


async def test_who_pushes_by_the_configuration_s_leave_is_shown_by_name_and_no_pull_s_address_with_it(
    here: Panel, engine: ObedientEngine
) -> None:
    _, owner = await here.person("owner")
    pulled = {"name": "Pull", "input_type": "hls", "input_url": "https://127.0.0.1/secret/index.m3u8"}
    made = await owner.post("/api/streams", json=pulled)
    assert made.status == 201, made
    name = f"stream_{made.json['id']}"
    engine.show(stream(name), stream("demo"), sessions=(publisher(name), publisher("demo")))
    seen = (await owner.get("/api/rtmp/status")).json["streams"]
    assert [each["stream_key"] for each in seen] == [name, "demo"]
