"""The row: bytes reach everybody in order, whoever falls behind, says something or vanishes between two writes."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator

import pytest

from mediaserver.hub import fanout
from mediaserver.hub.player import FanoutPlayer, PlayerState
from mediaserver.hub.row import Row
from mediaserver.hub.session import Session
from mediaserver.ports import Wire
from tests.mediaserver.hub.test_fanout import Stage

ROOM = 32 * 1024


class Seat:
    """A player and the far end of its connection, which is read when the test says so."""

    def __init__(self, player: FanoutPlayer, far: socket.socket) -> None:
        self.player, self.far = player, far

    def taken(self) -> bytes:
        """All that is there now."""
        pieces: list[bytes] = []
        while True:
            try:
                piece = self.far.recv(1 << 20)
            except BlockingIOError:
                return b"".join(pieces)
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)

    async def taken_until(self, mark: bytes) -> bytes:
        data = self.taken()
        async with asyncio.timeout(30):
            while not data.endswith(mark):
                await asyncio.sleep(0)
                data += self.taken()
        return data


async def seat() -> Seat:
    near, far = socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)
    far.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near)
    player = FanoutPlayer(transport, Session(Wire.RTMP, "127.0.0.1"), lambda: None)
    player.state = PlayerState.LIVE
    player.send(b"")  # nothing is queued, and now it knows
    return Seat(player, far)


@pytest.fixture
async def seats() -> AsyncIterator[list[Seat]]:
    made = [await seat() for _ in range(4)]
    yield made
    for each in made:
        each.player.transport.abort()
        each.far.close()
    await asyncio.sleep(0)


def players(seats: list[Seat]) -> list[FanoutPlayer]:
    return [each.player for each in seats]


async def test_everybody_is_written_to_once_step_by_step(seats: list[Seat]) -> None:
    row = Row(players(seats))
    for begin in range(0, 6, 3):
        row.write(b"picture", begin, begin + 3)
    assert [each.taken() for each in seats] == [b"picture"] * 4


async def test_who_has_something_queued_stands_last_and_is_written_to_all_the_same(seats: list[Seat]) -> None:
    seats[0].player.say(b"a" * 3 * ROOM + b".")
    row = Row(players(seats))
    assert row.players == tuple(players([*seats[1:], seats[0]]))
    row.write(b"picture", 0, 4)
    assert [each.taken() for each in seats[1:]] == [b"picture"] * 3
    assert await seats[0].taken_until(b"picture") == b"a" * 3 * ROOM + b".picture"


async def test_what_a_socket_does_not_take_comes_later_and_before_what_follows(seats: list[Seat]) -> None:
    large = b"b" * 3 * ROOM + b"."
    row = Row(players(seats[:2]))
    row.write(large, 0, 2)
    assert not seats[0].player.ready
    seats[0].player.send(b"picture")
    assert await seats[0].taken_until(b"picture") == large + b"picture"
    assert await seats[1].taken_until(b".") == large


async def test_who_is_gone_costs_the_others_nothing(seats: list[Seat]) -> None:
    seats[1].far.close()
    row = Row(players(seats))
    row.write(b"picture", 0, 4)
    assert seats[1].player.verdict == "reset by the peer"
    assert seats[1].player.transport.is_closing()
    assert not seats[1].player.ready
    assert [each.taken() for each in (seats[0], *seats[2:])] == [b"picture"] * 3


async def test_who_cannot_be_written_to_any_more_costs_itself_alone(seats: list[Seat], caplog: pytest.LogCaptureFixture) -> None:
    # Its last words are on their way, and behind them nothing may be written: that raises what is no OSError.
    mute, behind = seats[0].player, seats[1].player
    mute.say(b"a" * 3 * ROOM)
    mute.transport.write_eof()
    behind.say(b"b" * 3 * ROOM + b".")
    row = Row(players(seats))
    assert row.players[2:] == (mute, behind)
    row.write(b"picture", 0, 4)
    assert mute.transport.is_closing()
    assert "write_eof" in mute.verdict
    assert [each.taken() for each in seats[2:]] == [b"picture"] * 2
    assert await seats[1].taken_until(b"picture") == b"b" * 3 * ROOM + b".picture"
    (record,) = caplog.records
    assert (record.message, record.exc_info is not None) == ("connection_failed", True)


async def test_who_fails_among_those_that_are_ready_costs_itself_alone(
    seats: list[Seat], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(FanoutPlayer, "keep", broken)
    seats[1].taken()
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(seats[1].player.descriptor, bytes(ROOM))
    row = Row(players(seats))
    row.write(b"picture", 0, 3)
    row.write(b"picture", 3, 6)
    assert seats[1].player.transport.is_closing()
    assert not seats[1].player.ready
    assert [each.taken() for each in (seats[0], *seats[2:])] == [b"picture"] * 3


async def test_nothing_overtakes_what_was_said_while_a_flush_rests(seats: list[Seat], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "PLAYERS_PER_STEP", 1)
    stage = Stage()
    stage.write(0, keyframe=True)
    for each in seats:
        stage.fanout.join(stage.stream, stage.wire, each.player)
    stage.write(33)
    group = seats[0].player.group
    assert group is not None
    for _ in group.flush():
        pass
    stage.write(66)
    for each in seats:
        each.taken()
    flush = group.flush()
    next(flush)
    # The last of the row is told more than its socket takes; then there is room again, before its transport knows.
    last = group._sending.row.players[-1] if group._sending is not None else None
    behind = next(each for each in seats if each.player is last)
    words = b"w" * 3 * ROOM + b"."
    behind.player.say(words)
    taken = behind.taken()
    for _ in flush:
        pass
    assert (taken + await behind.taken_until(b"P66 x\n")) == words + b"P66 x\n"
    for each in seats:
        if each is not behind:
            assert each.taken() == b"P66 x\n"
    await stage.close()
