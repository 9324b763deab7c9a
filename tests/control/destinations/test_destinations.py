"""Destinations: what a change of one makes of it."""

import pytest

from control.destinations.platforms import ADDRESSES
from tests.control.conftest import OpenPanel
from tests.control.panel import Panel, Person

OWN = "rtmp://ingest.example.org/app/"


async def made(here: Panel, **fields: object) -> tuple[Person, str]:
    admin = await here.log_in()
    answer = await admin.post("/api/destinations", json={"name": "There", "stream_key": "k", **fields})
    assert answer.status == 201, answer
    return admin, f"/api/destinations/{answer.json['id']}"


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        ({"platform": "youtube"}, {"platform": "twitch"}, ADDRESSES["twitch"]),
        ({"platform": "youtube"}, {"platform": "youtube"}, ADDRESSES["youtube"]),
        ({"platform": "youtube"}, {"platform": "kick", "rtmp_url": OWN}, OWN),
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
    assert {**before, **change, "rtmp_url": after}.items() <= told.items()


async def test_a_platform_without_an_address_for_everybody_asks_for_one(panel: OpenPanel) -> None:
    admin, path = await made(await panel(), platform="youtube")
    answer = await admin.put(path, json={"platform": "kick"})
    assert (answer.status, answer.fields) == (422, {"rtmp_url"})
    told = (await admin.get(path)).json
    assert (told["platform"], told["rtmp_url"]) == ("youtube", ADDRESSES["youtube"])
