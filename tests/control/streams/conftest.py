"""An engine that keeps what it is told to do."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field

import pytest

from mediaserver.config import Config
from mediaserver.events import PullChanged
from mediaserver.ports import PublishGrant, PullSource
from tests.control.engine import FakeEngine, stream


@dataclass
class Orders:
    """In their order: grants of pulls that began, grants that were changed, sessions and streams that were ended."""

    pulls: list[tuple[PullSource, PublishGrant]] = field(default_factory=list)
    regrants: list[PublishGrant] = field(default_factory=list)
    kicked: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)


class Stage(FakeEngine):
    """Fetches nothing and publishes nothing; ``working`` are the encoders that it has, told when ``asked_encoders`` lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.config = Config()
        self.orders = Orders()
        self.working: tuple[str, ...] = ()
        self.asked_encoders, self.may_tell = asyncio.Event(), asyncio.Event()
        self.may_tell.set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.show()

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        return task

    async def settle(self) -> None:
        """Everything that was spawned is done."""
        await asyncio.gather(*self.tasks)

    async def encoders(self) -> tuple[str, ...]:
        self.asked_encoders.set()
        await self.may_tell.wait()
        return self.working

    def start_pull(self, source: PullSource, grant: PublishGrant) -> str:
        self.orders.pulls.append((source, grant))
        return f"pull-{len(self.orders.pulls)}"

    def regrant(self, grant: PublishGrant) -> None:
        self.orders.regrants.append(grant)

    def kick(self, session_id: str, reason: str = "") -> bool:
        self.orders.kicked.append(session_id)
        return True

    def end(self, name: str, reason: str) -> bool:
        self.orders.ended.append(name)
        return True

    def on_air(self, *numbers: int) -> None:
        """The streams of those rows are live."""
        self.show(*(stream(f"stream_{number}") for number in numbers))

    def over(self, number: int, session_id: str) -> PullChanged:
        """What it tells of a pull that is over for good."""
        return PullChanged(f"stream_{number}", session_id, 1.0, connected=False, reason="all of it has been had", over=True)


@pytest.fixture
async def engine() -> Stage:
    return Stage()
