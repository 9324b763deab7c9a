from mediaserver.relay.backlog import Backlog, RelayClock, Word
from protocols.media import Codec, MediaKind, Metadata, Packet, Track

HEADER = Track(Codec.H264, b"config", b"body")
SOUND = Track(Codec.AAC, b"config", b"body")


def video(dts: int, *, keyframe: bool = False, size: int = 100) -> Packet:
    return Packet(MediaKind.VIDEO, dts, keyframe, bytes(size), 5)


def audio(dts: int) -> Packet:
    return Packet(MediaKind.AUDIO, dts, True, bytes(10), 2)


def begun(*words: Word, max_bytes: int = 10_000, max_ms: int = 1000) -> Backlog:
    backlog = Backlog(max_bytes, max_ms)
    for word in words:
        if isinstance(word, Packet):
            backlog.append(word)
        else:
            backlog.declare(word)
    backlog.begun()
    return backlog


def drain(backlog: Backlog) -> list[Word]:
    return [backlog.take() for _ in range(len(backlog))]


def test_it_begins_at_a_keyframe() -> None:
    backlog = begun(HEADER, SOUND)
    for packet in (audio(0), video(10), video(20, keyframe=True), audio(21)):
        backlog.append(packet)
    assert drain(backlog) == [HEADER, SOUND, video(20, keyframe=True), audio(21)]
    assert (backlog.nbytes, backlog.dropped) == (0, 0)


def test_sound_alone_begins_anywhere() -> None:
    backlog = begun(SOUND)
    backlog.append(audio(0))
    assert len(backlog) == 2


def test_too_many_bytes_are_dropped_up_to_a_keyframe_that_leaves_room() -> None:
    backlog = begun(HEADER)
    for number in range(101):
        backlog.append(video(number, keyframe=number in (0, 40, 60)))
    left = drain(backlog)
    assert left[0] == HEADER
    assert left[1] == video(60, keyframe=True)
    assert left[-1] == video(100)
    assert backlog.dropped == 60


def test_without_such_a_keyframe_all_is_dropped_and_the_next_one_waited_for() -> None:
    backlog = begun(HEADER)
    for number in range(150):
        backlog.append(video(number, keyframe=number in (0, 120)))
    left = drain(backlog)
    assert left[:2] == [HEADER, video(120, keyframe=True)]
    assert backlog.dropped == 120


def test_what_lies_too_long_is_dropped_too() -> None:
    backlog = begun(HEADER)
    for number in range(30):
        backlog.append(video(number * 40, keyframe=number % 20 == 0))
    assert drain(backlog)[:2] == [HEADER, video(800, keyframe=True)]


def test_a_gop_that_is_replayed_is_old_and_not_late() -> None:
    gop = [video(number * 40, keyframe=number == 0) for number in range(40)]
    backlog = begun(HEADER, *gop)
    assert len(backlog) == 41
    backlog.append(video(1600))
    assert backlog.dropped == 0
    for number in range(41, 70):
        backlog.append(video(number * 40))
    assert backlog.dropped


def test_a_gop_that_is_larger_than_what_may_wait_is_not_replayed() -> None:
    backlog = begun(HEADER, video(0, keyframe=True, size=20_000))
    assert drain(backlog) == [HEADER]


def test_of_parameters_that_are_passed_over_the_newest_are_kept() -> None:
    newer = Track(Codec.H264, b"newer", b"newer")
    backlog = begun(HEADER, video(0, keyframe=True))
    backlog.declare(newer)
    backlog.append(video(1, keyframe=True, size=9_950))
    assert drain(backlog) == [newer]


def test_words_about_the_stream_are_bounded_too() -> None:
    """An encoder may describe itself as often, and at as great a length, as it likes while the target takes nothing."""
    backlog = begun(HEADER, SOUND, video(0, keyframe=True))
    newest = Track(Codec.H264, b"newer", bytes(200))
    for _ in range(1000):
        backlog.declare(Track(Codec.H264, b"old", bytes(200)))
        backlog.declare(Metadata(bytes(300)))
        backlog.declare(newest)
    assert drain(backlog)[2:] == [video(0, keyframe=True), Metadata(bytes(300)), newest]
    assert backlog.nbytes == 0
    # With packets in between they count like those.
    for number in range(1000):
        backlog.append(video(number, keyframe=True))
        backlog.declare(Metadata(bytes(300)))
    assert backlog.nbytes <= backlog.max_bytes
    left = drain(backlog)
    assert (left[-1], backlog.nbytes) == (Metadata(bytes(300)), 0)


def test_a_targets_clock_begins_at_zero_and_never_goes_back() -> None:
    clock = RelayClock()
    assert clock.now == 0
    assert [clock.place(packet) for packet in (video(5000, keyframe=True), audio(4990), video(5040))] == [0, 0, 40]
    # Sent once more after a loss.
    again = (video(5000, keyframe=True), audio(4990), audio(5011), video(5040), video(5080), video(5120))
    assert [clock.place(packet) for packet in again] == [41, 1, 11, 42, 80, 120]
    assert clock.now == 120
