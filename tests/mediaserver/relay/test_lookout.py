"""A target that went away while it was not to be tried, or that only seems to be there."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mediaserver.events import RelayChanged
from mediaserver.ports import RelayTarget
from mediaserver.relay import lookout, push
from mediaserver.relay.retry import DISMISSALS, Retry
from mediaserver.snapshot import RelayState
from mediaserver.transport.rtmp_client import ClientConnection, Taken
from protocols.rtmp.events import ConnectRequested, PublishRequested
from tests.mediaserver.relay.target import TargetServer, Visit, hang_up, target_server
from tests.mediaserver.relay.test_relay import config, only_relay, present, relay_of, states, until_media, until_state, url
from tests.mediaserver.running import GOP, PATIENCE, Running, picture, running

#: Nothing below may come about because the time of a wait has passed.
NEVER = {"first_retry": 300.0, "longest_retry": 300.0}


def drop(visit: Visit, _: object = None) -> None:
    visit.writer.transport.abort()


def taken(visit: Visit, request: PublishRequested) -> None:
    visit.session.refuse_publish(request, "NetStream.Publish.BadName", "taken")


def at_connect(server: TargetServer) -> None:
    server.on_connect = drop


def at_the_key(server: TargetServer) -> None:
    server.on_publish = hang_up


def for_another(server: TargetServer) -> None:
    server.on_publish = taken


@pytest.fixture
def absences(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The times at which a target was found to be away; looks are frequent, and take the time that they take."""
    seen: list[float] = []
    missed = Retry.missed

    def noted(self: Retry, now: float) -> None:
        seen.append(now)
        missed(self, now)

    monkeypatch.setattr(Retry, "missed", noted)
    monkeypatch.setattr(lookout, "LOOK_INTERVAL", 0.05)
    monkeypatch.setattr(lookout, "SLOWEST", 0.05)
    monkeypatch.setattr(lookout, "LOOK_TIMEOUT", PATIENCE)
    monkeypatch.setattr(lookout, "HUNG", 300.0)
    return seen


class Door:
    """In place of a Dialler, and of the clock: a target that is there until ``goes``, and again from ``returns`` on, in s."""

    def __init__(self, goes: float, returns: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.looks: list[float] = []
        self._gone = goes, returns
        loop = SimpleNamespace(time=lambda: self.now)
        monkeypatch.setattr(lookout, "asyncio", SimpleNamespace(sleep=self.sleep, get_running_loop=lambda: loop))
        monkeypatch.setattr(lookout, "_random", SimpleNamespace(uniform=lambda _, most: most))

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    async def touch(self, *_: object) -> None:
        self.looks.append(round(self.now, 2))
        if self._gone[0] <= self.now < self._gone[1]:
            raise push.Setback(push.Ending(push.Outcome.UNREACHABLE, "gone"))

    async def open(self, *_: object, **__: object) -> None:
        await self.touch()

    async def watched(self, delay: float) -> bool:
        """Whether the wait was cut short."""
        connection = SimpleNamespace(close=lambda: None)
        watch = lookout.Lookout(cast(Any, None), cast(Any, self), Retry(1.0, 30.0), lambda: cast(Any, connection))
        return await watch.wait(delay, away=False) is not None


async def test_who_is_there_is_looked_at_less_and_less(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(100.0, 100.0, monkeypatch)
    assert not await door.watched(30.0)
    assert door.looks == [0.02, 1.22, 3.62, 8.42, 13.42, 18.42, 23.42, 28.42]
    assert door.now == 30.0


async def test_who_is_away_is_looked_at_as_often_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(10.0, 20.0, monkeypatch)
    assert await door.watched(60.0)
    assert door.looks[3:] == [8.42, 13.42, 14.62, 15.82, 17.02, 18.22, 19.42, 20.62]


@pytest.mark.parametrize("bad", [at_connect, at_the_key, for_another])
async def test_who_was_there_and_went_away_is_tried_when_it_is_back(
    bad: Callable[[TargetServer], None], absences: list[float]
) -> None:
    async with target_server() as server, running(config(**NEVER)) as town, town.client("show") as encoder:
        bad(server)
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await encoder.publish()
        await encoder.send(*GOP)
        await until_state(town, RelayState.BACKING_OFF)
        await server.close()
        await town.until(lambda: bool(absences))
        server.on_connect = server.on_publish = None
        await server.open()
        await until_state(town, RelayState.LIVE)
        assert relay_of(town).attempts == 2


async def test_a_connection_that_did_not_last_is_made_again_when_the_target_is_back(absences: list[float]) -> None:
    async with target_server() as server, running(config(**NEVER)) as town, town.client("show") as encoder:
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await encoder.publish()
        await encoder.send(*GOP)
        for number in range(3):
            await server.until(lambda: bool(server.visits[-1:]) and len(server.visits[-1].media) >= 4)
            await until_state(town, RelayState.LIVE)
            await server.close()
            seen = len(absences)
            await town.until(lambda seen=seen: len(absences) > seen)  # type: ignore[misc]
            assert relay_of(town).attempts == 1 + number
            await server.open()
        await until_state(town, RelayState.LIVE)


async def test_who_drops_us_and_hangs_is_tried_when_it_answers_again(
    absences: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "HUNG", 0.05)
    async with target_server() as server, running(config(**NEVER)) as town, town.client("show") as encoder:

        def freeze(visit: Visit, request: PublishRequested) -> None:
            hang_up(visit, request)
            server.read.clear()

        server.on_publish = freeze
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await encoder.publish()
        await encoder.send(*GOP)
        await server.until(lambda: len(server.visits) > 1)
        await asyncio.sleep(0.1)  # at least
        server.on_publish = None
        server.read.set()
        await until_state(town, RelayState.LIVE)
        assert (relay_of(town).attempts, len(server.visits), absences) == (2, 3, [])


@pytest.mark.parametrize("bad", [at_connect, at_the_key, for_another])
async def test_who_is_there_all_the_time_is_looked_at_and_not_tried(
    bad: Callable[[TargetServer], None], absences: list[float]
) -> None:
    async with target_server() as server, running(config(**NEVER)) as town, town.client("show") as encoder:
        bad(server)
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await encoder.publish()
        await encoder.send(*GOP)
        await server.until(lambda: len(server.visits) > 4 * lookout.WHOLE)
        assert sum(any(isinstance(event, ConnectRequested) for event in visit.events) for visit in server.visits) == 1
        # Most looks say nothing at all.
        assert sum(visit.session.bytes_received > 0 for visit in server.visits) <= 1 + len(server.visits) // lookout.WHOLE + 1
        assert (relay_of(town).attempts, absences) == (1, [])


async def test_a_target_whose_answer_is_another_one_now_is_told_of_at_once(absences: list[float]) -> None:
    async with target_server() as server, running(config(**NEVER)) as town, town.client("show") as encoder:
        await server.close()
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await encoder.publish()
        await encoder.send(*GOP)
        await until_state(town, RelayState.BACKING_OFF)

        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(greet, "127.0.0.1", server.port):
            await town.until(lambda: "not RTMP" in relay_of(town).reason and relay_of(town).attempts == 2)


def reasons(town: Running) -> list[str]:
    return [event.reason for event in town.notes.of(RelayChanged) if isinstance(event, RelayChanged)]


@pytest.mark.parametrize("said", [False, True])
async def test_a_target_that_took_media_and_died_has_not_refused_the_key(said: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """However short it lived, and however often. ``said``: it has acknowledged what it took; if not, it has stood a while."""
    monkeypatch.setattr(push, "TRIAL", 300.0 if said else 0.15)
    async with target_server() as server, running(config()) as town, town.client("show") as encoder:
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await encoder.publish()
        await encoder.send(*GOP)
        (relay,) = town.engine._relays._relays.values()
        for visit in range(DISMISSALS + 1):
            await until_media(server, 4, visit)
            await until_state(town, RelayState.LIVE)
            if said:
                await encoder.send(*(picture(3 + number, keyframe=not number, size=150_000) for number in range(20)))
            await town.until(lambda: relay._push is not None and relay._push._accepted)
            server.visits[visit].writer.transport.abort()
        await until_media(server, 4, DISMISSALS + 1)
        assert RelayState.FAILED not in states(town)
        assert not any("the key" in reason for reason in reasons(town))


async def test_a_target_that_lets_everybody_in_and_closes_has_refused_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for patience in ("TRIAL", "SECOND_THOUGHTS"):
        monkeypatch.setattr(push, patience, 300.0)
    async with target_server() as server, running(config()) as town, town.client("show") as encoder:

        def let_in(visit: Visit, request: PublishRequested) -> None:
            visit.session.accept_publish(request)
            asyncio.get_running_loop().call_later(0.01, drop, visit)

        server.on_publish = let_in
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await encoder.publish()
        await encoder.send(*GOP)
        snapshot = await until_state(town, RelayState.FAILED)
        assert snapshot.reason.endswith(f"right after it had taken the key, {DISMISSALS} times in a row")


async def test_a_target_that_had_taken_nothing_when_it_was_looked_at_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that was held up itself may look before it has sent anything."""
    monkeypatch.setattr(push, "TRIAL", 0.02)
    looks, nothing, taken = 0, True, ClientConnection.taken

    def seen(self: ClientConnection) -> Taken:
        nonlocal looks
        looks += 1
        return Taken(0, waiting=True) if nothing else taken(self)

    monkeypatch.setattr(ClientConnection, "taken", seen)
    async with target_server() as server, running(config(stall_timeout=300.0)) as town, town.client("show") as encoder:
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await encoder.publish()
        await encoder.send(*GOP)
        await until_media(server, 4)
        before = looks
        await town.until(lambda: looks > before + 4)
        assert not present(only_relay(town))._accepted
        nothing = False
        await town.until(lambda: present(only_relay(town))._accepted)
