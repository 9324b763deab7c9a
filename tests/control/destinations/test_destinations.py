"""Destinations: what a change of one makes of it."""

import pytest

from control.destinations.platforms import ADDRESSES
from mediaserver.ports import PublishRequest, Wire
from tests.control.conftest import OpenPanel
from tests.control.panel import Panel, Person

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
OWN = "rtmp://ingest.example.org/app/"


async def made(here: Panel, **fields: object) -> tuple[Person, str]:
    admin = await here.log_in()
    answer = await admin.post("/api/destinations", json={"name": "There", "stream_key": "k", **fields})
    assert answer.status == 201, answer
    return admin, f"/api/destinations/{answer.json['id']}"


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        ({"platform": "youtube", "stream_key": ""}, {"platform": "twitch"}, ADDRESSES["twitch"]),
        ({"platform": "youtube"}, {"platform": "youtube"}, ADDRESSES["youtube"]),
        ({"platform": "youtube", "stream_key": ""}, {"platform": "kick", "rtmp_url": OWN}, OWN),
        ({"platform": "youtube", "rtmp_url": OWN}, {"platform": "twitch"}, OWN),
        ({"platform": "custom", "rtmp_url": OWN}, {"platform": "kick"}, OWN),
        ({"platform": "youtube"}, {"name": "Other"}, ADDRESSES["youtube"]),
    ],
)
async def test_with_another_platform_comes_its_address(
    panel: OpenPanel, before: dict[str, str], change: dict[str, str], after: str
) -> None:
    admin, path = await made(await panel(), **before)
    changed = (await admin.put(path, json=change)).json
    assert changed["rtmp_url"] == after
    told = (await admin.get(path)).json
    assert ({**before, **change, "rtmp_url": after}.items() - {("stream_key", "")}) <= told.items()


async def test_a_platform_without_an_address_for_everybody_asks_for_one(panel: OpenPanel) -> None:
    admin, path = await made(await panel(), platform="youtube")
    answer = await admin.put(path, json={"platform": "kick"})
    assert (answer.status, answer.fields) == (422, {"rtmp_url"})
    told = (await admin.get(path)).json
    assert (told["platform"], told["rtmp_url"]) == ("youtube", ADDRESSES["youtube"])


# -- the key that is kept ---------------------------------------------------------------------------------------------

SECRET = "canary-of-a-key"
AT_HOME = "rtmp://ingest.example.org/app/"


async def aimed_at(here: Panel) -> list[str]:
    """Where a push goes on to, with the key."""
    grant = await here.control.authorizer.may_publish(PublishRequest("s-1", Wire.RTMP, "203.0.113.7", "live", "pushed-here"))
    return [relay.url for relay in grant.relays]


async def with_a_key(here: Panel, **fields: object) -> tuple[Person, str]:
    admin, path = await made(here, stream_key=SECRET, **fields)
    await admin.post("/api/streams", json={"name": "Show", "input_url": "rtmp://localhost/live/pushed-here"})
    return admin, path


@pytest.mark.parametrize(
    ("before", "change"),
    [
        ({"rtmp_url": AT_HOME}, {"rtmp_url": "rtmp://elsewhere.example.org/app/"}),
        ({"rtmp_url": AT_HOME}, {"rtmp_url": "rtmp://ingest.example.org:1936/app/", "enabled": True}),
        ({"rtmp_url": "rtmps://ingest.example.org/app/"}, {"rtmp_url": "rtmp://ingest.example.org:443/app/"}),
        ({"rtmp_url": AT_HOME}, {"rtmp_url": "rtmp://ingest.example.org.elsewhere.example/app/"}),
        ({"platform": "youtube"}, {"platform": "twitch"}),
        ({"platform": "youtube"}, {"platform": "custom", "rtmp_url": AT_HOME, "name": "Other"}),
    ],
)
@one_database
async def test_the_key_that_is_kept_goes_to_no_other_server(
    panel: OpenPanel, before: dict[str, str], change: dict[str, object]
) -> None:
    here = await panel()
    admin, path = await with_a_key(here, **before)
    was, aim = (await admin.get(path)).json, await aimed_at(here)
    assert aim[0].endswith(f"/{SECRET}")
    answer = await admin.put(path, json=change)
    assert (answer.status, answer.fields) == (422, {"stream_key"})
    assert ((await admin.get(path)).json, await aimed_at(here)) == (was, aim)
    # With a key of its own it goes, or with none.
    for key in ("another", ""):
        assert (await admin.put(path, json={**change, "stream_key": key})).status == 200
        (aim_now,) = await aimed_at(here)
        assert aim_now.endswith("/another" if key else "/")
        assert SECRET not in aim_now


@pytest.mark.parametrize(
    "change",
    [
        {"rtmp_url": "rtmp://ingest.example.org/other/app/"},
        {"rtmp_url": "rtmp://INGEST.example.org:1935/app"},
        {"platform": "kick"},
        {"name": "Other", "enabled": True},
    ],
)
@one_database
async def test_the_key_is_kept_where_it_goes_to_the_server_that_has_it(panel: OpenPanel, change: dict[str, object]) -> None:
    here = await panel()
    admin, path = await with_a_key(here, rtmp_url=AT_HOME)
    assert (await admin.put(path, json=change)).status == 200
    (aim,) = await aimed_at(here)
    assert aim.endswith(f"/{SECRET}")


async def test_no_stream_s_destination_inherits_the_key_of_the_one_that_it_replaces(panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    there = {"name": "There", "rtmp_url": AT_HOME, "stream_key": SECRET}
    body = {"name": "Show", "input_url": "rtmp://localhost/live/pushed-here", "destinations": [there]}
    number = (await admin.post("/api/streams", json=body)).json["id"]
    assert await aimed_at(here) == [AT_HOME + SECRET]
    for url in ("rtmp://elsewhere.example.org/app/", AT_HOME):
        wanted = {"destinations": [{"name": "There", "rtmp_url": url}]}
        assert (await admin.put(f"/api/streams/{number}", json=wanted)).status == 200
        assert await aimed_at(here) == [url]
