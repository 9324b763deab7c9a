"""A stream and its renditions, packaged side by side, and where each of them is found from where a player has asked."""

import enum
import math
from collections.abc import Iterator
from typing import NamedTuple

from mediaserver.hub.stream import LiveStream
from mediaserver.packaging.follower import Follower
from mediaserver.packaging.packager import Packager
from mediaserver.packaging.presentation import Presentation
from mediaserver.packaging.rendition import Rendition
from mediaserver.packaging.understudy import Understudy
from mediaserver.packaging.window import LEAST_SEGMENTS, Window
from mediaserver.ports import rendition_name
from protocols.codec import VideoParameters
from protocols.media import Codec, MediaKind

#: So much (ms) of a stream is awaited for its renditions to begin, before a list is made without them: players read it once.
RENDITIONS_MAY_COME = 4_000

#: So long (ms) after one rendition the next has begun too, if there is one.
ALL_HAVE_COME = 600

#: A rendition that is later than this (seconds) is not waited for.
MOST_LAG = 3.0

#: The stream itself among its renditions.
SOURCE = ""


class Folder(enum.Enum):
    """Where a playlist lies. HOME: in the stream's folder. BELOW: in a rendition's, inside of that. OWN: in the folder that the
    rendition has as a stream of its own."""

    HOME = "home"
    BELOW = "below"
    OWN = "own"


class Place(NamedTuple):
    """The folder of ``rung`` (SOURCE for the stream's own)."""

    folder: Folder
    rung: str

    def to(self, name: str, rung: str) -> str:
        """The way from here to the folder of ``rung`` of the stream ``name``, relative."""
        if rung == self.rung:
            return ""
        if self.folder is Folder.OWN:
            return f"../{rendition_name(name, rung) if rung else name}/"
        up = "../" if self.folder is Folder.BELOW else ""
        return f"{up}{rung}/" if rung else up


HOME = Place(Folder.HOME, SOURCE)


class Family:
    """One stream's Packager and its renditions' Followers, by rung. ``awaited``: the stream has just begun, and renditions of it
    are to come."""

    def __init__(self, stream: LiveStream, leader: Packager, *, awaited: bool = False) -> None:
        self.stream = stream
        self.leader = leader
        self._awaited = awaited
        # How far (ms) the stream was when the last one came.
        self._grown = 0
        self.followers: dict[str, Follower] = {}
        self._understudies: dict[str, Understudy] = {}
        self._lingering: dict[str, float] = {}

    @property
    def name(self) -> str:
        return self.leader.name

    # -- growing --------------------------------------------------------------------------------------------------------

    def gather(self) -> None:
        """Follow the renditions that have begun since; forget their predecessors."""
        if self.leader.ended:
            return
        for rung, stream in self.stream.renditions.items():
            present = self.followers.get(rung)
            if present is None or present.stream is not stream:
                self._part_with(rung)
                sound = _sounds_alone(self.stream, stream, rung)
                follower = self.followers[rung] = Follower(stream, self.leader, sound=sound)
                self._understudies[rung] = Understudy(follower)
                self._grown = self.leader.epochs.span
                follower.join()

    def sweep(self, now: float, linger: float) -> None:
        """Once a second: begin with what is new, and let go of what is over for ``linger`` seconds."""
        self.gather()
        for rung, follower in list(self.followers.items()):
            follower.settle()
            self._understudies[rung].look()
            if follower.gone and now - self._lingering.setdefault(rung, now) > linger:
                self._part_with(rung)

    def close(self) -> None:
        """Follow nothing any more."""
        self.stream.unsubscribe(self.leader)
        self.leader.close()
        for rung in list(self.followers):
            self._part_with(rung)

    def _part_with(self, rung: str) -> None:
        follower = self.followers.pop(rung, None)
        self._lingering.pop(rung, None)
        if follower is not None:
            self._understudies.pop(rung).close()
            follower.stream.unsubscribe(follower)
            follower.on_end()

    # -- looking --------------------------------------------------------------------------------------------------------

    def of(self, rung: str) -> Presentation | None:
        """The packaging of ``rung``, or of the stream itself."""
        return self.leader if rung == SOURCE else self.followers.get(rung)

    def is_gone(self, rung: str) -> bool:
        """Whether that rendition is over, though the stream is not."""
        follower = self.followers.get(rung)
        return follower is not None and follower.gone

    def all(self) -> Iterator[tuple[str, Presentation]]:
        """The stream and each of its renditions."""
        yield SOURCE, self.leader
        yield from self.followers.items()

    def present(self) -> Iterator[tuple[str, Presentation]]:
        """The stream and its renditions that can be played now."""
        yield SOURCE, self.leader
        for rung, follower in self.followers.items():
            if follower.started and not follower.gone and self._is_filled(follower):
                yield rung, follower

    def _is_filled(self, follower: Follower) -> bool:
        """Whether it has as much as players need to change to it: where a young list still has gaps, they turn away for good."""
        return follower.ended or _whole(follower) >= min(LEAST_SEGMENTS, _whole(self.leader)) - 1

    def pictures(self, place: Place = HOME) -> list[tuple[str, Presentation, Rendition]]:
        """Those that have a picture, each with it, as lists at ``place`` name them: in a rendition's own folder that one, else
        all, but the stream's own picture once, though renditions be that too, passed through."""
        own = place.folder is Folder.OWN
        found = (
            (rung, each, each.renditions.get(MediaKind.VIDEO))
            for rung, each in self.present()
            if (rung == place.rung if own else self._is_distinct(rung))
        )
        return [(rung, each, video) for rung, each, video in found if video is not None and video.window.started]

    def _is_distinct(self, rung: str) -> bool:
        return rung == SOURCE or self.followers[rung].distinct

    def sounds(self) -> list[tuple[str, Rendition]]:
        """Those that have sound, the one that all pictures share first: the stream's own if it is AAC, or nobody's is; else the
        lowest rendition's, which is the last to be given up."""
        found = [(rung, each.renditions.get(MediaKind.AUDIO)) for rung, each in self.present()]
        sounds = [(rung, audio) for rung, audio in found if audio is not None and audio.window.started]
        playable = [each for each in sounds if each[1].init.track.codec is Codec.AAC]
        if sounds and playable and sounds[0][0] == SOURCE and sounds[0] not in playable:
            shared = min(playable, key=lambda each: (self._height(each[0]), each[0]))
            sounds.remove(shared)
            sounds.insert(0, shared)
        return sounds

    def _height(self, rung: str) -> int:
        """Of its picture; without one it is the lowest."""
        each = self.of(rung)
        video = None if each is None else each.renditions.get(MediaKind.VIDEO)
        return video.init.parameters.height if video is not None and isinstance(video.init.parameters, VideoParameters) else 0

    def windows(self, place: Place = HOME) -> Iterator[tuple[str, Window]]:
        """What is listed at ``place``: its pictures, and all sound."""
        for rung, _, video in self.pictures(place):
            yield rung, video.window
        for rung, audio in self.sounds():
            yield rung, audio.window

    def ahead(self, rung: str) -> float:
        """How far (seconds, in whole parts) that one is ahead of the latest rendition."""
        lags = {each: follower.lag for each, follower in self.followers.items() if not follower.gone}
        late = min(max(lags.values(), default=0.0), MOST_LAG) - lags.get(rung, 0.0)
        part = self.leader.part_target
        return max(0, math.ceil(late / part - 0.05)) * part

    def bit_rate(self, rung: str) -> int:
        """What comes in of it now, sound and all, bit/s; 0 if that was not measured yet."""
        stream = self.stream if rung == SOURCE else self.stream.renditions.get(rung)
        return 0 if stream is None else stream.meter.bitrate

    @property
    def ready(self) -> bool:
        """Whether a list of all can be made: the stream can be played, and its renditions too or had their chance."""
        if not self.leader.ready:
            return False
        if self.leader.ended or self.leader.epochs.span > RENDITIONS_MAY_COME:
            return True
        followers = [follower for follower in self.followers.values() if not follower.gone]
        if not all(follower.started for follower in followers):
            return False
        # They come one after the other, and nobody says which is the last.
        return not self._awaited or (bool(followers) and self.leader.epochs.span - self._grown > ALL_HAVE_COME)


def _whole(each: Presentation) -> int:
    """How many segments it has whole, of the track that has least."""
    return min((sum(s.complete and not s.gap for s in window.segments) for window in each.windows), default=0)


def _sounds_alone(stream: LiveStream, rendition: LiveStream, rung: str) -> bool:
    """Whether that rendition is sound and nothing else."""
    rungs = () if stream.grant.ladder is None else stream.grant.ladder.rungs
    return next((each.height == 0 for each in rungs if each.name == rung), MediaKind.VIDEO not in rendition.tracks)
