"""What players fetch: init segments, segments, and the parts that segments are made of."""

from bisect import bisect_right
from dataclasses import dataclass, field

from mediaserver.packaging.answer import Ready
from protocols import hls
from protocols.codec import AudioParameters, VideoParameters
from protocols.media import Track

#: How long media may be kept by caches, seconds: what is behind its URL never changes.
FOREVER = 31_536_000.0

#: So much faster or slower than the media do dates run until they have caught up with an anchor that was set right.
BEND = 0.05


@dataclass(frozen=True, slots=True)
class InitSegment:
    """ftyp + moov of one track, and what playlists say about it. ``timescale`` in units a second."""

    index: int
    track: Track
    parameters: VideoParameters | AudioParameters
    timescale: int
    answer: Ready


def media_answer(kind: str, body: bytes) -> Ready:
    """Immutable bytes of an init segment, segment or part of an ``audio`` or ``video`` track."""
    return Ready(body, f"{kind}/mp4", FOREVER, immutable=True)


@dataclass(slots=True)
class Epoch:
    """A stretch of the stream on one clock. Media time 0 was (or would have been) at Unix time ``anchor``; ``begin`` is the
    media time of its first segment, None before there is one. Seconds.

    ``number`` counts discontinuities; ``period`` counts these as well and each time that the publisher's clock was
    found to run away from ours. Then ``since`` is the media time of that, and ``before`` the anchor that dates had.
    """

    number: int
    period: int
    anchor: float
    begin: float | None = None
    since: float = 0.0
    before: float | None = None

    def date(self, time: float) -> float:
        """Unix time of that media time. Where the anchor was set right dates bend, they do not leap: playlists that begin at
        different segments would not fit together, and players put them side by side by their dates (RFC 8216bis, 6.2.4)."""
        if self.before is None:
            return self.anchor + time
        most = BEND * max(0.0, time - self.since)
        return self.before + min(max(self.anchor - self.before, -most), most) + time


@dataclass(frozen=True, slots=True)
class Part:
    """One moof + mdat. ``duration`` in timescale units; ``line`` is its EXT-X-PART."""

    body: bytes
    duration: int
    independent: bool
    line: str


@dataclass(slots=True)
class Segment:
    """Parts on their way to be a segment. ``time`` (decode time of the first sample) and ``duration`` in timescale units.

    ``discontinuities`` is how many there were since the segment before it; ``new_init`` says that the one before
    had another init segment, or that there was none. A ``gap`` is listed and has nothing in it. ``frames`` counts samples;
    ``frame_rate`` is what was told of their track when it was whole, 0.0 where nothing was. ``named_time`` is what MPDs call it
    by: its ``time``, but where another has that name.
    """

    kind: str
    sequence: int
    init: InitSegment
    epoch: Epoch
    time: int
    discontinuities: int
    new_init: bool
    gap: bool = False
    parts: list[Part] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    duration: int = 0
    longest_part: int = 0
    nbytes: int = 0
    frames: int = 0
    frame_rate: float = 0.0
    named_time: int = 0
    complete: bool = False
    settled: bool = False
    _body: bytes = b""
    _entry: str = ""
    _answers: dict[int | None, Ready] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return self.duration / self.init.timescale

    @property
    def independent(self) -> bool:
        """Whether a player can begin here, or need not."""
        return self.gap or (bool(self.parts) and self.parts[0].independent)

    @property
    def listed(self) -> bool:
        """Whether there is anything to say of it."""
        return self.gap or bool(self.parts)

    # -- growing ----------------------------------------------------------------------------------------------------------

    def add(self, body: bytes, duration: int, *, independent: bool, frames: int) -> None:
        """One more part, of so many ``frames``."""
        uri = f"{self.kind}/{self.sequence}.{len(self.parts)}.m4s"
        line = hls.part_line(hls.Part(uri, duration / self.init.timescale, independent))
        self.parts.append(Part(body, duration, independent, line))
        self.nbytes += len(body)
        self.ends.append(self.nbytes)
        self.duration += duration
        self.frames += frames
        self.longest_part = max(self.longest_part, duration)

    def settle(self) -> None:
        """Its parts are about to leave the playlist: keep the bytes once, and slice what is still asked for."""
        if len(self.parts) > 1:
            self._body = self.body
            self.parts = [Part(b"", part.duration, part.independent, part.line) for part in self.parts]
        self._answers.clear()
        self.settled = True

    # -- bytes ------------------------------------------------------------------------------------------------------------

    @property
    def body(self) -> bytes:
        """The whole segment; joined once, when it is first asked for."""
        if self._body:
            return self._body
        joined = self.parts[0].body if len(self.parts) == 1 else b"".join([part.body for part in self.parts])
        if self.complete:
            self._body = joined
        return joined

    def part_body(self, index: int) -> bytes:
        """The bytes of one part."""
        return self.parts[index].body or self._body[self.ends[index - 1] if index else 0 : self.ends[index]]

    def answer(self, part: int | None) -> Ready:
        """The whole (when complete) or one part, as one and the same answer to all who ask."""
        known = self._answers.get(part)
        if known is None:
            body = self.body if part is None else self.part_body(part)
            known = self._answers[part] = media_answer(self.kind, body)
        return known

    def read(self, offset: int) -> tuple[bytes, bool]:
        """The bytes from ``offset`` on, and whether they are the last (see ``answer.Growing``)."""
        if offset >= self.nbytes:
            return b"", self.complete
        if self._body:
            return self._body[offset:], self.complete
        index = bisect_right(self.ends, offset)
        rest = [part.body for part in self.parts[index:]]
        inside = offset - (self.ends[index - 1] if index else 0)
        if inside:
            rest[0] = rest[0][inside:]
        return rest[0] if len(rest) == 1 else b"".join(rest), self.complete

    # -- text -------------------------------------------------------------------------------------------------------------

    @property
    def program_time(self) -> float:
        """Unix time of the first sample."""
        return self.epoch.date(self.time / self.init.timescale)

    def head(self, *, with_map: bool = False, date: float | None = None) -> str:
        """The tags before its parts. ``with_map`` names the init segment even if it is not new; ``date`` is told even if it
        follows from the segments before."""
        return hls.segment_head(self._text(with_map=with_map, date=date))

    def part_lines(self) -> str:
        return "".join([part.line for part in self.parts])

    def tail(self) -> str:
        """EXTINF and URI, of a complete segment."""
        return hls.segment_tail(self._text())

    def entry(self) -> str:
        """The lines of a complete segment whose parts are not listed any more; made once."""
        if not self._entry:
            self._entry = self.head() + self.tail()
        return self._entry

    def _text(self, *, with_map: bool = False, date: float | None = None) -> hls.Segment:
        return hls.Segment(
            uri=f"{self.kind}/{self.sequence}.m4s",
            duration=self.seconds,
            gap=self.gap,
            discontinuities=self.discontinuities,
            map_uri=f"{self.kind}/init-{self.init.index}.mp4" if self.new_init or with_map else "",
            program_time=self.program_time if self.discontinuities else date,
        )
