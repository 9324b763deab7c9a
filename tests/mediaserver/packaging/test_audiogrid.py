"""Audio times: sample-accurate whatever the container's milliseconds say."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from mediaserver.packaging.audiogrid import TOLERANCE, AudioGrid

RATE, FRAME = 44_100, 1024


def place(grid: AudioGrid, milliseconds: list[int], duration: int = FRAME) -> list[int]:
    return [grid.place(round(stamp * RATE / 1000), duration) for stamp in milliseconds]


def test_rounding_to_milliseconds_leaves_no_trace() -> None:
    times = place(AudioGrid(RATE), [int(index * FRAME * 1000 / RATE) for index in range(1000)])
    assert {b - a for a, b in itertools.pairwise(times)} == {FRAME}


@given(st.lists(st.integers(-19, 19), min_size=2, max_size=200))
def test_jitter_below_the_tolerance_leaves_no_trace(jitter: list[int]) -> None:
    times = place(AudioGrid(RATE), [100 + int(i * FRAME * 1000 / RATE) + j for i, j in enumerate(jitter)])
    assert {b - a for a, b in itertools.pairwise(times)} == {FRAME}


def test_lost_packets_move_the_grid_at_once() -> None:
    stamps = [int(index * FRAME * 1000 / RATE) for index in range(100)]
    times = place(AudioGrid(RATE), stamps[:50] + stamps[60:])
    assert abs(times[50] - 60 * FRAME) < RATE // 1000
    assert times[51] - times[50] == FRAME


def test_stamps_that_fall_behind_are_caught_up_without_an_overlap() -> None:
    stamps = [int(index * FRAME * 1000 / RATE) for index in range(100)]
    times = place(AudioGrid(RATE), stamps[:50] + [stamp - 200 for stamp in stamps[50:]])
    steps = [b - a for a, b in itertools.pairwise(times)]
    assert set(steps) == {FRAME, FRAME // 2}
    assert steps[-1] == FRAME
    assert abs(times[-1] - round((stamps[-1] - 200) * RATE / 1000)) <= TOLERANCE * RATE


def test_packets_of_unknown_duration_go_where_their_stamps_say() -> None:
    assert place(AudioGrid(1000 * 44), [0, 10, 10, 30], 0) == [0, 441, 442, 1323]


@given(st.lists(st.tuples(st.integers(-(10**9), 10**9), st.integers(0, 5000)), min_size=2, max_size=100))
def test_times_rise_strictly_whatever_the_stamps_do(stamps: list[tuple[int, int]]) -> None:
    grid = AudioGrid(RATE)
    times = [grid.place(stamp, duration) for stamp, duration in stamps]
    assert all(b > a for a, b in itertools.pairwise(times))
