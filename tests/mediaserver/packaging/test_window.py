"""What a window holds, and what it says to every position in it."""

import pytest

from mediaserver.packaging.answer import Ready
from mediaserver.packaging.segment import Epoch, InitSegment, Segment
from mediaserver.packaging.window import Position, Signal, Window
from protocols.codec import AudioParameters
from protocols.media import Codec, Track

READY, WAIT, GONE, TOO_FAR = Position
INIT = InitSegment(0, Track(Codec.AAC, b""), AudioParameters(48_000, 2, "mp4a.40.2", 1024), 1000, Ready(b"init", "audio/mp4", 0))
EPOCH = Epoch(0, 0, 0.0, 0.0)


def grow(window: Window, parts: int, *, complete: bool = True, init: InitSegment = INIT) -> Segment:
    """One more segment of so many parts of 0.2 s."""
    sequence = window.next_sequence
    segment = Segment(window.kind, sequence, init, EPOCH, sequence * 1000, 0, new_init=False)
    window.begin(segment)
    for index in range(parts):
        window.add(b"%d.%d " % (sequence, index), 200, independent=index == 0, frames=1)
    if complete:
        window.complete()
    window.changed()
    return segment


def test_a_window_is_not_taken_for_one_that_was_there_before() -> None:
    assert len({Window("audio", 10, 3, 0.0, 1.0).serial for _ in range(100)}) == 100


@pytest.fixture
def window() -> Window:
    """Segments 10, 11 of five parts, and three parts of 12."""
    window = Window("audio", 10, 3, 0.0, 1.0)
    grow(window, 5)
    grow(window, 5)
    grow(window, 3, complete=False)
    return window


@pytest.mark.parametrize(
    ("msn", "part", "expected"),
    [
        (0, None, READY),
        (10, 99, READY),
        (11, None, READY),
        (11, 4, READY),
        (11, 5, READY),  # beyond its last part: the first of the next
        (12, 0, READY),
        (12, 2, READY),
        (12, 3, WAIT),
        (12, 17, WAIT),  # two and an Advance Part Limit of fifteen
        (12, 18, TOO_FAR),
        (12, None, WAIT),
        (13, None, WAIT),
        (13, 0, WAIT),
        (14, None, TOO_FAR),
        (14, 0, TOO_FAR),
        (10**19, 0, TOO_FAR),
    ],
)
def test_poll_of_a_playlist_position(window: Window, msn: int, part: int | None, expected: Position) -> None:
    assert window.poll(msn, part, 15) is expected


def test_a_part_may_be_waited_for_that_another_segment_has() -> None:
    window = Window("video", 10, 3, 0.0, 1.0)
    grow(window, 25)
    grow(window, 2, complete=False)
    assert window.poll(11, 24, 15) is WAIT
    assert window.poll(11, 26, 15) is TOO_FAR


@pytest.mark.parametrize(
    ("msn", "part", "expected"),
    [(11, 4, READY), (11, 5, WAIT), (11, None, READY), (12, 0, WAIT), (12, None, WAIT), (13, None, WAIT), (14, None, TOO_FAR)],
)
def test_poll_between_two_segments(msn: int, part: int | None, expected: Position) -> None:
    window = Window("audio", 10, 3, 0.0, 1.0)
    grow(window, 5)
    grow(window, 5)
    assert window.poll(msn, part, 15) is expected


@pytest.mark.parametrize(
    ("sequence", "part", "expected"),
    [
        (9, None, GONE),
        (9, 0, GONE),
        (10, None, READY),
        (10, 4, READY),
        (10, 5, GONE),
        (12, None, WAIT),
        (12, 2, READY),
        (12, 3, WAIT),
        (12, 4, GONE),
        (13, None, WAIT),
        (13, 0, TOO_FAR),
        (14, None, TOO_FAR),
        (10**18, 0, TOO_FAR),
    ],
)
def test_find_of_a_segment_or_part(window: Window, sequence: int, part: int | None, expected: Position) -> None:
    assert window.find(sequence, part) is expected


def test_the_hinted_part_between_two_segments_is_the_first_of_the_next() -> None:
    window = Window("audio", 10, 3, 0.0, 1.0)
    grow(window, 5)
    assert window.find(11, 0) is WAIT
    assert window.find(11, 1) is TOO_FAR


def test_after_the_end_every_position_is_answered_and_nothing_is_awaited(window: Window) -> None:
    window.complete()
    window.end()
    assert window.poll(99, 5, 15) is READY
    assert window.find(13, None) is TOO_FAR
    assert window.find(12, None) is READY


def test_an_empty_window_waits() -> None:
    window = Window("audio", 10, 3, 0.0, 1.0)
    assert window.poll(10, 0, 15) is WAIT
    assert window.find(10, 0) is WAIT
    assert window.find(9, None) is GONE
    assert window.get(10) is None


def test_it_is_bounded_and_old_segments_stay_fetchable_for_a_while() -> None:
    window = Window("audio", 10, 3, 0.0, 1.0)
    for _ in range(50):
        grow(window, 5)
    assert [segment.sequence for segment in window.visible()] == [57, 58, 59]
    assert window.find(54, None) is READY
    assert window.find(53, None) is GONE
    assert len(window.segments) == 6


def test_dvr_seconds_hold_more_segments_than_the_list() -> None:
    window = Window("audio", 10, 3, 20.0, 1.0)
    for _ in range(50):
        grow(window, 5)
    assert sum(segment.seconds for segment in window.visible()) == pytest.approx(20.0)


def test_old_segments_keep_their_bytes_once_and_answer_for_their_parts() -> None:
    window = Window("audio", 10, 7, 30.0, 1.0)
    for _ in range(12):
        grow(window, 3)
    old = window.get(10)
    assert old is not None
    assert old.settled
    assert old.body == b"10.0 10.1 10.2 "
    assert [old.part_body(index) for index in range(3)] == [b"10.0 ", b"10.1 ", b"10.2 "]
    assert old.read(5) == (b"10.1 10.2 ", True)
    assert not window.segments[-1].settled


def test_a_growing_segment_is_read_from_any_offset() -> None:
    window = Window("audio", 10, 3, 0.0, 1.0)
    segment = grow(window, 2, complete=False)
    assert segment.read(0) == (b"10.0 10.1 ", False)
    assert segment.read(5) == (b"10.1 ", False)
    assert segment.read(7) == (b".1 ", False)
    assert segment.read(10) == (b"", False)
    assert segment.read(5)[0] is segment.parts[1].body
    window.complete()
    assert segment.read(10) == (b"", True)


def test_one_answer_object_serves_all_who_ask() -> None:
    window = Window("audio", 10, 3, 0.0, 1.0)
    segment = grow(window, 2)
    assert segment.answer(0) is segment.answer(0)
    assert segment.answer(None) is segment.answer(None)
    assert segment.answer(1).body == b"10.1 "
    assert segment.answer(None).content_type == "audio/mp4"


def test_init_segments_leave_with_the_last_segment_that_needs_them() -> None:
    window = Window("audio", 10, 3, 0.0, 1.0)
    grow(window, 1)
    other = InitSegment(1, INIT.track, INIT.parameters, 1000, INIT.answer)
    for _ in range(5):
        grow(window, 1, init=other)
    assert set(window.inits) == {0, 1}
    grow(window, 1, init=other)
    assert set(window.inits) == {1}


def test_the_target_duration_covers_the_longest_segment_and_never_falls() -> None:
    window = Window("audio", 10, 3, 0.0, 1.0)
    assert window.target_duration == 1
    grow(window, 13)
    assert window.target_duration == 3
    for _ in range(20):
        grow(window, 5)
    assert window.target_duration == 3


def test_the_target_duration_covers_gaps() -> None:
    window = Window("video", 10, 3, 0.0, 1.0)
    grow(window, 5)
    window.skip(Segment("video", 11, INIT, EPOCH, 11_000, 0, new_init=False, duration=2_700))
    assert window.target_duration == 3


def test_a_signal_calls_each_waiting_callback_once() -> None:
    signal = Signal()
    called: list[int] = []
    callbacks = [lambda index=index: called.append(index) for index in range(500)]
    for callback in callbacks:
        signal.add(callback)
    signal.discard(callbacks[0])
    signal.discard(callbacks[0])
    signal.fire()
    signal.fire()
    assert called == list(range(1, 500))
    assert len(signal) == 0


def test_a_callback_may_wait_again_while_it_is_called() -> None:
    signal = Signal()
    calls = 0

    def again() -> None:
        nonlocal calls
        calls += 1
        signal.add(again)

    signal.add(again)
    signal.fire()
    signal.fire()
    assert calls == 2
