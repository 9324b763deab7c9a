"""Which keys a stream may have: none whose pushes are the configuration's to judge."""

import pytest

from tests.control.conftest import OpenPanel
from tests.control.panel import Person

CONFIGURED = "a_secret_of_the_configuration"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


async def made_with(person: Person, key: str) -> tuple[int, set[str]]:
    """The status, and the faulty fields."""
    answer = await person.post("/api/streams", json={"name": "Show", "input_url": f"rtmp://localhost/live/{key}"})
    return answer.status, set() if answer.status == 201 else answer.fields


async def test_a_key_of_the_configuration_is_nobody_s_stream_s(panel: OpenPanel) -> None:
    here = await panel(auth={"publish": "keys", "stream_keys": {"show": CONFIGURED}})
    _, user = await here.person("someone")
    admin = await here.log_in()
    for person in (user, admin):
        assert await made_with(person, CONFIGURED) == (409, {"input_url"})
    assert await made_with(user, "my_stream") == (201, set())
    (stream,) = (await user.get("/api/streams")).json["streams"]
    moved = await user.put(f"/api/streams/{stream['id']}", json={"input_url": f"rtmp://localhost/live/{CONFIGURED}"})
    assert (moved.status, moved.fields) == (409, {"input_url"})
