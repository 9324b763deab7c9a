"""What is ordered over the API reaches the engine, once and as it is written down."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import pytest

from control.db import Database
from control.streams import models
from mediaserver.config import Config
from mediaserver.events import PublishEnded
from tests.control.conftest import OpenPanel
from tests.control.panel import Panel, Person
from tests.control.streams.conftest import Stage
from tests.control.test_sse import reading

FETCHED = {"name": "Fetched", "input_url": "http://203.0.113.5/live.flv", "input_type": "http"}
TARGET = {"name": "There", "platform": "twitch", "stream_key": "k"}


async def made(person: Person, path: str, **body: Any) -> int:
    answer = await person.post(f"/api/{path}", json=body)
    assert answer.status == 201, answer
    return int(answer.json["id"])


async def status(person: Person, number: int) -> str:
    return str((await person.get(f"/api/streams/{number}/status")).json["status"])


async def all_done(engine: Stage, panel: Panel) -> None:
    await engine.settle()
    async with panel.control.db.read():
        pass


@pytest.mark.parametrize("kind", ["pushed", "fetched"])
async def test_of_several_starts_at_once_one_is_the_first(engine: Stage, panel: OpenPanel, kind: str) -> None:
    here = await panel()
    admin = await here.log_in()
    for turn in range(5):
        source = FETCHED if kind == "fetched" else {"name": "Pushed", "input_url": f"rtmp://localhost/live/key{turn}"}
        number = await made(admin, "streams", **source)
        answers = await asyncio.gather(*(admin.post(f"/api/streams/{number}/start") for _ in range(4)))
        assert Counter(answer.status for answer in answers) == {200: 1, 409: 3}
    assert len(engine.orders.pulls) == (5 if kind == "fetched" else 0)


async def test_several_changes_at_once_leave_what_one_of_them_says(panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    number = await made(admin, "streams", **FETCHED)
    answers = await asyncio.gather(*(admin.put(f"/api/streams/{number}", json={"destinations": [TARGET]}) for _ in range(6)))
    assert {answer.status for answer in answers} == {200}
    assert len((await admin.get(f"/api/streams/{number}")).json["destinations"]) == 1


async def test_starts_of_streams_that_share_a_key_do_not_wait_for_each_other_for_ever(panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    shared = {"name": "Shared", "input_url": "rtmp://localhost/live/shared"}
    numbers = [await made(admin, "streams", **shared) for _ in range(4)]
    for _ in range(3):
        answers = await asyncio.gather(
            *(admin.post(f"/api/streams/{number}/start") for number in numbers),
            *(admin.post(f"/api/streams/{number}/stop") for number in numbers),
        )
        assert {answer.status for answer in answers} <= {200, 409}, answers


async def test_what_is_changed_while_it_is_fetched_holds_when_its_source_returns(engine: Stage, panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    number = await made(admin, "streams", **FETCHED, record_enabled=True, destinations=[TARGET])
    await admin.post(f"/api/streams/{number}/start")
    ((_, grant),) = engine.orders.pulls
    assert (len(grant.relays), len(grant.recordings)) == (1, 1)
    whose = await made(admin, "destinations", **TARGET)
    assert len(engine.orders.regrants[-1].relays) == 2
    await admin.put(f"/api/destinations/{whose}", json={"enabled": False})
    assert len(engine.orders.regrants[-1].relays) == 1
    await admin.put(f"/api/streams/{number}", json={"destinations": [], "record_enabled": False, "latency_mode": "low"})
    last = engine.orders.regrants[-1]
    assert (last.relays, last.recordings) == ((), ())
    assert last.pacing is not None


async def test_a_destination_of_all_concerns_only_what_is_there(engine: Stage, panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    _, user = await here.person("user")
    numbers = [await made(admin, "streams", name="x", input_url=f"rtmp://localhost/live/k{n}") for n in range(3)]
    theirs = await made(user, "streams", name="x", input_url="rtmp://localhost/live/a_key_that_is_theirs")
    engine.on_air(numbers[1], theirs)
    await made(admin, "destinations", **TARGET)
    assert [grant.name for grant in engine.orders.regrants] == [f"stream_{numbers[1]}"]


async def test_changes_at_once_end_as_the_last_one_says(engine: Stage, panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    number = await made(admin, "streams", name="x", input_url="rtmp://localhost/live/k")
    engine.on_air(number)
    target = await made(admin, "destinations", **TARGET)
    for turn in range(4):
        await asyncio.gather(
            *(admin.put(f"/api/destinations/{target}", json={"enabled": bool(n % 2)}) for n in range(turn, turn + 5))
        )
        enabled = (await admin.get(f"/api/destinations/{target}")).json["enabled"]
        assert bool(engine.orders.regrants[-1].relays) is enabled


# -- the end ----------------------------------------------------------------------------------------------------------


async def test_what_is_over_for_good_is_not_wanted_any_more(engine: Stage, panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    number = await made(admin, "streams", **FETCHED)
    await admin.post(f"/api/streams/{number}/start")
    assert await status(admin, number) == "starting"
    here.control.feed.emit(engine.over(number, "pull-1"))
    assert await status(admin, number) == "stopped"
    await all_done(engine, here)
    # Neither after a restart nor with another input is it wanted.
    assert await _started(here.control.db, number) == 0
    await admin.put(f"/api/streams/{number}", json={"input_type": "rtmp", "input_url": "rtmp://localhost/live/own"})
    assert await status(admin, number) == "stopped"


async def test_live_updates_and_answers_say_the_same_of_what_is_over(engine: Stage, panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    number = await made(admin, "streams", **FETCHED)
    await admin.post(f"/api/streams/{number}/start")
    engine.spawn = keep  # type: ignore[method-assign]  # nothing is written down yet
    async with reading(admin) as reader:
        here.control.feed.emit(engine.over(number, "pull-1"))
        assert await _started(here.control.db, number) == 1
        here.control.feed.emit(PublishEnded(f"stream_{number}", "s-1", 1.0, "all of it has been had", 1000, 60.4))
        while (told := await reader.next())[1] != "stream.status":
            pass
    assert told[2]["status"] == await status(admin, number) == "stopped"


def keep(work: Coroutine[None, None, None]) -> asyncio.Task[None]:
    """A loop that has no time for it."""
    work.close()
    return asyncio.get_running_loop().create_task(asyncio.sleep(0))


async def test_the_end_of_one_start_is_not_the_next_one_s(engine: Stage, panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    number = await made(admin, "streams", **FETCHED)
    await admin.post(f"/api/streams/{number}/start")
    async with here.control.db.read() as tx:
        row = await models.stream_by_id(tx, number)
    assert row is not None
    here.control.feed.emit(engine.over(number, "pull-1"))
    assert (await admin.post(f"/api/streams/{number}/start")).status == 200
    await all_done(engine, here)
    assert await status(admin, number) == "starting"
    assert len(engine.orders.pulls) == 2
    async with here.control.db.write() as tx:
        await models.end_start(tx, number, row["starts"], None)
    assert await _started(here.control.db, number) == 1


async def test_why_one_start_ended_is_not_told_of_the_next_one(engine: Stage, panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    number = await made(admin, "streams", **FETCHED)
    await admin.post(f"/api/streams/{number}/start")
    here.control.feed.emit(engine.over(number, "pull-1"))
    assert (await admin.get(f"/api/streams/{number}")).json["reason"] == "all of it has been had"
    assert (await admin.post(f"/api/streams/{number}/start")).status == 200
    assert not (await admin.get(f"/api/streams/{number}")).json["reason"]


async def test_a_server_that_stops_fetches_it_again_when_it_starts(engine: Stage, panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    numbers = [await made(admin, "streams", **FETCHED, destinations=[TARGET]) for _ in range(3)]
    for number in numbers:
        await admin.post(f"/api/streams/{number}/start")
    engine.show(draining=True)
    for turn, number in enumerate(numbers, 1):
        here.control.feed.emit(engine.over(number, f"pull-{turn}"))
    await all_done(engine, here)
    engine.show()
    engine.orders.pulls.clear()
    await here.resident.conductor.resume()
    assert [grant.name for _, grant in engine.orders.pulls] == [f"stream_{number}" for number in numbers]
    assert {len(grant.relays) for _, grant in engine.orders.pulls} == {1}


async def test_what_is_stopped_while_it_is_looked_for_an_encoder_does_not_begin(engine: Stage, panel: OpenPanel) -> None:
    engine.config = Config.model_validate({"transcode": {"policy": "fail", "encoder": "h264_nvenc"}})
    engine.working = ("h264_nvenc",)
    here = await panel()
    admin = await here.log_in()
    for order in ("stop", "delete"):
        number = await made(admin, "streams", **FETCHED, qualities=["720p"])
        engine.asked_encoders.clear()
        engine.may_tell.clear()
        starting = asyncio.create_task(admin.post(f"/api/streams/{number}/start"))
        await engine.asked_encoders.wait()
        path = f"/api/streams/{number}"
        assert (await (admin.delete(path) if order == "delete" else admin.post(f"{path}/stop"))).status == 200
        engine.may_tell.set()
        await starting
    assert engine.orders.pulls == []


async def test_a_start_that_fails_is_written_down_as_one(engine: Stage, panel: OpenPanel) -> None:
    engine.config = Config.model_validate({"transcode": {"policy": "fail", "encoder": "h264_nvenc"}})
    here = await panel()
    admin = await here.log_in()
    number = await made(admin, "streams", **FETCHED, qualities=["720p"])
    answer = await admin.post(f"/api/streams/{number}/start")
    assert answer.error["code"] == "ENCODING_ERROR"
    assert await status(admin, number) == "stopped"
    async with here.control.db.read() as tx:
        rows = await tx.rows("SELECT action FROM audit_log WHERE object_type = 'stream' ORDER BY id")
    assert [row["action"] for row in rows] == ["stream.created", "stream.started", "stream.not_started"]


async def _started(db: Database, number: int) -> int:
    async with db.read() as tx:
        row = await models.stream_by_id(tx, number)
    assert row is not None
    return int(row["started"])
