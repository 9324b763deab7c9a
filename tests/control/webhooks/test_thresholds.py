"""Numbers of viewers are told once on the way up and once on the way down; waits grow and have an end."""

import pytest

from control.webhooks.backoff import Backoff
from control.webhooks.messages import Crossing
from control.webhooks.thresholds import HOLD, crossings

UP, DOWN = Crossing.EXCEEDED, Crossing.DROPPED


def told(thresholds: list[int], *counts: int, seconds: float = HOLD) -> list[tuple[int, Crossing]]:
    """What is told of ``counts``, each of which is there for so long."""
    exceeded: dict[int, float] = {}
    looks = [(count, turn * seconds + later) for turn, count in enumerate(counts) for later in (0.0, seconds)]
    return [crossing for count, at in looks for crossing in crossings(exceeded, thresholds, count, at)]


@pytest.mark.parametrize(
    ("thresholds", "counts", "expected"),
    [
        ([100], [99], []),
        ([100], [100], [(100, UP)]),
        ([100], [100, 99, 101, 95, 100, 91, 150], [(100, UP)]),
        ([100], [100, 90, 89, 99, 100], [(100, UP), (100, DOWN), (100, UP)]),
        ([1], [0, 1, 1, 0, 1], [(1, UP), (1, DOWN), (1, UP)]),
        ([2], [2, 1, 2, 0, 2], [(2, UP), (2, DOWN), (2, UP)]),
        ([3], [3, 2, 3, 2, 3, 2], [(3, UP)]),
        ([3], [3, 2, 1, 2, 3], [(3, UP), (3, DOWN), (3, UP)]),
        ([5], [5, 4, 5, 3, 5], [(5, UP), (5, DOWN), (5, UP)]),
        ([10], [10, 9, 10, 9, 8], [(10, UP), (10, DOWN)]),
        ([25], [25, 23, 22], [(25, UP), (25, DOWN)]),
        ([50, 10, 100], [60, 0], [(10, UP), (50, UP), (50, DOWN), (10, DOWN)]),
        ([], [1000], []),
    ],
)
def test_a_threshold_is_told_once_in_each_direction(
    thresholds: list[int], counts: list[int], expected: list[tuple[int, Crossing]]
) -> None:
    assert told(thresholds, *counts) == expected


@pytest.mark.parametrize("threshold", [1, 2, 3, 10, 100])
def test_who_comes_back_soon_drops_nothing(threshold: int) -> None:
    assert told([threshold], *[threshold, 0] * 5, threshold, seconds=HOLD - 0.1) == [(threshold, UP)]


def test_a_threshold_that_is_taken_away_is_forgotten() -> None:
    exceeded: dict[int, float] = {}
    assert list(crossings(exceeded, [10], 20, 0.0)) == [(10, UP)]
    assert list(crossings(exceeded, [15], 0, 0.0)) == []
    assert list(crossings(exceeded, [10], 20, 0.0)) == [(10, UP)]


def test_waits_grow_threefold_to_the_longest() -> None:
    backoff = Backoff(5.0, 14400.0, chance=lambda: 1.0)
    assert [backoff.wait(n) for n in (1, 2, 3, 8, 9, 1000)] == [5.0, 15.0, 45.0, 10935.0, 14400.0, 14400.0]


def test_waits_are_spread() -> None:
    assert Backoff(8.0, 100.0, chance=lambda: 0.0).wait(1) == 4.0


def test_a_day_holds_a_dozen_tries() -> None:
    backoff, at, tries = Backoff(5.0, 14400.0, chance=lambda: 0.5), 0.0, 0
    while at < 86400:
        tries += 1
        at += backoff.wait(tries)
    assert 12 <= tries <= 18


def test_a_receiver_s_wish_is_heeded_up_to_an_hour() -> None:
    backoff = Backoff(5.0, 14400.0, chance=lambda: 1.0)
    assert [backoff.wait(1, wish) for wish in (1.0, 60.0, 1e9)] == [5.0, 60.0, 3600.0]
