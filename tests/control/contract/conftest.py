"""An engine that takes every order, and a panel over it without limits."""

import pytest

from control.health import gauge, service
from mediaserver.ports import PublishGrant, PullSource, RecordingOrder, RelayTarget
from tests.control.conftest import OpenPanel
from tests.control.engine import FakeEngine
from tests.control.panel import Panel

#: What asks /api/rtmp/auth.
SECRET = "nginx knows this"


class ObedientEngine(FakeEngine):
    """Does nothing, and says that it did."""

    rtmp_since = 1000.0

    async def open_rtmp(self) -> None: ...

    async def close_rtmp(self, reason: str) -> None: ...

    async def encoders(self) -> tuple[str, ...]:
        return ("libx264",)

    def kick(self, session_id: str, reason: str = "") -> bool:
        return False

    def start_pull(self, source: PullSource, grant: PublishGrant) -> str:
        return "pull"

    def start_relay(self, name: str, target: RelayTarget) -> None: ...

    def stop_relay(self, name: str, relay_id: str) -> bool:
        return False

    def start_recording(self, name: str, order: RecordingOrder) -> None: ...

    def stop_recording(self, name: str, recording_id: str) -> bool:
        return False


@pytest.fixture
def engine() -> FakeEngine:
    obedient = ObedientEngine()
    obedient.show()
    return obedient


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """What is tried here happens before anything is asked of a database."""
    return sqlite_url


@pytest.fixture
async def here(panel: OpenPanel, monkeypatch: pytest.MonkeyPatch) -> Panel:
    """Nothing runs out; the machine is measured at once, and well however slow it is."""
    monkeypatch.setattr(gauge, "SHORTEST", 0.01)
    monkeypatch.setattr(service, "PATIENCE", 30.0)
    endless = {"api_with_token": 1_000_000, "api_without_token": 1_000_000, "streaming": 1_000_000, "login": 1_000_000}
    return await panel(
        limits=endless | {"rtmp_auth": 1_000_000, "reports": 1_000_000},
        rtmp={"auth_secret": SECRET},
        webhooks={"max_per_user": 10_000},
        server={"allow_private_targets": True},
    )
