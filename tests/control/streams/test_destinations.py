"""A stream's own destinations are as many as were sent last, alike or not."""

from collections import Counter
from itertools import pairwise

import pytest

from tests.control.conftest import OpenPanel
from tests.control.streams.conftest import Stage
from tests.control.streams.test_conductor import FETCHED, TARGET, made

TWIN = {"name": "There", "rtmp_url": "rtmp://target.example/live/", "stream_key": "the_same"}
OTHER = TWIN | {"stream_key": "another"}


@pytest.mark.parametrize(
    "turns",
    [
        [[TWIN, TWIN], [TWIN, TWIN], [TWIN], []],
        [[TWIN, TWIN], []],
        [[TWIN], [TWIN, TWIN, TWIN], [OTHER, TWIN], [OTHER]],
    ],
)
async def test_of_destinations_that_are_alike_there_are_as_many_as_were_sent(
    engine: Stage, panel: OpenPanel, turns: list[list[dict[str, str]]]
) -> None:
    here = await panel()
    admin = await here.log_in()
    number = await made(admin, "streams", **FETCHED, destinations=turns[0])
    path = f"/api/streams/{number}"
    engine.on_air(number)
    before = {each["id"] for each in (await admin.get(path)).json["destinations"]}
    assert len(before) == len(turns[0])
    for earlier, wanted in pairwise(turns):
        present = (await admin.put(path, json={"destinations": wanted})).json["destinations"]
        assert (await admin.get(path)).json["destinations"] == present
        relays = engine.orders.regrants[-1].relays
        keys = [Counter(each["stream_key"] for each in sent) for sent in (earlier, wanted)]
        assert Counter(relay.url.rpartition("/")[2] for relay in relays) == keys[1]
        now = {each["id"] for each in present}
        assert len(now) == len(present) == len(wanted)
        # What was there already goes on: nothing is made anew that is alike.
        assert len(now & before) == (keys[0] & keys[1]).total()
        before = now


async def test_another_s_twin_of_all_streams_stays(panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    kept = await made(admin, "destinations", **TARGET)
    number = await made(admin, "streams", **FETCHED, destinations=[TARGET, TARGET])
    answer = await admin.put(f"/api/streams/{number}", json={"destinations": []})
    assert [each["id"] for each in answer.json["destinations"]] == [kept]
