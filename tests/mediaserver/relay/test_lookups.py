import asyncio
import socket

import pytest

from mediaserver.errors import Refused
from mediaserver.relay import lookups
from mediaserver.relay.lookups import MOST_NAMES, Lookups
from mediaserver.transport.targets import Target

HERE = Target(socket.AF_INET, "192.0.2.1", 1935)


class Resolver:
    """Answers when it is let."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.free = asyncio.Event()
        self.known = True

    async def __call__(self, host: str, port: int, *, allow_private: bool) -> tuple[Target, ...]:
        assert allow_private
        self.asked.append(host)
        await self.free.wait()
        if not self.known:
            raise Refused("cannot be resolved")
        return (HERE,)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    resolver = Resolver()
    monkeypatch.setattr(lookups, "resolve", resolver)
    return resolver


async def test_a_name_server_that_hangs_is_asked_once_and_waited_for_as_long_as_one_wants(resolver: Resolver) -> None:
    tasks: list[asyncio.Task[None]] = []
    names = Lookups(lambda work: tasks.append(asyncio.ensure_future(work)))
    assert await asyncio.gather(*(names.find("a.example", 1935, 0.01) for _ in range(5))) == [()] * 5
    assert await names.find("a.example", 1935, 0.01) == ()
    assert resolver.asked == ["a.example"]
    resolver.free.set()
    await asyncio.gather(*tasks)
    assert await names.find("a.example", 1935, 1.0) == (HERE,)
    # What was found is still known when the name server is silent, or forgets.
    resolver.free.clear()
    assert await names.find("a.example", 1935, 0.01) == (HERE,)
    resolver.known = False
    resolver.free.set()
    await asyncio.gather(*tasks)
    assert await names.find("a.example", 1935, 1.0) == (HERE,)
    assert await names.find("b.example", 1935, 1.0) == ()
    await asyncio.gather(*tasks)


async def test_names_are_not_remembered_for_ever(resolver: Resolver) -> None:
    resolver.free.set()
    tasks: list[asyncio.Task[None]] = []
    names = Lookups(lambda work: tasks.append(asyncio.ensure_future(work)))
    for number in range(MOST_NAMES + 10):
        await names.find(f"{number}.example", 1935, 1.0)
    await asyncio.gather(*tasks)
    assert len(names._known) == MOST_NAMES
    assert names._pending == {}
