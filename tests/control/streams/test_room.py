"""Nobody fills the database, nor what is started with a stream, alone."""

import asyncio

import pytest

from control.auth.models import hold_user
from tests.control.conftest import OpenPanel
from tests.control.streams.test_conductor import FETCHED, TARGET, made
from tests.control.test_held import blocked

sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_whoever_makes_more_at_the_same_moment_is_counted(panel: OpenPanel) -> None:
    here = await panel(limits={"streams_per_user": 2})
    admin = await here.log_in()
    asking = []
    async with here.control.db.write() as tx:
        await hold_user(tx, (await admin.get("/api/users/me")).json["id"])
        for number in range(1, 5):
            asking.append(asyncio.create_task(admin.post("/api/streams", json=FETCHED)))
            await blocked(here, number)
    assert sorted([(await each).status for each in asking]) == [201, 201, 409, 409]


@sqlite
async def test_nobody_has_streams_without_end(panel: OpenPanel) -> None:
    here = await panel(limits={"streams_per_user": 2})
    admin = await here.log_in()
    _, user = await here.person("someone")
    first = await made(admin, "streams", **FETCHED)
    await made(admin, "streams", **FETCHED)
    answer = await admin.post("/api/streams", json=FETCHED)
    assert (answer.status, answer.error["code"]) == (409, "CONFLICT")
    assert (await admin.get("/api/streams")).json["total"] == 2
    await made(user, "streams", **FETCHED)
    assert (await admin.delete(f"/api/streams/{first}")).status == 200
    await made(admin, "streams", **FETCHED)


@sqlite
async def test_nobody_has_destinations_without_end_wherever_they_are_made(panel: OpenPanel) -> None:
    here = await panel(limits={"destinations_per_user": 3})
    _, user = await here.person("someone")
    two = [TARGET, TARGET | {"name": "Elsewhere"}]
    number = await made(user, "streams", **FETCHED, destinations=two)
    await made(user, "destinations", **TARGET)
    more = [*two, TARGET | {"name": "A third"}]
    admin = await here.log_in()
    for answer in (
        await user.post("/api/destinations", json=TARGET),
        await user.post("/api/streams", json=FETCHED | {"destinations": [TARGET]}),
        await user.put(f"/api/streams/{number}", json={"destinations": more}),
        # They are its owner's, whoever makes them.
        await admin.post("/api/destinations", json=TARGET | {"stream_id": number}),
    ):
        assert (answer.status, answer.error["code"]) == (409, "CONFLICT")
    assert (await user.get("/api/destinations")).json["total"] == 3
    assert (await user.put(f"/api/streams/{number}", json={"destinations": two[:1]})).status == 200
    await made(user, "destinations", **TARGET)
