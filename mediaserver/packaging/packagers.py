"""The packaging house's door: a player's question in, an Answer out. Packaging begins with the first question, or unasked."""

import functools
import math
import re
from collections.abc import Callable, Mapping
from typing import Protocol

from mediaserver.hub.stream import LiveStream
from mediaserver.packaging import dash, hls
from mediaserver.packaging.answer import Answer, Gone, Growing, Missing, TooFar, Wait
from mediaserver.packaging.family import HOME, SOURCE, Family, Folder, Place
from mediaserver.packaging.lease import NEVER, Lease
from mediaserver.packaging.numbers import NumberBook, Numbers
from mediaserver.packaging.packaged import Packaged
from mediaserver.packaging.packager import Packager
from mediaserver.packaging.presentation import Presentation, Settings, paced
from mediaserver.packaging.text import Text
from mediaserver.packaging.window import Position, Window
from mediaserver.ports import RENDITION_MARK, SESSION_TOKEN
from protocols import dash as dash_format
from protocols import hls as hls_format
from protocols.errors import RemoteProtocolError
from protocols.media import MediaKind

#: No request is held for longer (seconds): hls.js gives up after ten, and takes that for a fault of the server.
MAX_PATIENCE = 6.0

#: A blocked playlist may be cached for this many target durations (RFC 8216bis, appendix B.1).
BLOCKED_AGE = 6.0

#: One that was asked for by no position, for half a target duration, but only by caches that serve many: with one of its own a
#: player would see each change later by as much. A second at least, for they count whole ones.
PLAIN_AGE = 0.5

#: So the MPD: players ask for it once a second.
MPD_AGE = 1.0

#: A stream that is younger than this (seconds) may have renditions to come.
YOUNG = 10.0

#: A segment is NUMBER.m4s, and NUMBER.PART.m4s a part of it, to HLS; to DASH it is INIT-TIME.m4s: times begin anew with a stream,
#: init segments have numbers that were never used before.
_RESOURCE = re.compile(
    r"(video|audio)/(?:init-(?P<init>\d{1,19})\.mp4"
    r"|(?:(?P<number>\d{1,19})(?:\.(?P<part>\d{1,6}))?|(?P<of>\d{1,19})-(?P<time>\d{1,19}))\.m4s)",
    re.ASCII,
)
_PLAYLISTS = {"video.m3u8": MediaKind.VIDEO, "audio.m3u8": MediaKind.AUDIO}
_LISTS = frozenset({"index.m3u8", "manifest.mpd"})


class Streams(Protocol):
    """Where to find what is live: the hub."""

    def find(self, name: str) -> LiveStream | None: ...


class Packagers:
    """Every stream that is packaged now, by name. ``wall`` is Unix time in seconds; ``now`` any steady clock's.

    What is asked of a rendition is asked of its stream: they begin, and stop for want of questions, together. Its resources
    are found in a folder of its stream's (``NAME/720p/video.m3u8``), and in one of its own (``NAME@720p/video.m3u8``).
    ``ladder``: streams have renditions even where their grant does not say so.
    """

    def __init__(self, streams: Streams, settings: Settings, wall: Callable[[], float], *, ladder: bool = False) -> None:
        self.settings = settings
        self._ladder = ladder
        self._streams = streams
        self._wall = wall
        self._entries: dict[str, Packaged] = {}
        self._numbers = NumberBook(wall)

    # -- life -----------------------------------------------------------------------------------------------------------

    def begin(self, name: str, now: float) -> None:
        """The stream ``name`` has begun: package it from now on if it is to be packaged unasked."""
        if self._unasked:
            self.start(name, now)

    def start(self, name: str, now: float) -> bool:
        """Package ``name`` from now on, if it is live; harmless twice."""
        return self._entry(name, now) is not None

    def stop(self, name: str) -> None:
        """Forget the packaging of ``name``. Harmless twice."""
        entry = self._entries.pop(name, None)
        if entry is not None:
            entry.close()
            self._numbers.remember(name, entry.family.leader.next)

    def sweep(self, now: float) -> None:
        """Stop what nobody asks for, and forget what has been over for a while. To be called every second or so."""
        self._numbers.follow_clock()
        patience = math.inf if self._unasked else self.settings.idle_timeout
        for name, entry in list(self._entries.items()):
            entry.sweep(now)
            if entry.has_expired(now, patience):
                self.stop(name)

    def ahead(self) -> dict[str, Numbers]:
        """The numbers that each name may go on with, where they are ahead of the clock."""
        return self._numbers.ahead({name: entry.family.leader.next for name, entry in self._entries.items()})

    def go_on(self, numbers: Mapping[str, Numbers]) -> None:
        """Begin no name behind these numbers, which another server used."""
        self._numbers.go_on(numbers)

    def find(self, name: str) -> Packager | None:
        """The packager of ``name``, or of the stream that it is a rendition of, if there is one now."""
        entry, _ = self._locate(name)
        return None if entry is None else entry.family.leader

    def target_duration(self, name: str) -> float:
        """EXT-X-TARGETDURATION of ``name`` as far as it is known, seconds."""
        packager = self.find(name)
        if packager is None:
            return self.settings.segment_duration
        return max([packager.settings.segment_duration, *(window.target_duration for window in packager.windows)])

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def _unasked(self) -> bool:
        """Whether streams are packaged from their beginning to their end: where one can go back, there is to be something to go
        back to, for the first viewer too."""
        return self.settings.always or self.settings.dvr > 0

    def _entry(self, name: str, now: float) -> Packaged | None:
        stream = self._streams.find(name)
        entry = self._entries.get(name)
        if stream is None or (entry is not None and entry.family.stream is stream):
            return entry
        self.stop(name)
        packager = Packager(name, paced(self.settings, stream.grant.pacing), self._wall, self._numbers.first(name))
        packager.tracks.facts = stream.facts
        awaited = (self._ladder or stream.grant.ladder is not None) and self._wall() - stream.since < YOUNG
        entry = self._entries[name] = Packaged(Family(stream, packager, awaited=awaited), now)
        stream.subscribe(packager)
        entry.gather()
        return entry

    def _locate(self, name: str) -> tuple[Packaged | None, Place]:
        """Who answers for ``name`` as far as it is packaged, and which folder that is."""
        entry = self._entries.get(name)
        if entry is not None:
            return entry, HOME
        name, _, rung = name.rpartition(RENDITION_MARK)
        return self._entries.get(name), Place(Folder.OWN, rung)

    # -- questions ------------------------------------------------------------------------------------------------------

    def answer(self, name: str, resource: str, query: Mapping[str, str], now: float) -> Answer:
        """What to say to a request for ``/live/{name}/{resource}``. A pure question, but that it starts packaging."""
        place = HOME
        whole = resource in _PLAYLISTS or resource in _LISTS
        match = None if whole else _RESOURCE.fullmatch(resource)
        if match is None and not whole:
            rung, _, resource = resource.partition("/")
            match = _RESOURCE.fullmatch(resource)
            if not rung or (match is None and resource not in _PLAYLISTS):
                return Missing()
            place = Place(Folder.BELOW, rung)
        stream = self._streams.find(name)
        if stream is not None and stream.source is not None:
            stream = stream.source
        entry = self._locate(name)[0] if stream is None else self._entry(stream.name, now)
        if entry is None:
            return Missing()
        if name != entry.family.name:
            if place is not HOME:
                return Missing()
            place = Place(Folder.OWN, name[len(entry.family.name) + 1 :])
        return self._of(entry, place, resource, match, query, now)

    def lease(self, name: str) -> Lease:
        """For how long what was just answered of ``name`` is the answer."""
        entry, _ = self._locate(name)
        # A stream that is over may be followed by another one, of which nobody would hear.
        return NEVER if entry is None or entry.family.leader.ended else entry.watch.lease()

    def _of(
        self, entry: Packaged, place: Place, resource: str, match: re.Match[str] | None, query: Mapping[str, str], now: float
    ) -> Answer:
        family = entry.family
        presentation = family.of(place.rung)
        if presentation is None:
            entry.gather()
            presentation = family.of(place.rung)
            if presentation is None:
                return Missing()
        entry.asked = now
        if match is not None:
            return self._media(presentation, match)
        if place.rung != SOURCE and family.is_gone(place.rung):
            return Gone()
        if resource in _PLAYLISTS:
            return self._playlist(entry, place, presentation, _PLAYLISTS[resource], query)
        return self._list(entry, place, resource, query)

    def _list(self, entry: Packaged, place: Place, resource: str, query: Mapping[str, str]) -> Answer:
        """A multivariant playlist or an MPD."""
        family = entry.family
        if not entry.ready:
            entry.gather()
            if not family.ready:
                return self._not_yet(family)
            entry.ready = True
        if place.rung != SOURCE and not any(rung == place.rung for rung, _ in family.present()):
            return self._not_yet(family)
        if resource != "index.m3u8":
            return self._mpd(entry, place)
        return self._multivariant(entry, place, query.get("session", ""))

    def _not_yet(self, family: Family) -> Answer:
        """Nothing to play so far, but there will be."""
        if family.leader.ended:
            return Missing()
        if not family.leader.windows:
            if codecs := [codec.value for codec in family.leader.tracks.refused.values()]:
                return Missing(f"HLS and DASH cannot carry {' or '.join(codecs)}: play this stream by RTMP or HTTP-FLV")
            # Whoever publishes has sent no header so far.
            return Wait(family.leader.declared, MAX_PATIENCE)
        windows = [window for _, each in family.all() for window in each.windows]
        waiting = next((window for window in windows if not window.started), windows[0])
        # A rendition's window may be late; the stream's own is in motion.
        signal = waiting.signal if waiting in family.leader.windows else windows[0].signal
        return Wait(signal, self._patience(waiting))

    @staticmethod
    def _patience(window: Window) -> float:
        """For how long a request may be held: three target durations (RFC 8216bis, 6.2.5.2), and below players' own patience."""
        return min(3.0 * window.target_duration, MAX_PATIENCE)

    def _multivariant(self, entry: Packaged, place: Place, session: str) -> Answer:
        """Passes a viewer's session token on to the playlists that it names, which is why that one is nobody else's."""
        family = entry.family
        if SESSION_TOKEN.fullmatch(session):
            own = hls.multivariant_playlist(family, place, f"?session={session}")
            return Text(own.encode(), hls_format.CONTENT_TYPE, 1.0)
        # Bit rates and renditions are all that changes in it: look again when a segment begins. Most streams are alone, with
        # nobody to be put in order.
        windows = [window for _, window in family.windows(place)] if family.followers else family.leader.windows
        key = tuple([(window.serial, window.next_sequence, window.started) for window in windows])
        return entry.text(("index", place), key, 1.0, lambda: hls.multivariant_playlist(family, place))

    def _playlist(
        self, entry: Packaged, place: Place, presentation: Presentation, kind: MediaKind, query: Mapping[str, str]
    ) -> Answer:
        rendition = presentation.renditions.get(kind)
        if rendition is None:
            return Missing()
        window = rendition.window
        try:
            reload = hls_format.read_reload(query)
        except RemoteProtocolError as error:
            return TooFar(str(error))
        if not window.started:
            return Missing() if window.ended else Wait(window.signal, self._patience(window))
        skip = reload.skip is not hls_format.Skip.NO
        listing = functools.partial(self._listing, entry, place, presentation, window, delta=skip)
        if reload.msn is None:
            return listing(shared_age=max(1.0, PLAIN_AGE * window.target_duration))
        match window.poll(reload.msn, reload.part, part_advance(presentation.part_target)):
            case Position.TOO_FAR:
                return TooFar("the playlist is not so far yet")
            case Position.WAIT:
                return Wait(window.signal, self._patience(window), listing)
            case _:
                return listing(max_age=BLOCKED_AGE * window.target_duration)

    def _listing(
        self,
        entry: Packaged,
        place: Place,
        presentation: Presentation,
        window: Window,
        *,
        delta: bool,
        max_age: float = 0.0,
        shared_age: float = 0.0,
    ) -> Text:
        """The playlist as it is now."""
        delta = delta and hls.can_skip_until(presentation, window) > 0
        name = (place, window.kind, delta, max_age > 0, shared_age > 0)

        def render() -> str:
            family = entry.family
            ahead = 0.0 if place.folder is Folder.OWN else family.ahead(place.rung)
            return hls.media_playlist(presentation, window, hls.addresses(family, place), delta=delta, ahead=ahead)

        return entry.text(name, (window.serial, window.version), max_age, render, shared_age=shared_age)

    def _mpd(self, entry: Packaged, place: Place) -> Answer:
        family = entry.family
        # In a rendition's own folder too it shows whether the stream goes on.
        windows = [*family.leader.windows, *(window for _, window in family.windows(place))]
        key = tuple([(window.serial, window.version) for window in windows])
        content_type = dash_format.CONTENT_TYPE
        return entry.text(
            ("mpd", place), key, 0.0, lambda: dash.mpd(family, self._wall(), place), content_type, shared_age=MPD_AGE
        )

    def _media(self, presentation: Presentation, match: re.Match[str]) -> Answer:
        rendition = presentation.renditions.get(MediaKind(match[1]))
        if rendition is None:
            return Missing()
        window = rendition.window
        if match["init"] is not None:
            init = window.inits.get(int(match["init"]))
            return Missing() if init is None else init.answer
        if match["time"] is None:
            return self._segment(window, int(match["number"]), None if match["part"] is None else int(match["part"]))
        sequence = window.times.find(int(match["of"]), int(match["time"]))
        if sequence is None:
            return Missing()
        segment = window.get(sequence)
        # Expected, it was to go on with the parameters before it; what came is of no use to who has these.
        expected = segment is None or segment.init.index == int(match["of"])
        return self._segment(window, sequence, None) if expected else Gone()

    def _segment(self, window: Window, sequence: int, part: int | None) -> Answer:
        """That one, or a part of it: whole, growing, awaited or not to be had."""
        position = window.find(sequence, part)
        if position is Position.READY:
            return window.segments[sequence - window.segments[0].sequence].answer(part)
        if position is Position.WAIT:
            # Of a segment that has not begun it is not known whether it will: nothing is promised, so nothing can break off.
            growing = None if part is not None else window.get(sequence)
            if growing is not None:
                return Growing(growing.read, f"{window.kind}/mp4", window.signal, self._patience(window))
            return Wait(window.signal, self._patience(window))
        return Gone() if position is Position.GONE else Missing()


def part_advance(part_target: float) -> int:
    """The Advance Part Limit (RFC 8216bis, 6.2.5.2)."""
    return -int(-3.0 // part_target) if part_target < 1.0 else 3
