"""What a process is given while it keeps up, and while it does not."""

from collections.abc import Iterator

from mediaserver.transcode.feed import STALL, Feed
from mediaserver.transcode.load import CATCH_UP, MOST_LAG
from mediaserver.worker.frames import Frame, PacketFrame
from protocols.media import MediaKind, Packet

#: A group of pictures in the order of decoding: I P B B P B B …, in frames of 40 ms.
ORDER = (0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 11, 10)
GOP = len(ORDER)


class Taker:
    """A process that takes everything, until it is ``full``."""

    def __init__(self) -> None:
        self.taken: list[Packet] = []
        self.full = False

    def send(self, frame: Frame) -> bool:
        assert isinstance(frame, PacketFrame)
        if not self.full:
            self.taken.append(frame.packet)
        return not self.full

    @property
    def shown(self) -> list[int]:
        """The numbers of the pictures, in the order in which they are shown."""
        return sorted(packet.pts // 40 for packet in self.taken)


def pictures(count: int) -> Iterator[Packet]:
    """So many, each with its number, shown a frame later than one could."""
    for number in range(count):
        later = ORDER[number % GOP] - number % GOP + 1
        yield Packet(MediaKind.VIDEO, number * 40, number % GOP == 0, b"\x17\x01\0\0\0p", 5, later * 40)


def give(feed: Feed, taker: Taker, packet: Packet, now: float) -> None:
    feed.give_picture(packet, taker, now, first=False)


def begun() -> tuple[Feed, Taker]:
    """One that has caught up."""
    feed, taker = Feed(0.0), Taker()
    feed.begin(0.0)
    feed.give_picture(next(pictures(1)), taker, 0.0, first=True)
    return feed, taker


def test_what_is_skipped_begins_behind_the_b_frames_of_what_was_given() -> None:
    for lagging in range(1, 7):
        feed, taker = begun()
        every = list(pictures(80))
        for packet in every[1:]:
            if packet.dts <= lagging * 40:
                feed.on_progress(packet.dts)
            # It does not come any further; far behind, pictures are left out.
            give(feed, taker, packet, packet.dts / 1000)
        assert len(taker.taken) < 80
        shown = taker.shown
        assert shown == list(range(shown[0], shown[0] + len(shown))), "no picture is missing between two"


def test_it_goes_on_with_a_keyframe_when_the_process_has_come_as_far() -> None:
    feed, taker = begun()
    every = list(pictures(200))
    for packet in every[1:100]:
        give(feed, taker, packet, packet.dts / 1000)
    given = len(taker.taken)
    assert given < 100
    feed.on_progress(every[given - 1].dts)
    for packet in every[100:]:
        feed.on_progress(taker.taken[-1].dts)
        give(feed, taker, packet, packet.dts / 1000)
    assert taker.taken[given].keyframe
    assert len(taker.taken) - given > 80
    assert every[given].dts - every[0].dts > MOST_LAG


def test_who_begins_may_be_far_behind_for_a_while() -> None:
    feed, taker = Feed(0.0), Taker()
    feed.begin(0.0)
    every = list(pictures(300))
    for packet in every[:100]:  # what was kept for it, before it has looked at anything
        feed.give_picture(packet, taker, 0.1, first=True)
    feed.on_progress(0)
    for packet in every[100:200]:
        give(feed, taker, packet, 1.0)
    assert len(taker.taken) == 200
    for packet in every[200:]:
        give(feed, taker, packet, CATCH_UP + 1)
    assert len(taker.taken) < 210


def test_what_a_full_pipe_does_not_take_is_skipped_to_the_next_keyframe() -> None:
    feed, taker = begun()
    every = list(pictures(40))
    for packet in every[1:5]:
        give(feed, taker, packet, 0.0)
    taker.full = True
    give(feed, taker, every[5], 0.0)
    taker.full = False
    for packet in every[6:]:
        feed.on_progress(packet.dts)
        give(feed, taker, packet, 0.0)
    assert [packet.dts // 40 for packet in taker.taken] == [*range(5), *range(GOP, 40)]


def test_behind_a_break_the_first_that_arrives_says_so() -> None:
    feed, taker = begun()
    feed.interrupt()
    every = list(pictures(30))
    for packet in every[1:]:
        give(feed, taker, packet, 0.0)
    # In the middle of a group of pictures nothing can begin; another process is told where it does.
    assert [packet.dts // 40 for packet in taker.taken if packet.discontinuity] == [1]
    feed.interrupt()
    feed.begin(0.0)
    for packet in every[1:]:
        give(feed, taker, packet, 0.0)
    assert [packet.dts // 40 for packet in taker.taken if packet.discontinuity][1:] == [GOP]
    sound = [Packet(MediaKind.AUDIO, time, True, b"\xaf\x01s", 2) for time in (0, 20, 40)]
    taker.full = True
    feed.give_sound(sound[0], taker, 0.0)
    taker.full = False
    for packet in sound[1:]:
        feed.give_sound(packet, taker, 0.0)
    assert [packet.discontinuity for packet in taker.taken[-2:]] == [True, False]


def test_who_is_silent_hangs_if_it_was_given_something_since() -> None:
    feed, taker = begun()
    feed.on_word(1.0)
    assert not feed.hangs(1000.0, looking=False)
    give(feed, taker, next(pictures(1)), 3.0)
    assert not feed.hangs(1.0 + STALL, looking=False)
    assert feed.hangs(1.1 + STALL, looking=False)
    assert not feed.hangs(1.1 + STALL, looking=True)
    assert feed.hangs(1.1 + 4 * STALL, looking=True)
