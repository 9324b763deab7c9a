"""A stream and its renditions in a real hub, fed by hand: the same clip in several sizes, each as late as its encoder is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from mediaserver.events import Event
from mediaserver.hub.hub import Hub, HubLimits, Publisher
from mediaserver.hub.session import Session
from mediaserver.hub.stream import LiveStream
from mediaserver.packaging.answer import Answer, Ready
from mediaserver.packaging.packagers import Packagers
from mediaserver.ports import Ladder, PublishGrant, Rung, Wire
from protocols.media import MediaKind, Metadata, Packet, Track
from tests.media import Clips
from tests.mediaserver.packaging.material import UNIX_TIME, Settings, Wall, read_flv, shifted

Items = list[Track | Packet]

#: A small ladder: playback names of the rungs, and the clips that stand for them.
SIZES: Mapping[str, tuple[int, int, int]] = {"192p": (320, 192, 300_000), "96p": (160, 96, 100_000)}


class Deaf:
    """An EventSink."""

    def emit(self, event: Event) -> None:
        """Nobody listens."""


def rung_clips(clips: Clips, **what: object) -> dict[str, Items]:
    """The clip of each rung of ``SIZES``, without B-frames, its pictures shown at the very times of ``source_clip``'s."""
    shown = first_shown(source_clip(clips))
    made = {
        name: read_flv(clips.get(**{"width": width, "height": height, "bitrate": rate, "b_frames": 0, **what}))
        for name, (width, height, rate) in SIZES.items()
    }
    return {name: shifted(items, shown - first_shown(items)) for name, items in made.items()}


def first_shown(items: Items) -> int:
    return next(item.pts for item in items if isinstance(item, Packet) and item.kind is MediaKind.VIDEO)


def source_clip(clips: Clips, **what: object) -> Items:
    return read_flv(clips.get(**{"width": 640, "height": 384, "bitrate": 900_000, **what}))


@dataclass
class Feed:
    """What one stream still has to send, each item at a time of its own (ms)."""

    write: Callable[[Track | Packet], None]
    items: Items
    delay: float = 0.0
    queue: list[tuple[float, Track | Packet]] = field(default_factory=list)

    def __post_init__(self) -> None:
        time = 0
        for item in self.items:
            time = item.dts if isinstance(item, Packet) else time
            self.queue.append((time + self.delay, item))


class _Copying:
    """A hub Subscriber that passes a stream's packets on to ``rendition``, beginning with a keyframe."""

    def __init__(self, rendition: LiveStream) -> None:
        self._rendition = rendition
        self._begun = False

    def on_track(self, track: Track) -> None:
        self._rendition.write_track(track)

    def on_metadata(self, metadata: Metadata) -> None:
        """The tracks say all."""

    def on_packet(self, packet: Packet) -> None:
        self._begun = self._begun or (packet.kind is MediaKind.VIDEO and packet.keyframe)
        if self._begun:
            self._rendition.pass_on(packet)

    def on_away(self) -> None:
        """The hub tells the rendition."""

    def on_end(self) -> None:
        """The hub tells the rendition."""


class Town:
    """A hub, a packaging house and both clocks; ``show`` is published."""

    def __init__(self, settings: Settings | None = None, ladder: Ladder | None = None) -> None:
        self.hub = Hub(HubLimits(10.0, True, 16 << 20, 15_000, 100), Deaf())
        self.wall = Wall()
        self.subject = Packagers(self.hub, settings or Settings(), self.wall)
        self.publisher: Publisher = self.hub.publish(PublishGrant("show", ladder), Session(Wire.RTMP, "test"), lambda _: None)
        self.stream = self.publisher.stream
        self.time = 0.0
        # From which time of the encoder's clock on (ms) the stream's own is so much further.
        self._clock: list[tuple[int, int]] = [(-(1 << 40), 0)]

    def rendition(self, rung: str) -> LiveStream:
        """The stream of ``rung``, added if it is not there."""
        found = self.stream.renditions.get(rung) or self.hub.add_rendition(self.stream, rung)
        assert found is not None
        return found

    def source(self, items: Items) -> Feed:
        def write(item: Track | Packet) -> None:
            if isinstance(item, Track):
                self.publisher.write_track(item)
            else:
                packet = replace(item)
                self.publisher.write(packet)
                if packet.dts - item.dts != self._clock[-1][1]:
                    self._clock.append((item.dts, packet.dts - item.dts))

        return Feed(write, items)

    def rung(self, name: str, items: Items, delay: float) -> Feed:
        stream = self.rendition(name)

        def write(item: Track | Packet) -> None:
            if isinstance(item, Track):
                stream.write_track(item)
            else:
                further = next(offset for since, offset in reversed(self._clock) if since <= item.dts)
                stream.pass_on(replace(item, dts=item.dts + further))

        return Feed(write, items, delay)

    def pass_through(self, rung: str) -> None:
        """From here on the stream's packets are that rung's too, as they are."""
        self.stream.subscribe(_Copying(self.rendition(rung)))

    def play(self, *feeds: Feed, until: float = 1e9, each: Callable[[], object] | None = None) -> None:
        """Send what is due before ``until`` (ms), all feeds by their times; the clock goes along."""
        while due := [feed for feed in feeds if feed.queue and feed.queue[0][0] < until]:
            feed = min(due, key=lambda one: one.queue[0][0])
            self.time, item = feed.queue.pop(0)
            self.wall.at = max(self.wall.at, UNIX_TIME + self.time / 1000)
            feed.write(item)
            if each is not None:
                each()

    # -- asking ---------------------------------------------------------------------------------------------------------

    def ask(self, resource: str, name: str = "show", **query: object) -> Answer:
        return self.subject.answer(name, resource, {key: str(value) for key, value in query.items()}, self.wall.at)

    def get(self, resource: str, name: str = "show", **query: object) -> bytes:
        answer = self.ask(resource, name, **query)
        assert isinstance(answer, Ready), (resource, answer)
        return answer.body

    def text(self, resource: str, name: str = "show", **query: object) -> str:
        return self.get(resource, name, **query).decode()


def a_ladder(*rungs: str) -> Ladder:
    return Ladder(tuple(Rung(name, 0 if name == "audio" else int(name[:-1])) for name in rungs))
