"""Plain movies (ISO/IEC 14496-12): all samples in tables before the media, so that any player can seek and begin at once.
Made from the fragments of a fragmented movie, without a look into the media.
"""

import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, groupby
from operator import add

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.mp4.boxes import box, edts, ftyp, full_box, mvhd
from protocols.mp4.reader import StoredRun, StoredTrack, child, children

#: Units a second of a plain movie's own clock: 32 bits of them are 49 days.
MOVIE_TIMESCALE = 1000

_BRANDS = (b"isom", b"iso2", b"mp41")
_MOST = 0xFFFFFFFF  # what 32 bits hold
_MDAT_HEADER = 16


class SampleTable:
    """One track's samples, gathered run by run in the order of their decode times."""

    def __init__(self, track: StoredTrack) -> None:
        self.track = track
        self._sizes = array("I")
        self._durations = array("I")
        self._offsets = array("i")
        self._keyframes = array("I")
        self._places = array("Q")
        self._chunks = array("I")
        # Decode times of the first sample and behind the last; of what is shown, the begin (of the first run) and the end.
        self._first = self._end = 0
        self._shown = self._shown_until = 0

    def add(self, run: StoredRun, place: int) -> None:
        """One run more, whose samples lie from ``place`` (bytes into the media) on. Where it does not begin when the run before
        ended, that one's last sample lasts longer, or less."""
        if not len(run.sizes):
            return
        begin = self._end if run.base is None else run.base
        if not self._sizes:
            self._first = self._end = begin
        elif begin != self._end:
            last = min(max(self._durations[-1] + begin - self._end, 0), _MOST)
            self._end += last - self._durations[-1]
            self._durations[-1] = last
        try:
            self._durations.extend(run.durations)
            self._offsets.extend(run.offsets)
        except OverflowError as error:
            raise RemoteProtocolError(f"a sample's time does not fit a table: {error}") from None
        times = list(accumulate(run.durations, initial=begin))
        shown = list(map(add, times, run.offsets))
        if not self._sizes:
            self._shown = min(shown)
        self._shown_until = max(self._shown_until, *map(add, shown, run.durations))
        number = len(self._sizes)
        self._keyframes.extend(number + index for index, key in enumerate(run.keyframes, 1) if key)
        self._sizes.extend(run.sizes)
        self._places.append(place)
        self._chunks.append(len(run.sizes))
        self._end = times[-1]

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def duration(self) -> int:
        """How long the movie is for this track, in the movie's units."""
        return min(sum(duration for duration, _ in self._edits()), _MOST)

    def _edits(self) -> list[tuple[int, int]]:
        """When it is shown (see ``boxes.edts``): nothing for as long as it begins later than the movie, then all of it."""
        begin = _first_shown(self.track.trak)
        skip = max(begin, self._shown)
        shown = self._in_movie(max(self._shown_until - skip, 0)), skip - self._first
        return [(self._in_movie(self._shown - begin), -1), shown] if self._shown > begin else [shown]

    def _in_movie(self, time: int) -> int:
        return -(-time * MOVIE_TIMESCALE // self.track.timescale)

    def trak(self, start: int, *, wide: bool) -> bytes:
        """The track with its samples, whose media begins ``start`` bytes into the file; ``wide``: offsets have 64 bits."""
        parts: list[bytes] = []
        for kind, content in children(self.track.trak):
            if kind == b"tkhd":
                parts += (box(b"tkhd", _with_duration(content, self.duration)), edts(*self._edits()))
            elif kind == b"mdia":
                parts.append(self._media(content, start, wide=wide))
            elif kind != b"edts":
                parts.append(box(kind, content))
        return box(b"trak", *parts)

    def _media(self, mdia: bytes, start: int, *, wide: bool) -> bytes:
        parts = []
        for kind, content in children(mdia):
            if kind == b"mdhd":
                language = content[32:34] if content[:1] == b"\1" else content[20:22]
                times = struct.pack(">QQIQ", 0, 0, self.track.timescale, self._end - self._first)
                parts.append(full_box(b"mdhd", 1, 0, times, language, b"\0\0"))
            elif kind == b"minf":
                inner = [box(name, part) for name, part in children(content) if name != b"stbl"]
                parts.append(box(b"minf", *inner, self._tables(child(content, b"stbl", b"stsd"), start, wide=wide)))
            else:
                parts.append(box(kind, content))
        return box(b"mdia", *parts)

    def _tables(self, stsd: bytes, start: int, *, wide: bool) -> bytes:
        tables = [box(b"stsd", stsd), _counted(b"stts", 0, _run_lengths(self._durations))]
        if any(self._offsets):
            offsets = [(count, offset & 0xFFFFFFFF) for count, offset in _run_lengths(self._offsets)]
            tables.append(_counted(b"ctts", 1 if min(self._offsets) < 0 else 0, offsets))
        if len(self._keyframes) < len(self._sizes):
            tables.append(_listed(b"stss", self._keyframes))
        first = 1
        chunks = []
        for count, samples in _run_lengths(self._chunks):
            chunks.append((first, samples, 1))
            first += count
        tables.append(_counted(b"stsc", 0, chunks))
        tables.append(full_box(b"stsz", 0, 0, struct.pack(">II", 0, len(self._sizes)), _big_endian(self._sizes)))
        places = array("Q" if wide else "I", (start + place for place in self._places))
        tables.append(_listed(b"co64" if wide else b"stco", places))
        return box(b"stbl", *tables)


def progressive_head(tables: Sequence[SampleTable], media: int) -> bytes:
    """Everything before the media (``media`` bytes of it), the mdat's own header included.

    LocalProtocolError for no samples; RemoteProtocolError for a track that is malformed.
    """
    tables = [table for table in tables if len(table)]
    if not tables:
        raise LocalProtocolError("a movie of no samples")
    brands = ftyp(b"ftyp", _BRANDS[0], *_BRANDS)
    try:
        size = len(_moov(tables, 0, wide=False))
        wide = len(brands) + size + _MDAT_HEADER + media > _MOST
        size = len(_moov(tables, 0, wide=True)) if wide else size
        moov = _moov(tables, len(brands) + size + _MDAT_HEADER, wide=wide)
    except (struct.error, OverflowError) as error:
        raise RemoteProtocolError(f"a time does not fit its field: {error}") from None
    return brands + moov + struct.pack(">I4sQ", 1, b"mdat", _MDAT_HEADER + media)


def _moov(tables: Sequence[SampleTable], start: int, *, wide: bool) -> bytes:
    last = max(table.track.track_id for table in tables)
    duration = max(table.duration for table in tables)
    traks = [table.trak(start, wide=wide) for table in tables]
    return box(b"moov", mvhd(MOVIE_TIMESCALE, last + 1, duration), *traks)


def _first_shown(trak: bytes) -> int:
    """The media time at which the movie begins, as the first edit that shows something says."""
    try:
        elst = child(trak, b"edts", b"elst")
    except RemoteProtocolError:
        return 0
    row = struct.Struct(">Qq4x" if elst[:1] == b"\1" else ">Ii4x")
    return next((first for _, first in row.iter_unpack(elst[8 : 8 + (len(elst) - 8) // row.size * row.size]) if first >= 0), 0)


def _with_duration(tkhd: bytes, duration: int) -> bytes:
    """A track header that says how long the track is."""
    if tkhd[:1] == b"\1":
        return tkhd[:28] + duration.to_bytes(8) + tkhd[36:]
    return tkhd[:20] + duration.to_bytes(4) + tkhd[24:]


def _run_lengths(values: Iterable[int]) -> list[tuple[int, int]]:
    return [(sum(1 for _ in group), value) for value, group in groupby(values)]


def _counted(kind: bytes, version: int, rows: Sequence[tuple[int, ...]]) -> bytes:
    words = array("I", (word for row in rows for word in row))
    return full_box(kind, version, 0, len(rows).to_bytes(4), _big_endian(words))


def _listed(kind: bytes, values: "array[int]") -> bytes:
    return full_box(kind, 0, 0, len(values).to_bytes(4), _big_endian(values))


def _big_endian(values: "array[int]") -> bytes:
    swapped = values[:]
    if sys.byteorder == "little":
        swapped.byteswap()
    return swapped.tobytes()
