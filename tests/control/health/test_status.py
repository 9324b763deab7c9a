"""The machine and what the server stands on, over engines, disks and clocks that a test arranges."""

import pytest

from mediaserver.version import VERSION
from tests.control.conftest import OpenPanel
from tests.control.contract.conftest import ObedientEngine
from tests.control.engine import FakeEngine
from tests.control.panel import Panel


@pytest.fixture
def engine() -> FakeEngine:
    obedient = ObedientEngine()
    obedient.show()
    return obedient


@pytest.fixture
def database_url(tmp_path: object) -> str:
    return f"sqlite:///{tmp_path}/data/test.db"


@pytest.fixture
async def here(panel: OpenPanel) -> Panel:
    return await panel()


async def test_the_uptime_is_the_server_s_and_not_that_of_the_first_question(here: Panel, engine: FakeEngine) -> None:
    assert engine.now is not None
    admin = await here.log_in()
    told = (await admin.get("/api/system/status")).json
    assert told["uptime"] == int(here.clock.now - engine.now.since)
    assert told["version"] == VERSION
