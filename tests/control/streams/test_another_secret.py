"""The server's secret is another one than rows were encrypted under: it starts, shows what it can, and takes what is new."""

from typing import Any

import pytest

from control.auth import models
from mediaserver.errors import Refused
from mediaserver.ports import PublishRequest, Wire
from tests.control.conftest import OpenPanel
from tests.control.panel import Panel
from tests.control.streams.conftest import Stage
from tests.control.streams.test_conductor import FETCHED, TARGET, made, status

BEFORE, AFTER = {"jwt_secret": "b" * 32}, {"jwt_secret": "a" * 32}
PUSHED = {"name": "Pushed", "input_url": "rtmp://localhost/live/a_key", "destinations": [TARGET]}


async def rows(panel: Panel, sql: str) -> list[dict[str, Any]]:
    async with panel.control.db.read() as tx:
        return [dict(row) for row in await tx.rows(sql)]


async def test_streams_are_shown_and_take_a_new_input(engine: Stage, panel: OpenPanel) -> None:
    admin = await (await panel(auth=BEFORE)).log_in()
    fetched, pushed = await made(admin, "streams", **FETCHED), await made(admin, "streams", **PUSHED)
    assert (await admin.post(f"/api/streams/{fetched}/start")).status == 200
    after = await panel(auth=AFTER)
    assert (await after.nobody.get("/api/users/me", headers={"Authorization": f"Bearer {admin.token}"})).status == 401
    admin = await after.log_in()

    await after.resident.conductor.resume()
    await engine.settle()
    assert len(engine.orders.pulls) == 1
    assert await status(admin, fetched) == "stopped"
    assert [row["started"] for row in await rows(after, "SELECT started FROM streams ORDER BY id")] == [1, 0]

    listed = (await admin.get("/api/streams")).json["streams"]
    assert {stream["input_url"] for stream in listed} == {"unreadable"}
    assert (await admin.get(f"/api/streams/{fetched}")).json["input_url"] == "unreadable"
    assert (await admin.put(f"/api/streams/{fetched}", json={"name": "Renamed"})).json["name"] == "Renamed"
    answer = await admin.put(f"/api/streams/{fetched}", json={"input_type": "hls"})
    assert (answer.status, answer.error["code"]) == (409, "CONFLICT")
    assert "jwt_secret" in answer.error["details"]["reason"]
    answer = await admin.post(f"/api/streams/{fetched}/start")
    assert (answer.status, answer.fields) == (422, {"input_url"})

    new = {"input_url": "http://203.0.113.6/live.flv"}
    assert (await admin.put(f"/api/streams/{fetched}", json=new)).json["input_url"] == new["input_url"]
    assert (await admin.post(f"/api/streams/{fetched}/start")).status == 200
    assert engine.orders.pulls[-1][0].url == new["input_url"]
    assert (await admin.put(f"/api/streams/{pushed}", json={"destinations": [TARGET]})).status == 200


async def test_a_push_is_taken_with_its_key_set_anew_and_a_destination_with_its_own(panel: OpenPanel) -> None:
    admin = await (await panel(auth=BEFORE | {"publish": "keys"})).log_in()
    pushed = await made(admin, "streams", **PUSHED)
    after = await panel(auth=AFTER | {"publish": "keys"})
    admin, push = await after.log_in(), PublishRequest("s-1", Wire.RTMP, "203.0.113.7", "live", "a_key")
    with pytest.raises(Refused):
        await after.control.authorizer.may_publish(push)
    assert (await admin.put(f"/api/streams/{pushed}", json={"input_url": PUSHED["input_url"]})).status == 200
    grant = await after.control.authorizer.may_publish(push)
    assert (grant.name, grant.relays) == (f"stream_{pushed}", ())
    (destination,) = (await admin.get("/api/destinations")).json["destinations"]
    assert (await admin.put(f"/api/destinations/{destination['id']}", json={"stream_key": "new"})).status == 200
    (relay,) = (await after.control.authorizer.may_publish(push)).relays
    assert relay.url.endswith("/new")


async def test_webhooks_are_shown_and_take_a_new_url(panel: OpenPanel) -> None:
    admin = await (await panel(auth=BEFORE, server={"allow_private_targets": True})).log_in()
    number = await made(admin, "webhooks", url="http://127.0.0.1:9/")
    admin = await (await panel(auth=AFTER, server={"allow_private_targets": True})).log_in()
    assert (await admin.get(f"/api/webhooks/{number}")).json["url"] is None
    assert (await admin.get("/api/webhooks")).status == 200
    answer = await admin.put(f"/api/webhooks/{number}", json={"url": "http://127.0.0.1:10/"})
    assert (answer.status, answer.json["url"]) == (200, "http://127.0.0.1:10/")


async def test_nothing_of_who_is_disabled_goes_on_air(engine: Stage, panel: OpenPanel) -> None:
    here = await panel()
    number, user = await here.person("someone")
    admin = await here.log_in()
    fetched, other = await made(user, "streams", **FETCHED), await made(admin, "streams", **FETCHED)
    for stream_id in (fetched, other):
        assert (await admin.post(f"/api/streams/{stream_id}/start")).status == 200
    # As from a start that was on its way when its owner was disabled: the row is wanted.
    async with here.control.db.write() as tx:
        await models.update_user(tx, number, {"disabled": 1}, here.clock.now)
    engine.orders.pulls.clear()
    fresh = await panel()
    await fresh.resident.conductor.resume()
    assert [grant.name for _, grant in engine.orders.pulls] == [f"stream_{other}"]
    here.resident.conductor.stop(fetched, "over")
    async with here.control.db.write() as tx:
        await tx.execute("UPDATE streams SET started = 0")
    answer = await admin.post(f"/api/streams/{fetched}/start")
    assert (answer.status, answer.error["code"]) == (403, "FORBIDDEN")
    assert len(engine.orders.pulls) == 1
    assert await status(admin, fetched) == "stopped"
