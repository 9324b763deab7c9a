"""Who is told next, and when: on a clock that goes on only while everybody waits for it."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from control.webhooks.turns import TURN, Turn, Turns

Said = list[tuple[float, str]]


class _Waits(selectors.DefaultSelector):
    """Instead of waiting it puts the clock on."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits for ever"
            self.now += timeout
        return ready


def on_a_clock(test: Callable[[], Awaitable[Said]]) -> Said:
    waits = _Waits()
    loop = asyncio.SelectorEventLoop(waits)
    loop.time = lambda: waits.now  # type: ignore[method-assign]
    with asyncio.Runner(loop_factory=lambda: loop) as runner:

        async def run() -> Said:
            return await test()

        return runner.run(run())


async def tell(takes: Sequence[float], prepare: float = 0.0) -> Said:
    """One message after the other to a receiver that takes so many seconds for each: when which began."""
    turns, said, time = Turns(), Said(), asyncio.get_running_loop().time

    async def send(number: int, turn: Turn) -> None:
        await turn.come()
        await asyncio.sleep(prepare)
        turn.begin()
        said.append((round(time(), 3), f"m{number}"))
        await asyncio.sleep(takes[number])

    tasks = []
    for number in range(len(takes)):
        turn = turns.take(1)
        tasks.append(asyncio.create_task(send(number, turn)))
        tasks[-1].add_done_callback(lambda _, turn=turn: turns.end(1, turn))  # type: ignore[misc]
    await asyncio.gather(*tasks)
    return said


@pytest.mark.parametrize("takes", [0.0, 0.3, 0.6, 0.9])
def test_who_answers_sooner_than_a_turn_lasts_is_told_everything_in_its_order(takes: float) -> None:
    expected = [(round(number * takes * TURN, 3), f"m{number}") for number in range(6)]
    assert on_a_clock(lambda: tell([takes * TURN] * 6)) == expected


def test_who_hangs_holds_up_the_next_for_one_turn() -> None:
    hang = 60 * TURN
    assert on_a_clock(lambda: tell([hang, 0.0, 0.0])) == [(0.0, "m0"), (TURN, "m1"), (TURN, "m2")]
    assert on_a_clock(lambda: tell([hang] * 4)) == [(number * TURN, f"m{number}") for number in range(4)]


def test_a_turn_counts_from_when_it_is_sent() -> None:
    assert on_a_clock(lambda: tell([60.0, 0.0], prepare=0.5)) == [(0.5, "m0"), (TURN + 1.0, "m1")]


def test_who_comes_later_waits_for_what_is_left_of_the_turn() -> None:
    async def late() -> Said:
        turns, time = Turns(), asyncio.get_running_loop().time
        first = turns.take(1)
        await first.come()
        first.begin()
        await asyncio.sleep(0.75 * TURN)
        await turns.take(1).come()
        said = [(time(), "in the same turn")]
        await turns.take(2).come()
        return [*said, (time(), "to another webhook")]

    assert on_a_clock(late) == [(TURN, "in the same turn"), (TURN, "to another webhook")]


def test_one_that_is_never_sent_holds_up_nobody() -> None:
    async def cancelled() -> Said:
        turns = Turns()
        first, second = turns.take(1), turns.take(1)
        waiting: asyncio.Task[Any] = asyncio.create_task(second.come())
        await asyncio.sleep(0)
        turns.end(1, first)
        await waiting
        turns.end(1, second)
        await turns.take(1).come()
        return [(asyncio.get_running_loop().time(), "at once")]

    assert on_a_clock(cancelled) == [(0.0, "at once")]
