"""Deadlines: who is late is ended, whoever else there is, and never so many at once that others wait."""

import asyncio

import pytest

from mediaserver.transport.deadlines import IN_A_ROW, Deadlines


class Guest:
    """A connection that is late at ``deadline``."""

    def __init__(self, deadlines: Deadlines, deadline: float, error: Exception | None = None) -> None:
        self.deadlines, self.deadline, self.error = deadlines, deadline, error
        self.ended = 0

    def is_late(self, now: float) -> bool:
        return now > self.deadline

    def end(self) -> None:
        self.ended += 1
        self.deadlines.forget(self)
        if self.error is not None:
            raise self.error


def newcomers(deadlines: Deadlines, count: int, deadline: float = 10.0) -> list[Guest]:
    guests = [Guest(deadlines, deadline) for _ in range(count)]
    for guest in guests:
        deadlines.expect_word(guest)
    return guests


@pytest.fixture
async def deadlines() -> Deadlines:
    return Deadlines(asyncio.get_running_loop())


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_crowd_that_is_late_is_ended_a_few_in_each_turn_of_the_loop(deadlines: Deadlines) -> None:
    late, early = newcomers(deadlines, 5 * IN_A_ROW + 1), newcomers(deadlines, 3, deadline=20.0)
    watched = Guest(deadlines, 10.0)
    deadlines.watch(watched)
    deadlines.apply(11.0)
    assert watched.ended == 1
    assert sum(guest.ended for guest in late) == IN_A_ROW - 1
    deadlines.apply(11.0)  # the second is over before all are ended: nobody is ended twice, or sooner
    assert sum(guest.ended for guest in late) == IN_A_ROW - 1
    await turns(7)
    assert [guest.ended for guest in late] == [1] * len(late)
    assert not any(guest.ended for guest in early)


async def test_who_comes_to_the_point_while_others_are_ended_stays(deadlines: Deadlines) -> None:
    guests = newcomers(deadlines, 3 * IN_A_ROW)
    deadlines.apply(11.0)
    guests[IN_A_ROW].deadline = guests[IN_A_ROW + 1].deadline = 30.0
    deadlines.watch(guests[IN_A_ROW])
    deadlines.expect_word(guests[IN_A_ROW + 1])
    deadlines.forget(guests[IN_A_ROW + 2])
    await turns(4)
    stayed = [number for number, guest in enumerate(guests) if not guest.ended]
    assert stayed == [IN_A_ROW, IN_A_ROW + 1, IN_A_ROW + 2]
    deadlines.apply(31.0)
    assert [guest.ended for guest in guests[IN_A_ROW : IN_A_ROW + 3]] == [1, 1, 0]


async def test_one_that_cannot_be_ended_keeps_nobody_else(deadlines: Deadlines) -> None:
    broken = Guest(deadlines, 10.0, RuntimeError("broken"))
    deadlines.expect_word(broken)
    others = newcomers(deadlines, 2)
    with pytest.raises(RuntimeError, match="broken"):
        deadlines.apply(11.0)
    deadlines.apply(12.0)
    assert [guest.ended for guest in others] == [1, 1]
