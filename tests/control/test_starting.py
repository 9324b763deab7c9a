"""``POST /api/streams/ID/start`` of a stream that is fetched: the engine begins when it is safe that the stream is wanted."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from control.db import DatabaseUnavailable, Transaction
from mediaserver.errors import Refused
from mediaserver.ports import PublishGrant, PullSource
from mediaserver.snapshot import PullSnapshot
from tests.control.conftest import OpenPanel
from tests.control.engine import FakeEngine
from tests.control.panel import Panel, Person


class Pulls:
    """The engine's part of fetching."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.begun: list[tuple[str, str]] = []
        self.refusal = ""

    def start(self, source: PullSource, grant: PublishGrant) -> str:
        if self.refusal:
            raise Refused(self.refusal)
        self.begun.append((source.url, grant.name))
        begun = PullSnapshot(f"pull-{len(self.begun)}", grant.name, "", False, 0.0, 1, "")
        assert self.engine.now is not None
        self.engine.now = replace(self.engine.now, pulls=(*self.engine.now.pulls, begun))
        return begun.session_id


@pytest.fixture
def pulls(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Pulls:
    pulls = Pulls(engine)
    monkeypatch.setattr(engine, "start_pull", pulls.start, raising=False)
    return pulls


@pytest.fixture
async def here(panel: OpenPanel) -> Panel:
    return await panel()


async def make_stream(person: Person) -> int:
    body = {"name": "Camera", "input_type": "rtsp", "input_url": "rtsp://camera.example/1"}
    return int((await person.post("/api/streams", json=body)).json["id"])


async def status(person: Person, number: int) -> str:
    return str((await person.get(f"/api/streams/{number}/status")).json["status"])


async def test_it_is_fetched_once_it_was_started(here: Panel, pulls: Pulls) -> None:
    admin = await here.log_in()
    number = await make_stream(admin)
    assert pulls.begun == []
    assert (await admin.post(f"/api/streams/{number}/start")).status == 200
    assert pulls.begun == [("rtsp://camera.example/1", f"stream_{number}")]
    again = await admin.post(f"/api/streams/{number}/start")
    assert (again.status, again.error["code"]) == (409, "STREAM_ALREADY_RUNNING")
    assert len(pulls.begun) == 1


async def test_what_was_rolled_back_is_not_fetched(here: Panel, pulls: Pulls, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = await here.log_in()
    number = await make_stream(admin)
    write = here.control.db.write

    @contextlib.asynccontextmanager
    async def failing() -> AsyncIterator[Transaction]:
        async with write() as tx:
            yield tx
            raise DatabaseUnavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(here.control.db, "write", failing)
        answer = await admin.post(f"/api/streams/{number}/start")
    assert (answer.status, answer.error["code"]) == (503, "UNAVAILABLE")
    assert pulls.begun == []
    assert await status(admin, number) == "stopped"


async def test_what_the_engine_refuses_is_told_and_stays_stopped(here: Panel, pulls: Pulls) -> None:
    admin = await here.log_in()
    number = await make_stream(admin)
    pulls.refusal = "files are not fetched from there"
    answer = await admin.post(f"/api/streams/{number}/start")
    assert (answer.status, answer.error["code"]) == (422, "VALIDATION_ERROR")
    assert answer.error["details"]["fields"] == {"input_url": "files are not fetched from there"}
    assert await status(admin, number) == "stopped"
    pulls.refusal = ""
    assert (await admin.post(f"/api/streams/{number}/start")).status == 200
    assert len(pulls.begun) == 1
