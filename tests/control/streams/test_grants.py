"""Who may push, as rows say it: remembered for a moment, forgotten with every change, and held where it was stopped."""

import asyncio
from typing import Any

import pytest

from control.streams import grants, onair
from mediaserver.errors import Refused
from mediaserver.ports import PublishGrant, PublishRequest, Wire
from tests.control.conftest import OpenPanel
from tests.control.engine import stream
from tests.control.panel import Panel, Person
from tests.control.streams.conftest import Stage
from tests.control.streams.test_conductor import TARGET, made

KEY = "a_key_of_some_length"
STOPPED = "the stream was stopped"


async def push(here: Panel, key: str = KEY) -> PublishGrant:
    """The answer to an encoder. Raises Refused."""
    return await here.control.authorizer.may_publish(PublishRequest("s-1", Wire.RTMP, "203.0.113.7", "live", key))


async def is_held(here: Panel) -> bool:
    try:
        await push(here)
    except Refused as refusal:
        return refusal.reason.startswith(STOPPED)
    return False


async def pushed(person: Person, **fields: Any) -> int:
    return await made(person, "streams", name="Pushed", input_url=f"rtmp://localhost/live/{KEY}", **fields)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that are looked up in the database, from here on."""
    seen: list[str] = []
    look_up = grants.models.streams_by_key

    async def noted(tx: Any, key_hash: str) -> Any:
        seen.append(key_hash)
        return await look_up(tx, key_hash)

    monkeypatch.setattr(grants.models, "streams_by_key", noted)
    return seen


async def test_of_many_pushes_one_asks_the_database(panel: OpenPanel, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grants, "FRESH", 1000.0)
    here = await panel()
    number = await pushed(await here.log_in())
    assert {(await push(here)).name for _ in range(50)} == {f"stream_{number}"}
    assert {(await push(here, "of-nobody")).name for _ in range(50)} == {"of-nobody"}
    assert len(reads) == 2


async def test_what_is_remembered_is_bounded_and_soon_asked_for_again(
    panel: OpenPanel, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grants, "REMEMBERED", 3)
    here, now = await panel(), 0.0
    asked = grants.Grants(here.control.db, here.control.vault, lambda: now)
    for key in ("a", "b", "c", "d", "d", "b", "a"):
        assert await asked.by_key(key, here.clock()) is None
    assert len(reads) == 5
    now = grants.FRESH
    await asked.by_key("a", here.clock())
    assert len(reads) == 6


async def test_every_change_is_in_the_next_grant(panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    assert (await push(here)).name == KEY
    number = await pushed(admin)
    assert (await push(here)).name == f"stream_{number}"
    target = await made(admin, "destinations", **TARGET)
    assert len((await push(here)).relays) == 1
    await admin.put(f"/api/destinations/{target}", json={"enabled": False})
    assert (await push(here)).relays == ()
    await admin.put(f"/api/streams/{number}", json={"record_enabled": True, "qualities": ["720p"]})
    changed = await push(here)
    assert len(changed.recordings) == 1
    assert changed.ladder is not None
    await admin.put(f"/api/streams/{number}", json={"auto_start": False})
    with pytest.raises(Refused, match="start it first"):
        await push(here)
    await admin.post(f"/api/streams/{number}/start")
    assert (await push(here)).name == f"stream_{number}"
    await admin.delete(f"/api/streams/{number}")
    assert (await push(here)).name == KEY


async def test_who_is_disabled_may_not_push_from_then_on(panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    user_id, user = await here.person("user")
    await pushed(user)
    await push(here)
    await admin.put(f"/api/users/{user_id}", json={"enabled": False})
    with pytest.raises(Refused, match="disabled"):
        await push(here)
    await admin.put(f"/api/users/{user_id}", json={"enabled": True})
    await push(here)


async def test_what_changes_while_it_is_read_is_read_again(panel: OpenPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder that asks while a destination is taken away does not get it."""
    here = await panel()
    admin = await here.log_in()
    number = await pushed(admin, destinations=[TARGET])
    target = (await admin.get(f"/api/streams/{number}")).json["destinations"][0]["id"]
    reading, may_go_on = asyncio.Event(), asyncio.Event()
    make = grants._granted

    async def slow(*asked: Any) -> Any:
        made_of_it = await make(*asked)
        reading.set()
        await may_go_on.wait()
        return made_of_it

    monkeypatch.setattr(grants, "_granted", slow)
    asking = asyncio.create_task(push(here))
    await reading.wait()
    assert (await admin.delete(f"/api/destinations/{target}")).status == 200
    may_go_on.set()
    assert (await asking).relays == ()


# -- a stop -----------------------------------------------------------------------------------------------------------


async def test_a_stop_holds_until_nobody_has_pushed_for_a_minute(engine: Stage, panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    number = await pushed(admin)
    await push(here)
    await admin.post(f"/api/streams/{number}/stop")
    for _ in range(10):  # an encoder that tries again every half a minute, for five
        here.clock.now += grants.STOP_HOLD / 2
        assert await is_held(here)
    here.clock.now += grants.STOP_HOLD
    assert not await is_held(here)


async def test_a_start_ends_the_hold(panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    number = await pushed(admin)
    await admin.post(f"/api/streams/{number}/stop")
    assert await is_held(here)
    await admin.post(f"/api/streams/{number}/start")
    assert not await is_held(here)


async def test_refused_pushes_in_a_row_write_once_a_second(panel: OpenPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    here = await panel()
    admin = await here.log_in()
    number = await pushed(admin)
    await admin.post(f"/api/streams/{number}/stop")
    here.clock.now += 5.0
    written = []
    hold_on = grants.models.hold_on

    async def noted(*asked: Any) -> None:
        written.append(asked)
        await hold_on(*asked)

    monkeypatch.setattr(grants.models, "hold_on", noted)
    for _ in range(20):
        assert await is_held(here)
    assert len(written) == 1


async def test_a_hold_survives_a_restart(panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    number = await pushed(admin)
    await admin.post(f"/api/streams/{number}/stop")
    here.clock.now += grants.STOP_HOLD - 1
    assert await is_held(here)
    here.clock.now += grants.STOP_HOLD - 1
    # What another life of the server reads is what is written down.
    again = grants.Grants(here.control.db, here.control.vault)
    with pytest.raises(Refused, match=STOPPED):
        await again.by_key(KEY, here.clock())


async def test_the_address_that_the_server_was_asked_at_is_its_own(panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    body = {"name": "Pushed", "input_url": "rtmp://myhost:1935/live/a_key_of_some_length"}
    answer = await admin.post("/api/streams", json=body, headers={"Host": "myhost:8080"})
    assert (await push(here)).name == f"stream_{answer.json['id']}"


# -- one key, several streams -----------------------------------------------------------------------------------------


async def test_while_its_key_is_on_air_as_another_stream_none_starts(engine: Stage, panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    first, second = await pushed(admin), await pushed(admin)
    engine.on_air(first)
    here.resident.on_air.forget()
    refused = await admin.post(f"/api/streams/{second}/start")
    assert (refused.status, refused.error["code"]) == (409, "STREAM_ALREADY_RUNNING")
    assert refused.error["details"] == {"stream_id": second, "running_stream_id": first}
    assert (await admin.get(f"/api/streams/{second}/status")).json["status"] == "stopped"
    # Whose key it is not, nobody waits for.
    other = await made(admin, "streams", name="Other", input_url="rtmp://localhost/live/another_key_of_some_length")
    assert (await admin.post(f"/api/streams/{other}/start")).status == 200
    engine.show()
    here.resident.on_air.forget()
    assert (await admin.post(f"/api/streams/{second}/start")).status == 200


async def test_an_encoder_comes_back_to_the_stream_that_it_left(engine: Stage, panel: OpenPanel) -> None:
    """Of several with its key the one on air is meant, unless another was started since; and of none on air the newest."""
    here = await panel()
    admin = await here.log_in()
    first = await pushed(admin)
    assert (await push(here)).name == f"stream_{first}"
    engine.show(stream(f"stream_{first}", publishing=False))
    here.resident.on_air.forget()
    second = await pushed(admin)
    assert (await push(here)).name == f"stream_{first}"
    assert (await admin.post(f"/api/streams/{second}/start")).status == 200
    assert (await push(here)).name == f"stream_{second}"
    engine.show()
    here.resident.on_air.forget()
    third = await pushed(admin)
    assert (await push(here)).name == f"stream_{second}"
    await admin.delete(f"/api/streams/{second}")
    assert (await push(here)).name == f"stream_{third}"


async def test_a_stop_of_another_stream_keeps_no_encoder_from_the_one_that_it_left(engine: Stage, panel: OpenPanel) -> None:
    """Its own stop does."""
    here = await panel()
    admin = await here.log_in()
    first, second = await pushed(admin), await pushed(admin)
    engine.show(stream(f"stream_{first}", publishing=False))
    here.resident.on_air.forget()
    assert (await admin.post(f"/api/streams/{second}/stop")).status == 200
    assert (await push(here)).name == f"stream_{first}"
    assert (await admin.post(f"/api/streams/{first}/stop")).status == 200
    assert await is_held(here)


async def test_an_encoder_of_what_is_on_air_is_not_kept_by_a_stop_of_another_that_was_on_air(
    engine: Stage, panel: OpenPanel
) -> None:
    here = await panel()
    admin = await here.log_in()
    first, second = await pushed(admin), await pushed(admin)
    engine.on_air(first, second)
    here.resident.on_air.forget()
    assert (await admin.post(f"/api/streams/{second}/stop")).status == 200
    engine.show(stream(f"stream_{first}", publishing=False))
    here.resident.on_air.forget()
    assert (await push(here)).name == f"stream_{first}"


async def test_a_stop_looks_anew_whether_it_was_on_air(engine: Stage, panel: OpenPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was seen a moment ago does not decide who may push for the next minute."""
    monkeypatch.setattr(onair, "FRESH", 1000.0)
    here = await panel()
    admin = await here.log_in()
    first, _ = await pushed(admin), await pushed(admin)
    assert here.resident.on_air.stream(first) is None
    engine.on_air(first)
    assert (await admin.post(f"/api/streams/{first}/stop")).status == 200
    engine.show()
    here.resident.on_air.forget()
    assert await is_held(here)


async def test_a_stop_of_what_was_not_on_air_holds_no_other_stream_with_its_key(engine: Stage, panel: OpenPanel) -> None:
    """Not even for as long as somebody pushes; and for that long it is not that one's turn."""
    here = await panel()
    admin = await here.log_in()
    first, second, newest = await pushed(admin), await pushed(admin), await pushed(admin, auto_start=False)
    for each in (newest, second):
        assert (await admin.post(f"/api/streams/{each}/stop")).status == 200
    assert (await push(here)).name == f"stream_{first}"
    assert (await admin.post(f"/api/streams/{first}/stop")).status == 200
    assert await is_held(here)
    here.clock.now += grants.STOP_HOLD
    assert (await push(here)).name == f"stream_{second}"


async def test_the_encoder_of_a_stream_that_was_stopped_on_air_goes_on_air_as_no_other(engine: Stage, panel: OpenPanel) -> None:
    """For as long as it tries, however often the stream is stopped; unless another is started."""
    here = await panel()
    admin = await here.log_in()
    first, second = await pushed(admin), await pushed(admin)
    engine.on_air(first)
    here.resident.on_air.forget()
    assert (await admin.post(f"/api/streams/{first}/stop")).status == 200
    engine.show()
    here.resident.on_air.forget()
    for _ in range(3):
        here.clock.now += grants.STOP_HOLD / 2
        assert await is_held(here)
    assert (await admin.post(f"/api/streams/{first}/stop")).status == 200
    assert await is_held(here)
    assert (await admin.post(f"/api/streams/{second}/start")).status == 200
    assert (await push(here)).name == f"stream_{second}"
    assert (await admin.post(f"/api/streams/{second}/stop")).status == 200
    assert await is_held(here)
    here.clock.now += grants.STOP_HOLD
    assert (await push(here)).name == f"stream_{second}"
