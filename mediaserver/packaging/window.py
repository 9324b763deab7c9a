"""The segments of one track that can be fetched now, and who waits for the next. A bounded window over an endless list."""

import enum
import math
from collections import deque
from collections.abc import Callable
from itertools import count

from mediaserver.packaging.segment import InitSegment, Segment
from mediaserver.packaging.segmenter import WEIGHT
from mediaserver.packaging.times import Times

#: The least number of whole segments in a live playlist. A stream that has fewer yet is preceded by gaps (EXT-X-GAP), because
#: players refuse a playlist of parts alone, and a player that has to wait for whole segments is seconds late.
LEAST_SEGMENTS = 3

#: Parts stay listed this many target durations from the end (RFC 8216bis, 6.2.2 asks for three).
PART_AGE = 3

_serials = count()


class Signal:
    """Something will change. ``fire`` calls each waiting callback once and forgets it."""

    __slots__ = ("_callbacks",)

    def __init__(self) -> None:
        self._callbacks: dict[Callable[[], None], None] = {}

    def add(self, callback: Callable[[], None]) -> None:
        self._callbacks[callback] = None

    def discard(self, callback: Callable[[], None]) -> None:
        self._callbacks.pop(callback, None)

    def fire(self) -> None:
        if self._callbacks:
            waiting, self._callbacks = self._callbacks, {}
            for callback in waiting:
                callback()

    def __len__(self) -> int:
        return len(self._callbacks)


class Position(enum.Enum):
    """What a window says to a position in it."""

    READY = "ready"
    WAIT = "wait"
    GONE = "gone"
    TOO_FAR = "too far"


class Window:
    """Segments of one track, oldest first; the last one may be in the making.

    ``listed`` complete segments (or as many as ``dvr`` seconds and the WEIGHT of these hold, if that is more) stand in the
    playlist; as many more, seven at most, stay fetchable for players that hold an older playlist. ``version`` rises with every
    change. No two windows have the same ``serial``, not even one after the other.
    """

    def __init__(self, kind: str, first_sequence: int, listed: int, dvr: float, segment_duration: float) -> None:
        self.kind = kind
        self.serial = next(_serials)
        self.listed = listed
        self.dvr = dvr
        self.segment_duration = segment_duration
        self.signal = Signal()
        self.segments: deque[Segment] = deque()
        self.inits: dict[int, InitSegment] = {}
        self.times = Times()
        self.next_sequence = first_sequence
        self.first_listed = first_sequence
        self.version = 0
        self.ended = False
        self.longest = segment_duration
        #: What ``hls.bit_rates`` found, and of which segments: every viewer's list tells it.
        self.measured: tuple[tuple[int, ...], tuple[int, int]] | None = None

    # -- growing --------------------------------------------------------------------------------------------------------

    def begin(self, segment: Segment) -> None:
        """A new segment begins (its sequence is ``next_sequence``); no player sees it before its first part."""
        segment.named_time = self.times.take(segment.init.index, segment.time, segment.sequence)
        self.segments.append(segment)
        self.inits[segment.init.index] = segment.init
        self.next_sequence = segment.sequence + 1

    def skip(self, segment: Segment) -> None:
        """A segment of which there is nothing: a gap in the list."""
        segment.gap = segment.complete = segment.settled = True
        self.begin(segment)
        self.longest = max(self.longest, segment.seconds)
        self._trim()

    def restart(self, sequence: int) -> None:
        """Forget everything: the next segment has that number, and nobody knows what there was between."""
        self.segments.clear()
        self.inits.clear()
        self.next_sequence = self.first_listed = sequence

    def add(self, body: bytes, duration: int, *, independent: bool, frames: int) -> None:
        """One more part of the segment in the making. Wakes nobody: see ``changed``."""
        self.segments[-1].add(body, duration, independent=independent, frames=frames)

    def complete(self) -> None:
        """The segment in the making is whole."""
        segment = self.segments[-1]
        segment.complete = True
        self.longest = max(self.longest, segment.seconds)
        self._trim()

    def changed(self) -> None:
        """Tell everybody who waits."""
        self.version += 1
        self.signal.fire()

    def end(self) -> None:
        """Nothing follows."""
        self.ended = True
        self.changed()

    def _trim(self) -> None:
        complete = [segment for segment in self.segments if segment.complete]
        keep = min(self.listed, len(complete))
        if self.dvr:
            seconds = sum(segment.seconds for segment in complete[-keep:])
            weight = sum(segment.nbytes for segment in complete[-keep:])
            while keep < len(complete) and seconds < self.dvr and weight < self.dvr * WEIGHT:
                keep += 1
                seconds += complete[-keep].seconds
                weight += complete[-keep].nbytes
        first = complete[-keep].sequence
        self.first_listed = first
        spare = min(keep, 7)
        while self.segments[0].sequence < first - spare:
            gone = self.segments.popleft()
            if self.segments[0].init.index != gone.init.index:
                del self.inits[gone.init.index]
        oldest = self.segments[0]
        self.times.forget(oldest.init.index, oldest.named_time, oldest.sequence)
        self._settle(complete)

    def _settle(self, complete: list[Segment]) -> None:
        """Keep the bytes of old segments once; those whose parts are listed may still be asked for either way."""
        recent = self.recent()[0].sequence
        for segment in reversed(complete):
            if segment.sequence < recent - 1:
                if segment.settled:
                    break
                segment.settle()

    # -- looking --------------------------------------------------------------------------------------------------------

    @property
    def target_duration(self) -> int:
        """EXT-X-TARGETDURATION of what is there: the longest segment ever, rounded, and never less than it was."""
        growing = self.segments[-1].seconds if self.segments else 0.0
        return max(1, math.floor(max(self.longest, growing) + 0.5))

    @property
    def growing(self) -> Segment | None:
        """The segment in the making."""
        return self.segments[-1] if self.segments and not self.segments[-1].complete else None

    @property
    def started(self) -> bool:
        """Whether there is anything to play."""
        return bool(self.segments) and self.segments[0].listed

    def visible(self) -> list[Segment]:
        """The segments in the playlist, the one in the making (with a part at least) last."""
        return [segment for segment in self.segments if segment.sequence >= self.first_listed and segment.listed]

    def recent(self) -> list[Segment]:
        """The segments whose parts are in the playlist: those near the end."""
        seconds, limit = 0.0, PART_AGE * self.target_duration
        found: list[Segment] = []
        for segment in reversed(self.segments):
            found.append(segment)
            seconds += segment.seconds
            if seconds >= limit:
                break
        return found[::-1]

    def get(self, sequence: int) -> Segment | None:
        """The segment of that number if it is here."""
        if not self.segments:
            return None
        index = sequence - self.segments[0].sequence
        return self.segments[index] if 0 <= index < len(self.segments) else None

    def position(self) -> tuple[int, int]:
        """Sequence and part index that come next."""
        growing = self.growing
        return (self.next_sequence, 0) if growing is None else (growing.sequence, len(growing.parts))

    def poll(self, msn: int, part: int | None, part_advance: int) -> Position:
        """May a playlist that holds segment ``msn`` (or its ``part``) be sent? RFC 8216bis, 6.2.5.2.

        ``part_advance`` is how many parts beyond the last one may be waited for. Never GONE: an old position is READY.
        """
        next_msn, next_part = self.position()
        if self.ended or msn < next_msn - 1:
            return Position.READY if self.started else Position.WAIT
        if msn == next_msn - 1:
            # A part beyond the last one of its segment means the first of the next.
            before = self.get(msn)
            known = before is not None and part is not None and part < len(before.parts)
            return Position.READY if part is None or known or next_part > 0 else Position.WAIT
        if msn == next_msn and part is not None:
            if part < next_part:
                return Position.READY
            # hls.js without low latency asks for as many parts as it has seen in any segment, and dies of a 400.
            furthest = max(next_part - 1 + part_advance, max((len(segment.parts) for segment in self.segments), default=0))
            return Position.WAIT if part <= furthest else Position.TOO_FAR
        return Position.WAIT if msn <= next_msn + 1 else Position.TOO_FAR

    def find(self, sequence: int, part: int | None) -> Position:
        """Is that segment (whole), or that part of it, here? Only what is hinted or announced next can be waited for."""
        segment = self.get(sequence)
        next_position = self.position()
        if segment is not None and segment.gap:
            return Position.GONE
        if segment is not None and segment.complete:
            return Position.READY if part is None or part < len(segment.parts) else Position.GONE
        if segment is not None and part is not None and part < len(segment.parts):
            return Position.READY
        if self.ended:
            return Position.GONE if sequence < self.next_sequence else Position.TOO_FAR
        if part is None:
            return Position.WAIT if 0 <= sequence - next_position[0] <= 1 else self._beyond(sequence)
        return Position.WAIT if (sequence, part) == next_position else self._beyond(sequence)

    def _beyond(self, sequence: int) -> Position:
        return Position.GONE if sequence < self.next_sequence else Position.TOO_FAR
