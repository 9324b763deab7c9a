"""Numbers of viewers are told once on the way up and once on the way down; waits grow and have an end."""

import pytest

from control.webhooks.backoff import Backoff
from control.webhooks.messages import Crossing
from control.webhooks.thresholds import crossings

UP, DOWN = Crossing.EXCEEDED, Crossing.DROPPED


def told(thresholds: list[int], *counts: int) -> list[tuple[int, Crossing]]:
    exceeded: set[int] = set()
    return [crossing for count in counts for crossing in crossings(exceeded, thresholds, count)]


@pytest.mark.parametrize(
    ("thresholds", "counts", "expected"),
    [
        ([100], [99], []),
        ([100], [100], [(100, UP)]),
        ([100], [100, 99, 101, 95, 100, 91, 150], [(100, UP)]),
        ([100], [100, 90, 89, 99, 100], [(100, UP), (100, DOWN), (100, UP)]),
        ([1], [0, 1, 1, 0, 1], [(1, UP), (1, DOWN), (1, UP)]),
        ([5], [5, 4, 5], [(5, UP), (5, DOWN), (5, UP)]),
        ([50, 10, 100], [60, 0], [(10, UP), (50, UP), (50, DOWN), (10, DOWN)]),
        ([], [1000], []),
    ],
)
def test_a_threshold_is_told_once_in_each_direction(
    thresholds: list[int], counts: list[int], expected: list[tuple[int, Crossing]]
) -> None:
    assert told(thresholds, *counts) == expected


def test_a_threshold_that_is_taken_away_is_forgotten() -> None:
    exceeded: set[int] = set()
    assert list(crossings(exceeded, [10], 20)) == [(10, UP)]
    assert list(crossings(exceeded, [15], 0)) == []
    assert list(crossings(exceeded, [10], 20)) == [(10, UP)]


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
