from fractions import Fraction

import pytest

from protocols.media import MediaKind
from protocols.timebase import (
    BACKWARD_LIMIT,
    BACKWARD_PACKETS,
    FORWARD_LIMIT,
    FRAME,
    REGULAR_LIMIT,
    SAME_PACKETS,
    Timeline,
    rescale,
)

VIDEO, AUDIO = MediaKind.VIDEO, MediaKind.AUDIO
HOUR = 3_600_000
WRAP = 1 << 32


def feed(timeline: Timeline, kind: MediaKind, timestamps: list[int]) -> list[int]:
    """Where they land; none of them may be a discontinuity."""
    placed = []
    for timestamp in timestamps:
        placed.append(timeline.place(kind, timestamp))
        assert not timeline.discontinuity
    return placed


def interleave(timeline: Timeline, video: range, audio: range) -> tuple[list[int], list[int], list[MediaKind]]:
    """Feed both by arrival, each from the start of its range at its step: (video out, audio out, kinds that were marked)."""
    arrivals = [(t - video.start, 0, VIDEO, t) for t in video] + [(t - audio.start, 1, AUDIO, t) for t in audio]
    placed: dict[MediaKind, list[int]] = {VIDEO: [], AUDIO: []}
    marked = []
    for _, _, kind, timestamp in sorted(arrivals, key=lambda arrival: arrival[:2]):
        placed[kind].append(timeline.place(kind, timestamp % WRAP))
        if timeline.discontinuity:
            marked.append(kind)
    return placed[VIDEO], placed[AUDIO], marked


@pytest.mark.parametrize("value", [0, 1, -1, 2, 7, -7, 1_000_003, 1 << 40, -(1 << 40) - 1])
@pytest.mark.parametrize(
    ("from_scale", "to_scale"), [(1000, 90_000), (90_000, 1000), (1000, 44_100), (44_100, 1000), (3, 2), (2, 1)]
)
def test_rescale_is_exact_and_rounds_halves_away_from_zero(value, from_scale, to_scale):
    exact = Fraction(value) * to_scale / from_scale
    result = rescale(value, from_scale, to_scale)
    assert abs(result - exact) <= Fraction(1, 2)
    if abs(result - exact) == Fraction(1, 2):
        assert abs(result) > abs(exact)


def test_a_sound_clock_passes_through_as_it_is():
    timeline = Timeline()
    video, audio, marked = interleave(timeline, range(40, 9_000, 33), range(23, 9_000, 23))
    assert video == list(range(40, 9_000, 33))
    assert audio == list(range(23, 9_000, 23))
    assert marked == []


def test_the_first_timestamp_may_be_anything():
    for first in (0, 1, 86_400_000, WRAP - 1):
        assert feed(Timeline(), AUDIO, [first]) == [first]


def test_a_wrap_at_32_bits_continues_for_both_kinds():
    timeline = Timeline()
    start = WRAP - 1_000
    video, audio, marked = interleave(timeline, range(start, start + 3_000, 33), range(start - 7, start + 3_000, 23))
    assert video == list(range(start, start + 3_000, 33))
    assert audio == list(range(start - 7, start + 3_000, 23))
    assert marked == []


def test_small_steps_back_are_held_and_leave_no_trace():
    assert feed(Timeline(), VIDEO, [0, 120, 40, 80, 240, 160, 200, 280]) == [0, 120, 120, 120, 240, 240, 240, 280]


def test_a_step_back_across_the_wrap_is_held_too():
    assert feed(Timeline(), VIDEO, [WRAP - 10, 23, WRAP - 5, 56]) == [WRAP - 10, WRAP + 23, WRAP + 23, WRAP + 56]


def test_a_gap_up_to_the_limit_is_passed_on():
    assert feed(Timeline(), VIDEO, [0, FORWARD_LIMIT, 2 * FORWARD_LIMIT]) == [0, FORWARD_LIMIT, 2 * FORWARD_LIMIT]


@pytest.mark.parametrize("start", [0, WRAP - 40_000])
@pytest.mark.parametrize("apart", [FORWARD_LIMIT + 1, 15_000, REGULAR_LIMIT])
def test_pictures_that_are_regularly_far_apart_jump_but_once(start, apart):
    timeline = Timeline()
    assert feed(timeline, VIDEO, [start]) == [start]
    assert timeline.place(VIDEO, (start + apart) % WRAP) == start + FRAME
    assert timeline.discontinuity
    rest = [start + apart + number * apart for number in range(1, 19)]
    assert feed(timeline, VIDEO, [timestamp % WRAP for timestamp in rest]) == [each - apart + FRAME for each in rest]


@pytest.mark.parametrize("steps", [[15_000, 31_000], [REGULAR_LIMIT, REGULAR_LIMIT + 1], [HOUR, 15_000], [15_000, 33, 15_000]])
def test_steps_that_are_not_regular_are_jumps(steps):
    timeline = Timeline()
    clock = 5
    feed(timeline, VIDEO, [clock])
    for step in steps:
        clock += step
        timeline.place(VIDEO, clock)
        assert timeline.discontinuity == (step > FORWARD_LIMIT)


@pytest.mark.parametrize("jump", [HOUR, -HOUR, FORWARD_LIMIT + 500, -BACKWARD_LIMIT - 500])
def test_a_jump_is_not_passed_on_and_marked_once_for_each_kind(jump):
    timeline = Timeline()
    interleave(timeline, range(2 * HOUR, 2 * HOUR + 2_000, 33), range(2 * HOUR, 2 * HOUR + 2_000, 23))
    last = 2 * HOUR + 2_000
    after = last + jump
    video, audio, marked = interleave(timeline, range(after, after + 3_000, 33), range(after - 10, after + 3_000, 23))
    assert marked == [VIDEO, AUDIO]
    assert last <= video[0] <= last + 2 * FRAME
    # The sound was 10 ms behind the pictures, and is so again once it has waited for its own last timestamp.
    assert video[-1] - video[0] == (len(video) - 1) * 33
    assert audio[-1] == video[0] - 10 + (len(audio) - 1) * 23
    assert audio == sorted(audio)


def test_a_packet_of_the_old_clock_among_those_of_the_new_makes_no_second_jump():
    timeline = Timeline()
    feed(timeline, VIDEO, [1_000, 1_033])
    feed(timeline, AUDIO, [1_010, 1_031])
    assert timeline.place(VIDEO, HOUR) == 1_066
    assert timeline.discontinuity
    assert timeline.place(AUDIO, 1_052) == 1_052
    assert timeline.discontinuity
    assert feed(timeline, AUDIO, [HOUR, HOUR + 21]) == [1_066, 1_087]
    assert feed(timeline, VIDEO, [HOUR + 33]) == [1_099]


@pytest.mark.parametrize("apart", [HOUR, -HOUR, 1 << 31])
def test_clocks_far_apart_from_the_start_are_put_side_by_side_and_never_marked(apart):
    timeline = Timeline()
    video, audio, marked = interleave(
        timeline, range(2 * HOUR, 2 * HOUR + 5_000, 33), range(2 * HOUR + apart, 2 * HOUR + apart + 5_000, 23)
    )
    assert marked == []
    assert video == list(range(2 * HOUR, 2 * HOUR + 5_000, 33))
    assert audio == list(range(2 * HOUR, 2 * HOUR + 5_000, 23))


def test_clocks_far_apart_that_both_jump_are_marked_once_for_each_kind():
    timeline = Timeline()
    interleave(timeline, range(0, 1_000, 33), range(HOUR, HOUR + 1_000, 23))
    video, audio, marked = interleave(timeline, range(5 * HOUR, 5 * HOUR + 2_000, 33), range(9 * HOUR, 9 * HOUR + 2_000, 23))
    assert marked == [VIDEO, AUDIO]
    assert abs(video[0] - audio[0]) <= FRAME


@pytest.mark.parametrize("late", [5_000, -5_000, 9_999])
def test_sound_that_starts_seconds_before_or_after_the_pictures_keeps_its_place(late):
    timeline = Timeline()
    feed(timeline, VIDEO, list(range(20_000, 21_000, 33)))
    assert feed(timeline, AUDIO, [20_000 + late, 20_023 + late]) == [20_000 + late, 20_023 + late]


def test_nothing_lands_before_zero():
    timeline = Timeline()
    feed(timeline, VIDEO, [5])
    assert feed(timeline, AUDIO, [WRAP - 20, 3, 26]) == [0, 3, 26]


@pytest.mark.parametrize("kind", [VIDEO, AUDIO])
def test_one_kind_may_pause_for_a_minute_while_the_other_goes_on(kind):
    timeline = Timeline()
    other = AUDIO if kind is VIDEO else VIDEO
    feed(timeline, kind, [0, 20])
    feed(timeline, other, list(range(0, 60_000, 25)))
    assert feed(timeline, kind, [60_000, 60_020]) == [60_000, 60_020]


def test_a_pause_of_both_that_only_one_shows_as_a_jump_leaves_them_in_step():
    timeline = Timeline()
    feed(timeline, VIDEO, [0, 33])
    feed(timeline, AUDIO, [0, 600])
    assert timeline.place(VIDEO, 10_700) == 633
    assert timeline.discontinuity
    assert timeline.place(AUDIO, 10_580) == 600  # 120 ms before the picture, but never back
    assert timeline.discontinuity
    assert feed(timeline, AUDIO, [10_700, 10_721]) == [633, 654]


def test_a_jump_of_one_kind_alone_marks_the_other_and_leaves_its_clock():
    timeline = Timeline()
    feed(timeline, VIDEO, [0, 33])
    feed(timeline, AUDIO, [0, 21])
    assert timeline.place(VIDEO, HOUR) == 66
    assert timeline.discontinuity
    assert timeline.place(AUDIO, 42) == 42
    assert timeline.discontinuity
    assert feed(timeline, AUDIO, [63, 84]) == [63, 84]
    assert feed(timeline, VIDEO, [HOUR + 33]) == [99]


def test_a_clock_that_stands_still_runs_on_by_frames():
    placed = feed(Timeline(), VIDEO, [7] * 100)
    assert placed[: SAME_PACKETS + 1] == [7] * (SAME_PACKETS + 1)
    assert placed[-1] == 7 + (99 - SAME_PACKETS) * FRAME
    assert placed == sorted(placed)


def test_a_clock_that_stands_still_follows_the_other_kind():
    timeline = Timeline()
    for n in range(200):
        feed(timeline, VIDEO, [n * 33])
        placed = feed(timeline, AUDIO, [0])
    assert placed == [199 * 33]


def test_a_clock_that_moves_again_after_standing_still_goes_on_from_there():
    timeline = Timeline()
    last = feed(timeline, VIDEO, [7] * 50)[-1]
    assert feed(timeline, VIDEO, [40]) == [last + 33]


def test_a_clock_that_trembles_in_one_place_becomes_a_jump():
    timeline = Timeline()
    feed(timeline, VIDEO, [100])
    feed(timeline, VIDEO, [99] * BACKWARD_PACKETS)
    assert timeline.place(VIDEO, 99) == 100 + FRAME
    assert timeline.discontinuity


def test_a_publisher_that_returns_goes_on_after_the_gap_whatever_its_clock_says():
    timeline = Timeline()
    interleave(timeline, range(10_000, 12_000, 33), range(10_000, 12_000, 23))
    timeline.resume(500)
    video, audio, marked = interleave(timeline, range(0, 1_000, 33), range(5, 1_000, 23))
    assert marked == [VIDEO, AUDIO]
    assert video[:2] == [11_980 + 500, 11_980 + 533]
    assert audio[0] == video[0] + 5


def test_a_publisher_that_returns_with_a_clock_that_happens_to_fit_is_treated_no_differently():
    timeline = Timeline()
    feed(timeline, VIDEO, [0, 33])
    timeline.resume(40)
    assert timeline.place(VIDEO, 66) == 73
    assert timeline.discontinuity
    assert feed(timeline, VIDEO, [99]) == [106]


def test_a_publisher_that_returns_twice_before_its_first_packet_waits_but_once():
    timeline = Timeline()
    feed(timeline, AUDIO, [100])
    timeline.resume(40)
    timeline.resume(40)
    assert timeline.place(AUDIO, 0) == 140
    assert timeline.discontinuity
    assert timeline.place(VIDEO, 0) == 140


def test_a_return_before_any_packet_changes_nothing():
    timeline = Timeline()
    timeline.resume(1_000)
    assert feed(timeline, VIDEO, [5]) == [5]


def test_24_hours_twice_over_never_go_back():
    timeline = Timeline()
    last = -1
    for timestamp in range(WRAP - HOUR, WRAP + 48 * HOUR, 9_999):
        placed = timeline.place(VIDEO, timestamp % WRAP)
        assert not timeline.discontinuity
        assert placed == timestamp > last
        last = placed
