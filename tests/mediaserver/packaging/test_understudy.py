"""A stream whose picture falls silent while its sound goes on: its renditions stand still with it, and come back with it."""

import pytest

from mediaserver.packaging.segment import Segment
from mediaserver.packaging.standin import MAX_PICTURE
from protocols.media import MediaKind, Packet
from tests.media import Clips
from tests.mediaserver.packaging.ladder import Items, Town, a_ladder, rung_clips, source_clip
from tests.mediaserver.packaging.material import Settings, decode, only, shifted

VIDEO, AUDIO = MediaKind.VIDEO, MediaKind.AUDIO
RUNG = "192p"
#: Turns of the clip (four seconds): with pictures, without, with pictures again.
SILENT = range(1, 4)
TURNS = 6


@pytest.fixture(scope="module")
def source(clips: Clips) -> Items:
    return source_clip(clips)


@pytest.fixture(scope="module")
def rung(clips: Clips) -> Items:
    return rung_clips(clips)[RUNG]


def packets(items: Items) -> list[Packet]:
    return [item for item in items if isinstance(item, Packet)]


def turns(items: Items, *, later: int = 0) -> Items:
    """The clip over and over; its pictures are missing in the middle, and for ``later`` ms more."""
    found: Items = [item for item in items if not isinstance(item, Packet)]
    back = SILENT.stop * 4000 + later
    for number in range(TURNS):
        for packet in packets(shifted(items, 4000 * number)):
            if packet.kind is AUDIO or number < SILENT.start or packet.dts >= back:
                found.append(packet)
    return found


def played(source: Items, rung: Items, settings: Settings | None = None) -> Town:
    """All of it, with the looks that are taken once a second."""
    town = Town(settings or Settings(dvr=60, always=True), a_ladder(RUNG))
    town.subject.start("show", 0.0)
    swept = [town.wall.at]

    def sweep() -> None:
        if town.wall.at - swept[0] >= 1:
            swept[0] = town.wall.at
            town.subject.sweep(town.wall.at)

    town.play(town.source(source), town.rung(RUNG, rung, 200.0), each=sweep)
    return town


def segments(town: Town, name: str, kind: MediaKind = VIDEO) -> dict[int, Segment]:
    each = town.subject._entries["show"].family.of(name)
    assert each is not None
    return {segment.sequence: segment for segment in each.renditions[kind].window.segments if segment.complete}


def seconds(segment: Segment) -> tuple[float, float]:
    begin = segment.time / segment.init.timescale
    return begin, begin + segment.seconds


def media(found: dict[int, Segment]) -> bytes:
    every = list(found.values())
    return every[0].init.answer.body + b"".join(segment.body for segment in every if not segment.gap)


@pytest.mark.parametrize("later", [0, 300, 700])
def test_its_renditions_stand_still_segment_by_segment_with_it(source: Items, rung: Items, later: int) -> None:
    """And go on without a hole, wherever in a segment the picture comes back."""
    town = played(turns(source, later=later), turns(rung, later=later))
    own, other = segments(town, ""), segments(town, RUNG)
    silent = [number for number, segment in own.items() if 10 < seconds(segment)[0] - seconds(next(iter(own.values())))[0] < 14]
    assert len(silent) >= 2
    for number in silent:
        assert seconds(other[number]) == pytest.approx(seconds(own[number]), abs=0.05)
        assert other[number].independent
        assert not other[number].gap
    assert max(segment.discontinuities for segment in other.values()) == 0
    assert not [number for number, segment in other.items() if segment.gap]
    assert [seconds(other[number])[1] for number in other] == pytest.approx(
        [seconds(own[number])[1] for number in other], abs=0.05
    )
    shown = decode(media(other))
    assert shown.frames > 200


@pytest.mark.parametrize("when", [2100, 2900, 3300])
def test_one_that_is_left_in_mid_segment_begins_with_the_next(source: Items, rung: Items, when: int) -> None:
    town = Town(Settings(dvr=60, always=True), a_ladder(RUNG))
    town.subject.start("show", 0.0)
    feeds = town.source(source), town.rung(RUNG, rung, 200.0)
    town.play(*feeds, until=1000)
    town.subject.sweep(town.wall.at)
    town.play(*feeds, until=when)
    town.subject._entries["show"].family.followers[RUNG].step_aside()
    town.play(*feeds)
    own, other = segments(town, ""), segments(town, RUNG)
    assert list(other) == list(range(min(other), max(other) + 1))
    whole = [number for number in other if seconds(other[number]) == pytest.approx(seconds(own[number]), abs=0.05)]
    assert len(whole) >= len(other) - 1
    assert not [number for number, segment in other.items() if segment.gap or not segment.independent]
    assert decode(media(other)).frames > 50


def test_one_that_lost_a_part_of_the_stream_before_is_left_to_itself(source: Items, rung: Items) -> None:
    lost = [item for item in turns(rung) if not isinstance(item, Packet) or item.dts < 1500 or item.dts >= SILENT.stop * 4000]
    town = played(turns(source), lost)
    other = segments(town, RUNG)
    begins = [seconds(segment)[0] for segment in other.values() if not segment.gap]
    assert begins == sorted(set(begins))
    assert max(other) == max(segments(town, ""))


def test_they_come_back_with_it_in_the_middle_of_a_group_of_pictures_too(source: Items, rung: Items) -> None:
    town = played(turns(source, later=500), turns(rung, later=500))
    own, other = segments(town, ""), segments(town, RUNG)
    last = sorted(own)[-3:]
    assert [number in other and not other[number].gap for number in last] == [True, True, True]
    for number in last:
        assert seconds(other[number]) == pytest.approx(seconds(own[number]), abs=0.05)


def test_a_picture_too_large_to_come_again_is_not_repeated(source: Items, rung: Items) -> None:
    size = MAX_PICTURE
    filler = size.to_bytes(4, "big") + b"\x0c" + bytes(size - 1)
    for item in packets(large := turns(rung)):
        if item.kind is VIDEO and item.keyframe:
            item.body += filler
    town = played(turns(source), large)
    first = seconds(next(iter(segments(town, "").values())))[0]
    assert not [s for s in segments(town, RUNG).values() if not s.gap and 8 < seconds(s)[0] - first < 15]


def test_a_rendition_that_is_over_is_not_kept_up(source: Items, rung: Items) -> None:
    town = Town(Settings(dvr=60, always=True), a_ladder(RUNG))
    town.subject.start("show", 0.0)
    town.play(town.source(source), town.rung(RUNG, rung, 200.0))
    town.subject.sweep(town.wall.at)
    town.hub.remove_rendition(town.rendition(RUNG))
    before = len(segments(town, RUNG))
    for turn in (1, 2, 3):
        town.play(town.source(only(shifted(source, 4000 * turn), AUDIO)))
        town.subject.sweep(town.wall.at)
    assert len(segments(town, RUNG)) == before
    assert len(segments(town, "")) > before + 2


def test_packaging_that_stops_leaves_nobody_waiting(source: Items, rung: Items) -> None:
    town = Town(Settings(dvr=60, always=True), a_ladder(RUNG))
    town.subject.start("show", 0.0)
    town.play(town.source(source), town.rung(RUNG, rung, 200.0))
    for turn in (1, 2):
        town.subject.sweep(town.wall.at)
        town.play(town.source(only(shifted(source, 4000 * turn), AUDIO)))
        town.subject.sweep(town.wall.at)
    timetable = town.subject._entries["show"].family.leader.timetable
    assert timetable._waiting
    town.subject.stop("show")
    assert not timetable._waiting
