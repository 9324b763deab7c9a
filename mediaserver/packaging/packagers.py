"""The packaging house's door: a player's question in, an Answer out. Packaging begins with the first question."""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Protocol

from mediaserver.hub.stream import LiveStream
from mediaserver.packaging import dash, hls
from mediaserver.packaging.answer import Answer, Gone, Growing, Missing, TooFar, Wait
from mediaserver.packaging.packager import Numbers, Packager, Settings
from mediaserver.packaging.segment import Segment
from mediaserver.packaging.text import Text
from mediaserver.packaging.window import LEAST_SEGMENTS, Position, Window
from protocols import dash as dash_format
from protocols import hls as hls_format
from protocols.errors import RemoteProtocolError
from protocols.media import MediaKind

#: Numbers start from the time since the year 2026 when packaging starts, and need no state on disk. Media sequence numbers
#: count tenths of seconds: no segment is that short, so they never go back, not over a restart of the server either.
#: Discontinuity sequence numbers count ten minutes: not finer, because hls.js walks an array of that length several times a
#: second. Within a process they never go back: a name whose stream had more than that is remembered until the clock has
#: passed it. Over a restart they go back by as many; players meet a new MEDIA-SEQUENCE there, behind a pause, and begin anew.
NUMBERS_SINCE = 1_767_225_600
SEQUENCE_UNIT = 0.1
DISCONTINUITY_UNIT = 600.0

#: Names that are remembered so. Beyond that all new streams begin where the least of them was.
MAX_AHEAD = 1000

#: How long (seconds) the playlists of a stream that is over can still be fetched, with their EXT-X-ENDLIST.
LINGER = 60.0

#: No request is held for longer (seconds): hls.js gives up after ten, and takes that for a fault of the server.
MAX_PATIENCE = 6.0

#: A blocked playlist may be cached for this many target durations (RFC 8216bis, appendix B.1).
BLOCKED_AGE = 6.0

_RESOURCE = re.compile(r"(video|audio)/(?:init-(\d{1,9})\.mp4|(\d{1,19})(?:\.(\d{1,6}))?\.m4s)", re.ASCII)
_PLAYLISTS = {"video.m3u8": MediaKind.VIDEO, "audio.m3u8": MediaKind.AUDIO}


class Streams(Protocol):
    """Where to find what is live: the hub."""

    def find(self, name: str) -> LiveStream | None: ...


class _Entry:
    """A stream that is being packaged, and the texts that were rendered of it last."""

    def __init__(self, stream: LiveStream, packager: Packager, now: float) -> None:
        self.stream = stream
        self.packager = packager
        self.asked = now
        self.ended_at: float | None = None
        self.ready = False
        self.texts: dict[object, tuple[object, Text]] = {}


class Packagers:
    """Every stream that is packaged now, by name. ``wall`` is Unix time in seconds; ``now`` any steady clock's."""

    def __init__(self, streams: Streams, settings: Settings, wall: Callable[[], float]) -> None:
        self.settings = settings
        self._streams = streams
        self._wall = wall
        self._entries: dict[str, _Entry] = {}
        # What no stream begins below, and the names that are ahead of it.
        self._least = first_numbers(wall())
        self._ahead: dict[str, Numbers] = {}

    # -- life -----------------------------------------------------------------------------------------------------------

    def start(self, name: str, now: float) -> bool:
        """Package ``name`` from now on, if it is live; harmless twice. For ``hls.always``."""
        return self._entry(name, now) is not None

    def stop(self, name: str) -> None:
        """Forget the packaging of ``name``. Harmless twice."""
        entry = self._entries.pop(name, None)
        if entry is not None:
            entry.stream.unsubscribe(entry.packager)
            self._remember(name, entry.packager.next)

    def sweep(self, now: float) -> None:
        """Stop what nobody asks for, and forget what has been over for a while. To be called every second or so."""
        self._follow_clock()
        for name, entry in list(self._entries.items()):
            if entry.packager.ended:
                if entry.ended_at is None:
                    entry.ended_at = now
                expired = now - entry.ended_at > LINGER
            else:
                expired = not self.settings.always and now - entry.asked > self.settings.idle_timeout
            if expired:
                self.stop(name)

    def find(self, name: str) -> Packager | None:
        """The packager of ``name`` if there is one now."""
        entry = self._entries.get(name)
        return None if entry is None else entry.packager

    def target_duration(self, name: str) -> float:
        """EXT-X-TARGETDURATION of ``name`` as far as it is known, seconds."""
        packager = self.find(name)
        windows = [] if packager is None else packager.windows
        return max([self.settings.segment_duration, *(window.target_duration for window in windows)])

    def __len__(self) -> int:
        return len(self._entries)

    def _entry(self, name: str, now: float) -> _Entry | None:
        stream = self._streams.find(name)
        entry = self._entries.get(name)
        if stream is None or (entry is not None and entry.stream is stream):
            return entry
        self.stop(name)
        packager = Packager(name, self.settings, self._wall, self._first(name))
        entry = self._entries[name] = _Entry(stream, packager, now)
        stream.subscribe(packager)
        return entry

    # -- numbers ----------------------------------------------------------------------------------------------------------

    def _first(self, name: str) -> Numbers:
        """Where ``name`` may begin now."""
        self._follow_clock()
        return _larger(self._least, self._ahead.get(name, self._least))

    def _follow_clock(self) -> None:
        """What the clock has passed need not be remembered; a clock that was set back does not count."""
        self._least = _larger(self._least, first_numbers(self._wall()))
        for name in [name for name, unused in self._ahead.items() if _larger(self._least, unused) == self._least]:
            del self._ahead[name]

    def _remember(self, name: str, unused: Numbers) -> None:
        self._ahead[name] = _larger(unused, self._ahead.get(name, unused))
        self._follow_clock()
        if len(self._ahead) > MAX_AHEAD:
            nearest = min(self._ahead, key=lambda known: self._ahead[known].discontinuity)
            self._least = _larger(self._least, self._ahead.pop(nearest))

    # -- questions ------------------------------------------------------------------------------------------------------

    def answer(self, name: str, resource: str, query: Mapping[str, str], now: float) -> Answer:
        """What to say to a request for ``/live/{name}/{resource}``. A pure question, but that it starts packaging."""
        playlist = _PLAYLISTS.get(resource)
        match = None if playlist is not None else _RESOURCE.fullmatch(resource)
        if playlist is None and match is None and resource not in {"index.m3u8", "manifest.mpd"}:
            return Missing()
        entry = self._entry(name, now)
        if entry is None:
            return Missing()
        entry.asked = now
        if match is not None:
            return self._media(entry, match)
        if playlist is not None:
            return self._playlist(entry, playlist, query)
        if not entry.ready:
            if not entry.packager.ready:
                return self._not_yet(entry)
            entry.ready = True
        return self._multivariant(entry) if resource == "index.m3u8" else self._mpd(entry)

    def _not_yet(self, entry: _Entry) -> Answer:
        """Nothing to play so far, but there will be."""
        windows = entry.packager.windows
        if not windows or entry.packager.ended:
            return Missing()
        waiting = next((window for window in windows if not window.started), windows[0])
        return Wait(waiting.signal, self._patience(waiting))

    @staticmethod
    def _patience(window: Window) -> float:
        """For how long a request may be held: three target durations (RFC 8216bis, 6.2.5.2), and below players' own patience."""
        return min(3.0 * window.target_duration, MAX_PATIENCE)

    def _multivariant(self, entry: _Entry) -> Answer:
        packager = entry.packager
        # Bit rates are the only thing in it that changes: look again when a segment begins.
        key = sum([window.next_sequence for window in packager.windows])
        return self._text(entry, "index.m3u8", key, 1.0, lambda: hls.multivariant_playlist(packager))

    def _playlist(self, entry: _Entry, kind: MediaKind, query: Mapping[str, str]) -> Answer:
        packager = entry.packager
        rendition = packager.renditions.get(kind)
        if rendition is None:
            return Missing()
        window = rendition.window
        try:
            reload = hls_format.read_reload(query)
        except RemoteProtocolError as error:
            return TooFar(str(error))
        if not window.started:
            return self._not_yet(entry)
        skip = reload.skip is not hls_format.Skip.NO
        if reload.msn is None:
            return self._listing(entry, window, delta=skip)
        match window.poll(reload.msn, reload.part, part_advance(packager.part_target)):
            case Position.TOO_FAR:
                return TooFar("the playlist is not so far yet")
            case Position.WAIT:
                late = functools.partial(self._listing, entry, window, delta=skip)
                return Wait(window.signal, self._patience(window), late)
            case _:
                return self._listing(entry, window, delta=skip, blocked=True)

    def _listing(self, entry: _Entry, window: Window, *, delta: bool, blocked: bool = False) -> Text:
        """The playlist as it is now. ``blocked``: it was asked for by a position that it holds."""
        packager = entry.packager
        delta = delta and hls.can_skip_until(packager, window) > 0
        # A position's playlist may be kept; a plain one is old with the next part.
        max_age = BLOCKED_AGE * window.target_duration if blocked else 0.0
        name = (window.kind, delta, blocked)
        return self._text(entry, name, window.version, max_age, lambda: hls.media_playlist(packager, window, delta=delta))

    @staticmethod
    def _text(
        entry: _Entry,
        name: object,
        key: object,
        max_age: float,
        render: Callable[[], str],
        content_type: str = hls_format.CONTENT_TYPE,
    ) -> Text:
        known = entry.texts.get(name)
        if known is not None and known[0] == key:
            return known[1]
        text = Text(render().encode(), content_type, max_age)
        entry.texts[name] = (key, text)
        return text

    def _mpd(self, entry: _Entry) -> Answer:
        packager = entry.packager
        key = tuple(window.version for window in packager.windows)
        return self._text(entry, "manifest.mpd", key, 0.0, lambda: dash.mpd(packager, self._wall()), dash_format.CONTENT_TYPE)

    def _media(self, entry: _Entry, match: re.Match[str]) -> Answer:
        kind = MediaKind(match[1])
        rendition = entry.packager.renditions.get(kind)
        if rendition is None:
            return Missing()
        window = rendition.window
        if match[2] is not None:
            init = window.inits.get(int(match[2]))
            return Missing() if init is None else init.answer
        sequence, part = int(match[3]), None if match[4] is None else int(match[4])
        position = window.find(sequence, part)
        if position is Position.READY:
            return window.segments[sequence - window.segments[0].sequence].answer(part)
        if position is Position.WAIT:
            if part is None:
                return Growing(_reader(window, sequence), f"{window.kind}/mp4", window.signal, self._patience(window))
            return Wait(window.signal, self._patience(window))
        return Gone() if position is Position.GONE else Missing()


def first_numbers(unix_time: float) -> Numbers:
    """Where a stream's numbers start that is packaged from now on."""
    elapsed = max(0.0, unix_time - NUMBERS_SINCE)
    return Numbers(int(elapsed / SEQUENCE_UNIT) + LEAST_SEGMENTS, int(elapsed / DISCONTINUITY_UNIT))


def _larger(one: Numbers, other: Numbers) -> Numbers:
    return Numbers(max(one.sequence, other.sequence), max(one.discontinuity, other.discontinuity))


def part_advance(part_target: float) -> int:
    """The Advance Part Limit (RFC 8216bis, 6.2.5.2)."""
    return -int(-3.0 // part_target) if part_target < 1.0 else 3


def _reader(window: Window, sequence: int) -> Callable[[int], tuple[bytes, bool]]:
    """Reads a segment that is being made, or is next. Holds on to it, so that a slow reader gets all of it."""
    held: Segment | None = None

    def read(offset: int) -> tuple[bytes, bool]:
        nonlocal held
        held = held or window.get(sequence)
        if held is None:
            return b"", window.ended or sequence < window.next_sequence
        return held.read(offset)

    return read
