"""Connections that come before their protocol is there: nothing of them is lost, and nothing grows without end."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from mediaserver.delivery.late_lane import WAITING, LateLane, MakeLane


class Echo(asyncio.Protocol):
    """The protocol behind: notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.told.append(transport)

    def data_received(self, data: bytes) -> None:
        self.told.append(data)

    def eof_received(self) -> bool:
        self.told.append("eof")
        return False

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")


class Wire(asyncio.Transport):
    """A transport that notes what is done with it."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[object] = []

    def write(self, data: Any) -> None:
        self.done.append(bytes(data))

    def close(self) -> None:
        self.done.append("close")

    def abort(self) -> None:
        self.done.append("abort")

    def pause_reading(self) -> None:
        self.done.append("pause")

    def resume_reading(self) -> None:
        self.done.append("resume")


class House:
    """A LateLane whose protocol is there when a test says so."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.failure: Exception | None = None
        self.asked = 0
        self.made: list[Echo] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.lane = LateLane(self._open, self._spawn, lambda data: b"well" if data == b"how are you" else b"")

    def connect(self, data: bytes) -> tuple[asyncio.Protocol, Wire]:
        early, wire = self.lane(), Wire()
        early.connection_made(wire)
        early.data_received(data)
        return early, wire

    async def open(self) -> None:
        self.opened.set()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _open(self) -> MakeLane:
        self.asked += 1
        await self.opened.wait()
        if self.failure is not None:
            raise self.failure
        return self._make

    def _make(self) -> Echo:
        self.made.append(Echo())
        return self.made[-1]

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        self.tasks.append(asyncio.create_task(work))


@pytest.fixture
async def house() -> House:
    return House()


async def test_what_early_connections_say_is_told_in_order_once_somebody_is_there(house: House) -> None:
    early, wire = house.connect(b"one ")
    early.data_received(b"two")
    other, other_wire = house.connect(b"three")
    early.pause_writing()
    early.resume_writing()
    await house.open()
    assert house.asked == 1
    assert [echo.told for echo in house.made] == [[wire, b"one two"], [other_wire, b"three"]]
    early.data_received(b"four")
    early.pause_writing()
    early.resume_writing()
    assert early.eof_received() is False
    other.connection_lost(None)
    assert house.made[0].told[2:] == [b"four", "pause", "resume", "eof"]
    assert house.made[1].told[2:] == ["lost"]


async def test_who_comes_later_has_the_protocol_itself(house: House) -> None:
    early = house.lane()
    house.connect(b"x")
    await house.open()
    assert isinstance(house.lane(), Echo)
    wire = Wire()
    early.connection_made(wire)
    early.data_received(b"made before, spoken after")
    assert house.made[-1].told == [wire, b"made before, spoken after"]
    assert house.asked == 1


async def test_who_is_gone_meanwhile_is_nobody(house: House) -> None:
    early, _ = house.connect(b"x")
    early.connection_lost(None)
    early.data_received(b"y")
    await house.open()
    assert house.made == []


async def test_who_has_said_all_is_answered_nevertheless(house: House) -> None:
    early, wire = house.connect(b"x")
    assert early.eof_received() is True
    await house.open()
    assert house.made[0].told == [wire, b"x", "eof"]


async def test_who_says_too_much_is_held_back(house: House) -> None:
    early, wire = house.connect(b"x")
    early.data_received(bytes(WAITING))
    assert wire.done == ["pause"]
    await house.open()
    assert wire.done == ["pause", "resume"]
    assert house.made[0].told == [wire, b"x" + bytes(WAITING)]


async def test_what_the_porter_knows_wakes_nobody(house: House) -> None:
    early, wire = house.connect(b"how are you")
    assert wire.done == [b"well", "close"]
    assert early.eof_received() is False
    assert house.asked == 0


async def test_where_nobody_can_be_woken_connections_end_and_the_next_one_tries_again(house: House) -> None:
    house.failure = OSError("the disk is gone")
    _, wire = house.connect(b"x")
    await house.open()
    assert wire.done == ["abort"]
    house.failure = None
    _, wire = house.connect(b"y")
    await house.open()
    assert house.asked == 2
    assert house.made[0].told == [wire, b"y"]
