"""Where a destination leads: who is shown it, how it is kept, and what is said of one that has just changed."""

from dataclasses import replace
from typing import Any

import pytest

from control.permissions import Role
from mediaserver.ports import PublishGrant, PublishRequest, Wire
from mediaserver.snapshot import RelayLevel, RelaySnapshot, RelayState
from tests.control.conftest import OpenPanel
from tests.control.panel import Panel
from tests.control.streams.conftest import Stage

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
CANARY = "canary-of-a-key"
PASTED = f"rtmp://ingest.example.org/app/{CANARY}?auth={CANARY}"
PUSHED = {"name": "Show", "input_url": "rtmp://localhost/live/pushed-here"}
BEFORE, AFTER = {"jwt_secret": "b" * 32}, {"jwt_secret": "a" * 32}


class Relaying(Stage):
    """Whatever a grant names is relayed at once, and nothing else."""

    def regrant(self, grant: PublishGrant) -> None:
        super().regrant(grant)
        assert self.now is not None
        state, level = RelayState.LIVE, RelayLevel.CONNECTED
        relays = [RelaySnapshot(each.id, grant.name, "", "there", state, level, "", 1.0, 0, 0, 0, 0, 0) for each in grant.relays]
        self.now = replace(self.now, relays=tuple(relays))


@pytest.fixture
async def engine() -> Relaying:
    return Relaying()


async def kept(here: Panel) -> str:
    async with here.control.db.read() as tx:
        (row,) = await tx.rows("SELECT rtmp_url FROM destinations")
        return str(row["rtmp_url"])


async def write_as_before(here: Panel) -> None:
    """As it was kept before addresses were encrypted."""
    async with here.control.db.write() as tx:
        await tx.execute("UPDATE destinations SET rtmp_url = ?", PASTED)


async def aimed_at(here: Panel) -> list[str]:
    """Where a push goes on to."""
    grant = await here.control.authorizer.may_publish(PublishRequest("s-1", Wire.RTMP, "203.0.113.7", "live", "pushed-here"))
    return [relay.url for relay in grant.relays]


@pytest.mark.parametrize("of", ["the stream", "all streams"])
async def test_a_key_in_an_address_is_its_owner_s_to_see_and_lies_nowhere_in_clear(panel: OpenPanel, of: str) -> None:
    here = await panel()
    _, owner = await here.person("owner")
    _, moderator = await here.person("moderator", Role.MODERATOR)
    wanted: dict[str, Any] = {"name": "There", "rtmp_url": PASTED}
    own = {"destinations": [wanted]} if of == "the stream" else {}
    number = (await owner.post("/api/streams", json=PUSHED | own)).json["id"]
    if not own:
        assert (await owner.post("/api/destinations", json=wanted)).json["rtmp_url"] == PASTED
    assert CANARY not in await kept(here)
    assert await aimed_at(here) == [PASTED]
    (mine,) = (await owner.get(f"/api/streams/{number}")).json["destinations"]
    (listed,) = (await owner.get("/api/destinations")).json["destinations"]
    assert (mine["rtmp_url"], listed["rtmp_url"]) == (PASTED, PASTED)
    (other,) = (await moderator.get(f"/api/streams/{number}")).json["destinations"]
    assert other["rtmp_url"] == "rtmp://ingest.example.org/app/…"


async def test_what_a_platform_tells_everybody_is_shown_to_everybody(panel: OpenPanel) -> None:
    here = await panel()
    _, owner = await here.person("owner")
    _, moderator = await here.person("moderator", Role.MODERATOR)
    there = {"name": "There", "platform": "twitch", "stream_key": "k"}
    number = (await owner.post("/api/streams", json=PUSHED | {"destinations": [there]})).json["id"]
    (told,) = (await moderator.get(f"/api/streams/{number}")).json["destinations"]
    assert told["rtmp_url"] == "rtmp://live.twitch.tv/app/"


async def test_an_address_that_was_kept_in_clear_goes_on_and_is_encrypted_with_the_next_change(panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    number = (await admin.post("/api/streams", json=PUSHED)).json["id"]
    path = f"/api/destinations/{(await admin.post('/api/destinations', json={'name': 'There', 'rtmp_url': PASTED})).json['id']}"
    await write_as_before(here)
    assert await aimed_at(here) == [PASTED]
    assert (await admin.get(path)).json["rtmp_url"] == PASTED
    assert (await admin.get(f"/api/streams/{number}")).json["destinations"][0]["rtmp_url"] == PASTED
    assert (await admin.put(path, json={"name": "Other"})).json["rtmp_url"] == PASTED
    assert CANARY not in await kept(here)
    # With a key beside it, and without one again.
    assert (await admin.put(path, json={"stream_key": "k", "rtmp_url": "rtmp://ingest.example.org/app"})).status == 200
    assert await kept(here) == "rtmp://ingest.example.org/app"
    assert (await admin.put(path, json={"stream_key": "", "rtmp_url": PASTED})).json["rtmp_url"] == PASTED
    assert CANARY not in await kept(here)
    assert await aimed_at(here) == [PASTED]


@one_database
async def test_an_address_under_another_secret_is_unreadable_and_is_set_anew(panel: OpenPanel) -> None:
    admin = await (await panel(auth=BEFORE)).log_in()
    path = f"/api/destinations/{(await admin.post('/api/destinations', json={'name': 'There', 'rtmp_url': PASTED})).json['id']}"
    here = await panel(auth=AFTER)
    admin = await here.log_in()
    assert (await admin.get(path)).json["rtmp_url"] == "unreadable"
    assert (await admin.put(path, json={"name": "Other"})).json["rtmp_url"] == "unreadable"
    assert (await admin.put(path, json={"rtmp_url": PASTED})).fields == {"stream_key"}
    assert (await admin.put(path, json={"rtmp_url": PASTED, "stream_key": ""})).json["rtmp_url"] == PASTED
    await admin.post("/api/streams", json=PUSHED | {"input_url": "rtmp://localhost/live/pushed-here"})
    assert await aimed_at(here) == [PASTED]


@one_database
async def test_the_answer_to_a_change_says_what_is_so_from_then_on(engine: Relaying, panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    number = (await admin.post("/api/streams", json=PUSHED)).json["id"]
    engine.on_air(number)
    made = (await admin.post("/api/destinations", json={"name": "There", "rtmp_url": PASTED})).json
    assert made["status"] == "active"
    path = f"/api/destinations/{made['id']}"
    for enabled, status in ((False, "inactive"), (True, "active")):
        assert (await admin.put(path, json={"enabled": enabled})).json["status"] == status
        assert (await admin.get(path)).json["status"] == status


@one_database
async def test_there_is_no_port_0(panel: OpenPanel) -> None:
    admin = await (await panel()).log_in()
    for body, field in (
        ({"name": "There", "rtmp_url": "rtmp://h.example:0/a"}, "rtmp_url"),
        ({"name": "Show", "input_url": "http://h.example:0/a", "input_type": "http"}, "input_url"),
    ):
        answer = await admin.post("/api/destinations" if field == "rtmp_url" else "/api/streams", json=body)
        assert answer.status == 422
        assert answer.error["details"]["fields"] == {field: "the port in an address is a number from 1 to 65535"}
