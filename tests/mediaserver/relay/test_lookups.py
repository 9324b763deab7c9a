import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine

import pytest

from mediaserver.errors import Refused
from mediaserver.relay import lookups
from mediaserver.relay.lookups import MOST_NAMES, MOST_QUESTIONS, MOST_SLOW, Lookups
from mediaserver.transport.targets import Target
from tests.mediaserver.running import PATIENCE

HERE = Target(socket.AF_INET, "192.0.2.1", 1935)


class Resolver:
    """Answers when it is let, but for names in ``quick``; it is asked from threads."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.free = threading.Event()
        self.known = True
        self.quick: set[str] = set()

    def __call__(self, host: str, port: int, *, allow_private: bool) -> tuple[Target, ...]:
        assert allow_private
        self.asked.append(host)
        if host not in self.quick:
            assert self.free.wait(2 * PATIENCE)
        if not self.known:
            raise Refused("cannot be resolved")
        return (HERE,)


class Town:
    """Lookups, and the tasks that they have."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        self.names = Lookups(self.spawn)

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        self.tasks.append(asyncio.ensure_future(work))

    async def settle(self) -> None:
        await asyncio.gather(*self.tasks)

    async def until(self, question: Callable[[], bool]) -> None:
        """Wait for the answer to be yes: threads begin when they are let."""
        async with asyncio.timeout(PATIENCE):
            while not question():  # noqa: ASYNC110 - threads announce nothing
                await asyncio.sleep(0.005)


@pytest.fixture
async def resolver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Resolver]:
    resolver = Resolver()
    monkeypatch.setattr(lookups, "resolve", resolver)
    yield resolver
    resolver.free.set()
    for thread in threading.enumerate():
        if thread.name == "lookup":
            await asyncio.to_thread(thread.join)


async def test_a_name_server_that_hangs_is_asked_once_and_waited_for_as_long_as_one_wants(resolver: Resolver) -> None:
    town = Town()
    names = town.names
    assert await asyncio.gather(*(names.find("a.example", 1935, 0.01) for _ in range(5))) == [()] * 5
    assert await names.find("a.example", 1935, 0.01) == ()
    await town.until(lambda: bool(resolver.asked))
    assert resolver.asked == ["a.example"]
    resolver.free.set()
    await town.settle()
    assert await names.find("a.example", 1935, PATIENCE) == (HERE,)
    # What was found is still known when the name server is silent, or forgets.
    resolver.free.clear()
    assert await names.find("a.example", 1935, 0.01) == (HERE,)
    resolver.known = False
    resolver.free.set()
    await town.settle()
    assert await names.find("a.example", 1935, PATIENCE) == (HERE,)
    assert await names.find("b.example", 1935, PATIENCE) == ()
    await town.settle()


async def test_names_that_hang_hold_up_nobody_else(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once all threads for names that nobody knows were waited for in vain, such names have few threads of their own."""
    monkeypatch.setattr(lookups, "SLOW", 0.05)
    town = Town()
    names, hanging = town.names, [f"{number}.example" for number in range(MOST_QUESTIONS)]
    resolver.quick.add("good.example")
    await asyncio.gather(*(names.find(host, 1935, 0.01) for host in hanging))
    await town.until(lambda: len(names._hanging) == MOST_QUESTIONS)
    await town.until(lambda: len(resolver.asked) == MOST_QUESTIONS)
    # The loop's own threads are free all the while.
    async with asyncio.timeout(PATIENCE):
        await asyncio.to_thread(len, "")
    resolver.free.set()
    await town.settle()
    resolver.free.clear()
    resolver.asked.clear()
    assert set(await asyncio.gather(*(names.find(host, 1935, 0.2) for host in hanging))) == {(HERE,)}
    await town.until(lambda: len(resolver.asked) >= MOST_SLOW)
    assert len(resolver.asked) == MOST_SLOW
    assert await names.find("good.example", 1935, PATIENCE) == (HERE,)
    resolver.free.set()
    await town.settle()


async def test_a_name_that_answers_in_time_again_is_one_like_others(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "SLOW", 0.05)
    town = Town()
    await town.names.find("a.example", 1935, 0.01)
    await town.until(lambda: list(town.names._hanging) == [("a.example", 1935)])
    resolver.free.set()
    await town.settle()
    monkeypatch.setattr(lookups, "SLOW", PATIENCE)
    assert await town.names.find("a.example", 1935, PATIENCE) == (HERE,)
    await town.settle()
    assert not town.names._hanging


async def test_an_address_is_no_question_to_anybody() -> None:
    town = Town()
    assert await town.names.find("192.0.2.1", 1935, PATIENCE) == (HERE,)
    assert not town.tasks


def test_a_server_that_stops_does_not_wait_for_an_answer(resolver: Resolver) -> None:
    async def ask() -> None:
        town = Town()
        assert await town.names.find("a.example", 1935, 0.01) == ()
        for task in town.tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        assert not town.names._pending

    asyncio.run(ask())
    assert not resolver.free.is_set()


async def test_names_are_not_remembered_for_ever(resolver: Resolver) -> None:
    resolver.free.set()
    town = Town()
    for number in range(MOST_NAMES + 10):
        await town.names.find(f"{number}.example", 1935, PATIENCE)
    await town.settle()
    assert len(town.names._known) == MOST_NAMES
    assert town.names._pending == {}
