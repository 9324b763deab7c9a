"""Where parts and segments end, for any frame rate, jitter and GOP."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediaserver.packaging.segmenter import PART_MINIMUM, Cut, FrameClock, Segmenter, part_limit

SCALE = 90_000


def run(segmenter: Segmenter, durations: list[int], keyframes: list[bool]) -> list[list[list[int]]]:
    """Segments of parts of durations, as the segmenter wants them; the rest is the last part of the last segment."""
    segments: list[list[list[int]]] = [[[]]]
    for index, duration in enumerate(durations):
        following = index + 1 < len(keyframes) and keyframes[index + 1]
        step = segmenter.step(duration, 1000, boundary=following)
        if step.part_before:
            segments[-1].append([])
        segments[-1][-1].append(duration)
        if step.after is Cut.PART:
            segments[-1].append([])
        elif step.after is Cut.SEGMENT:
            segments.append([[]])
    return segments


def make(part_duration: float, frame: int, segment: float = 2.0, maximum: float = 10.0) -> Segmenter:
    limit = int(part_limit(part_duration, frame / SCALE) * SCALE)
    return Segmenter(int(0.95 * segment * SCALE), int(maximum * SCALE), limit, frame, heaviest=100_000_000)


@pytest.mark.parametrize("rate", [10, 12.5, 15, 24000 / 1001, 24, 25, 30000 / 1001, 30, 48, 50, 60, 120])
@pytest.mark.parametrize("part_duration", [0.1, 0.2, 0.333, 0.5, 1.0])
def test_parts_fill_at_least_85_percent_of_their_target_at_every_usual_frame_rate(rate: float, part_duration: float) -> None:
    stamps = [int(index * 1000 / rate) for index in range(1000)]
    durations = [(b - a) * 90 for a, b in itertools.pairwise(stamps)]
    gop = round(2 * rate)
    segmenter = make(part_duration, round(SCALE / rate))
    segments = run(segmenter, durations, [index % gop == 0 for index in range(len(durations))])
    for segment in segments[:-1]:
        assert sum(map(len, segment)) == gop
        for part in segment:
            assert 0 < sum(part) <= segmenter.part_limit
        for part in segment[:-1]:
            assert sum(part) >= PART_MINIMUM * segmenter.part_limit


@settings(max_examples=300)
@given(
    durations=st.lists(st.integers(1, 2 * SCALE), min_size=1, max_size=200),
    keys=st.integers(0, 2**200 - 1).map(lambda bits: [bool(bits >> place & 1) for place in range(200)]),
    frame=st.integers(1, SCALE),
)
def test_whatever_comes_nothing_is_lost_parts_keep_the_limit_and_segments_the_maximum(
    durations: list[int], keys: list[bool], frame: int
) -> None:
    segmenter = make(0.2, frame)
    segments = run(segmenter, durations, keys)
    assert [d for segment in segments for part in segment for d in part] == durations
    position = 0
    for index, segment in enumerate(segments):
        length = sum(map(sum, segment))
        if index and position < len(durations) and not keys[position]:
            # Cut without a keyframe: only because there was no room for another frame.
            before = sum(map(sum, segments[index - 1]))
            assert before + frame > segmenter.maximum
        if index + 1 < len(segments) and length + frame <= segmenter.maximum:
            assert length >= segmenter.minimum
        position += sum(map(len, segment))
        for part in segment:
            # A frame cannot be divided: one that is longer than the limit is a part of its own.
            assert sum(part) <= segmenter.part_limit or len(part) == 1


def test_a_gop_that_is_a_little_short_of_the_duration_is_still_a_segment() -> None:
    segments = run(make(0.2, 3000), [2995] * 180, [index % 60 == 0 for index in range(180)])
    assert [sum(map(len, segment)) for segment in segments if segment != [[]]] == [60, 60, 60]


def test_without_keyframes_a_segment_ends_at_the_maximum() -> None:
    segments = run(make(0.2, 3000, maximum=4.0), [3000] * 300, [False] * 300)
    assert [sum(map(sum, segment)) for segment in segments[:-1]] == [4 * SCALE, 4 * SCALE]


@pytest.mark.parametrize("gop", [299, 300, 301])
def test_behind_a_forced_cut_the_next_keyframe_ends_the_segment(gop: int) -> None:
    """However soon it comes: or no segment would begin with a keyframe ever again."""
    keys = [index % gop == 0 for index in range(4 * gop)]
    segments = run(make(0.2, 3000, maximum=10.0), [3000] * len(keys), keys)
    lengths = [sum(map(len, segment)) for segment in segments if segment != [[]]]
    assert lengths[:3] == ([gop] * 3 if gop <= 300 else [300, 1, 300])


def test_a_following_track_ends_its_segments_only_where_it_is_told() -> None:
    segmenter = Segmenter(2 * SCALE, 100 * SCALE, 18_000, 1920, heaviest=100_000_000, follow=True)
    assert segmenter.step(1920, 1000, boundary=True).after is Cut.SEGMENT
    assert all(segmenter.step(1920, 1000, boundary=False).after is not Cut.SEGMENT for _ in range(500))


def test_a_segment_ends_at_its_weight_however_little_time_it_took() -> None:
    segmenter = make(0.2, 3000)
    cuts = [segmenter.step(1, 30_000_000, boundary=False).after for _ in range(8)]
    assert cuts == [Cut.NONE, Cut.NONE, Cut.NONE, Cut.SEGMENT] * 2


def test_a_segment_that_is_cut_at_a_keyframe_is_not_cut_short() -> None:
    """Pictures alone, each a keyframe, at twice the weight that is meant: shorter segments, all alike."""
    segmenter = make(0.2, 3600)
    cuts = [segmenter.step(3600, 4_000_000, boundary=True).after for _ in range(100)]
    assert [index + 1 for index, cut in enumerate(cuts) if cut is Cut.SEGMENT] == [25, 50, 75, 100]


def test_reset_forgets_what_was_gathered() -> None:
    segmenter = make(0.2, 3000)
    for _ in range(5):
        segmenter.step(3000, 1000, boundary=False)
    segmenter.reset()
    steps = [segmenter.step(3000, 1000, boundary=False).after for _ in range(6)]
    assert steps == [Cut.NONE] * 5 + [Cut.PART]


@pytest.mark.parametrize(("part", "frame", "frames"), [(0.2, 1 / 30, 6), (0.2, 0.04, 5), (0.2, 1 / 24, 4), (0.2, 0.5, 1)])
def test_the_part_limit_is_a_number_of_whole_frames(part: float, frame: float, frames: int) -> None:
    assert part_limit(part, frame) == pytest.approx(frames * frame, abs=0.002)


def test_the_part_limit_is_the_setting_while_frames_are_unknown() -> None:
    assert part_limit(0.2, 0.0) == 0.2


def test_the_frame_clock_sees_through_rounding_and_a_hiccup() -> None:
    clock = FrameClock(90)
    seen = [clock.learn(duration) for duration in (3060, 2970, 2970, 30_000, 3060, 2970, 2970)]
    assert seen[0] == 3060
    assert seen[-1] == 3000


def test_the_frame_clock_stops_learning() -> None:
    clock = FrameClock(90)
    assert [clock.learn(3000) for _ in range(20)].count(None) == 4
