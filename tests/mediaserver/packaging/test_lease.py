"""Answers that are good until something changes: a lease that holds is a promise that asking again is of no use."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from mediaserver.hub.session import Session
from mediaserver.hub.stream import StreamState
from mediaserver.packaging.answer import Answer, Gone, Ready
from mediaserver.packaging.lease import NEVER, Lease
from mediaserver.packaging.packaged import LINGER
from mediaserver.packaging.resources import Resources
from mediaserver.packaging.thumbnails import RESOURCE, Thumbnails
from mediaserver.ports import PublishGrant, Wire
from protocols.media import MediaKind, Metadata, Packet
from tests.media import Clips
from tests.mediaserver.packaging.ladder import SIZES, Items, Town, a_ladder, rung_clips, source_clip

QUESTIONS = [
    *(("show", resource) for resource in ("index.m3u8", "manifest.mpd", "video.m3u8", "audio.m3u8", "192p/video.m3u8")),
    *(("show@96p", resource) for resource in ("index.m3u8", "manifest.mpd", "video.m3u8")),
]


@pytest.fixture(scope="module")
def source(clips: Clips) -> Items:
    return source_clip(clips)


@pytest.fixture(scope="module")
def rungs(clips: Clips) -> dict[str, Items]:
    return rung_clips(clips)


@pytest.fixture
def town(source: Items, rungs: dict[str, Items]) -> Town:
    """Four seconds of a stream with two renditions, packaged."""
    town = Town(ladder=a_ladder(*SIZES))
    town.subject.start("show", town.wall.at)
    town.play(*feeds(town, source, rungs))
    town.subject.sweep(town.wall.at)
    return town


def feeds(town: Town, source: Items, rungs: dict[str, Items]) -> Iterator[object]:
    yield town.source(source)
    for number, (name, items) in enumerate(rungs.items()):
        yield town.rung(name, items, 130.0 + 90 * number)


class Asker:
    """Asks everything again and again, and finds out whoever was promised more than he got."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.given: dict[tuple[str, str], tuple[Ready, Lease]] = {}
        self.held = self.changed = 0

    def look(self) -> None:
        for name, resource in QUESTIONS:
            before = self.given.pop((name, resource), None)
            answer = self.town.ask(resource, name)
            if before is not None:
                said, lease = before
                self.held += lease.holds
                self.changed += answer is not said
                assert answer is said or not lease.holds, (name, resource)
            if isinstance(answer, Ready):
                self.given[name, resource] = answer, self.town.subject.lease(name)


def test_nothing_changes_while_a_lease_holds(source: Items, rungs: dict[str, Items]) -> None:
    town = Town(ladder=a_ladder(*SIZES))
    asker = Asker(town)

    def twice() -> None:
        asker.look()
        asker.look()
        if int(town.time) % 1000 < 20:
            town.subject.sweep(town.wall.at)
            asker.look()

    town.play(*feeds(town, source, rungs), each=twice)
    assert asker.changed > 50
    town.hub.remove_rendition(town.rendition("192p"))
    asker.look()
    assert isinstance(town.ask("192p/video.m3u8"), Gone)
    town.play(town.rung("192p", rungs["192p"], 4000.0), each=asker.look)
    town.stream.move_to(StreamState.AWAY)
    asker.look()
    town.stream.move_to(StreamState.ENDED)
    asker.look()
    assert asker.held > 1000


@pytest.fixture
def a_packet(source: Items) -> Packet:
    return next(replace(item, dts=4040) for item in source if isinstance(item, Packet) and item.keyframe)


Event = Callable[[Town, Packet], object]
EVENTS: dict[str, Event] = {
    "a packet": lambda town, packet: town.publisher.write(packet),
    "a rendition's packet": lambda town, packet: town.rendition("96p").pass_on(packet),
    "a description": lambda town, packet: town.publisher.write_metadata(Metadata({})),
    "other parameters": lambda town, packet: town.publisher.write_track(
        replace(town.stream.tracks[MediaKind.VIDEO], config=town.rendition("96p").tracks[MediaKind.VIDEO].config)
    ),
    "a rendition's other parameters": lambda town, packet: town.rendition("96p").write_track(town.stream.tracks[MediaKind.VIDEO]),
    "its publisher leaves": lambda town, packet: town.stream.move_to(StreamState.AWAY),
    "a rendition ends": lambda town, packet: town.hub.remove_rendition(town.rendition("96p")),
    "the stream ends": lambda town, packet: town.stream.move_to(StreamState.ENDED),
    "a second passes": lambda town, packet: town.subject.sweep(town.wall.at),
    "packaging stops": lambda town, packet: town.subject.stop("show"),
}


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
@pytest.mark.parametrize("name", ["show", "show@96p"])
def test_whatever_happens_ends_a_lease(town: Town, a_packet: Packet, event: Event, name: str) -> None:
    town.get("video.m3u8", name)
    lease = town.subject.lease(name)
    assert lease.holds
    assert town.subject.lease(name) is lease
    event(town, a_packet)
    assert not lease.holds
    assert town.subject.lease(name) is not lease


def test_a_rendition_that_comes_later_is_heard_too(source: Items, rungs: dict[str, Items], a_packet: Packet) -> None:
    town = Town()
    town.play(town.source(source))
    town.get("index.m3u8")
    town.rendition("96p").write_track(rungs["96p"][0])  # type: ignore[arg-type]
    town.subject.sweep(town.wall.at)
    town.get("index.m3u8")
    lease = town.subject.lease("show")
    assert lease.holds
    town.rendition("96p").pass_on(a_packet)
    assert not lease.holds


def test_nobody_promises_anything_of_what_is_over_or_unknown(town: Town) -> None:
    assert town.subject.lease("nothing") is NEVER
    assert town.subject.lease("nothing@96p") is NEVER
    town.get("index.m3u8")
    town.stream.move_to(StreamState.ENDED)
    assert "ENDLIST" in town.text("video.m3u8")
    # Another stream may come, and nobody tells whoever packages this one.
    assert town.subject.lease("show") is NEVER
    town.hub.streams.clear()
    town.hub.publishers.clear()
    town.hub.publish(PublishGrant("show"), Session(Wire.RTMP, "test"), lambda _: None)
    assert not isinstance(town.ask("video.m3u8"), Ready)


def test_a_stream_is_packaged_while_its_answers_are_good(town: Town) -> None:
    town.get("index.m3u8")
    now = town.wall.at
    for second in range(1, 40):
        # Whoever has a lease does not ask.
        assert town.subject.lease("show").holds
        town.subject.sweep(now + second)
    town.subject.sweep(now + 39 + 31)
    assert len(town.subject) == 0
    assert town.stream.subscribers == ()


def test_a_stream_that_is_over_is_let_go_of_by_everybody(town: Town) -> None:
    renditions = [town.rendition(rung) for rung in SIZES]
    town.get("index.m3u8")
    assert all(stream.subscribers for stream in [town.stream, *renditions])
    town.subject.stop("show")
    assert not any(stream.subscribers for stream in [town.stream, *renditions])
    town.subject.start("show", town.wall.at)
    assert renditions[0].subscribers
    town.hub.remove_rendition(renditions[0])
    town.subject.sweep(town.wall.at)
    town.subject.sweep(town.wall.at + LINGER + 1)
    assert renditions[0].subscribers == ()


def test_pictures_are_good_for_as_long_as_their_maker_says(town: Town) -> None:
    def no_task(work: object) -> None:
        raise AssertionError("nothing is made here")

    resources = Resources(town.subject, Thumbnails(town.hub, no_task))  # type: ignore[arg-type]
    answer: Answer = resources.answer("show", "index.m3u8", {}, town.wall.at)
    assert isinstance(answer, Ready)
    assert resources.lease("show", "index.m3u8").holds
    assert resources.lease("show", RESOURCE) is NEVER
