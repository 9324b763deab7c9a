"""Fragmented movies read back (ISO/IEC 14496-12): their tracks, and where each fragment's samples are. As our own writers (and
libavformat's) lay them out; nothing here looks into the media.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from protocols.errors import RemoteProtocolError

#: Bytes of a box's header, and of one whose size has 64 bits.
HEADER_SIZE, LONG_HEADER_SIZE = 8, 16
#: A sample that cannot be decoded by itself (14496-12, 8.8.3.1).
_NON_SYNC = 0x00010000
#: Samples of a fragment: a few bytes may claim to be any number of them.
_MOST_SAMPLES = 1 << 20

_TFHD_OPTIONS = ((0x01, 8), (0x02, 4), (0x08, 4), (0x10, 4), (0x20, 4))
_DURATION, _SIZE, _FLAGS, _OFFSET = 0x100, 0x200, 0x400, 0x800


class BoxHeader(NamedTuple):
    """``size`` counts the header's ``header`` bytes too."""

    kind: bytes
    size: int
    header: int


@dataclass(frozen=True, slots=True)
class StoredTrack:
    """A track of a movie: its clock's units a second, whether it is pictures, its ``trak`` box, and its fragments' defaults
    (duration, size, flags)."""

    track_id: int
    timescale: int
    is_video: bool
    trak: bytes
    defaults: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class StoredRun:
    """Samples of one track that lie in a row, from ``data`` (bytes from the moof's first) on. ``base`` is the first one's decode
    time, None if it follows on what was before. One value for each sample in the rest."""

    track_id: int
    base: int | None
    data: int
    durations: Sequence[int]
    sizes: Sequence[int]
    offsets: Sequence[int]
    keyframes: Sequence[bool]


def box_header(data: bytes) -> BoxHeader:
    """The header of a box, from its first 16 bytes (fewer, if there are no more). RemoteProtocolError if it is none."""
    if len(data) < HEADER_SIZE:
        raise RemoteProtocolError("a box that ends within its header")
    size, kind = struct.unpack_from(">I4s", data)
    header = HEADER_SIZE
    if size == 1:
        if len(data) < LONG_HEADER_SIZE:
            raise RemoteProtocolError("a box that ends within its header")
        size, header = int.from_bytes(data[8:16]), LONG_HEADER_SIZE
    if size < header:
        raise RemoteProtocolError(f"a box of {size} bytes")
    return BoxHeader(kind, size, header)


def children(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each box in ``data``. RemoteProtocolError for one that goes beyond it."""
    position = 0
    while position < len(data):
        kind, size, header = box_header(data[position : position + LONG_HEADER_SIZE])
        if position + size > len(data):
            raise RemoteProtocolError("a box that goes beyond the one around it")
        yield kind, data[position + header : position + size]
        position += size


def child(data: bytes, *kinds: bytes) -> bytes:
    """The content of the first box of that kind in ``data``, and so on inwards. RemoteProtocolError if there is none."""
    for kind in kinds:
        found = next((content for name, content in children(data) if name == kind), None)
        if found is None:
            raise RemoteProtocolError(f"no {kind.decode('latin-1')} box where one must be")
        data = found
    return data


def read_tracks(moov: bytes) -> dict[int, StoredTrack]:
    """The tracks of a movie by their ids, from the content of its moov. RemoteProtocolError if it is malformed."""
    try:
        defaults = {}
        for kind, content in children(child(moov, b"mvex")):
            if kind == b"trex":
                track_id, _, duration, size, flags = struct.unpack_from(">5I", content, 4)
                defaults[track_id] = duration, size, flags
        return {track.track_id: track for track in _read_traks(moov, defaults)}
    except struct.error as error:
        raise RemoteProtocolError(f"a movie header that is cut off: {error}") from None


def _read_traks(moov: bytes, defaults: Mapping[int, tuple[int, int, int]]) -> Iterator[StoredTrack]:
    for kind, trak in children(moov):
        if kind == b"trak":
            tkhd, mdhd = child(trak, b"tkhd"), child(trak, b"mdia", b"mdhd")
            (track_id,) = struct.unpack_from(">I", tkhd, 20 if tkhd[:1] == b"\1" else 12)
            (timescale,) = struct.unpack_from(">I", mdhd, 20 if mdhd[:1] == b"\1" else 12)
            if not timescale:
                raise RemoteProtocolError("a track without a clock")
            is_video = child(trak, b"mdia", b"hdlr")[8:12] == b"vide"
            yield StoredTrack(track_id, timescale, is_video, trak, defaults.get(track_id, (0, 0, 0)))


def read_fragment(moof: bytes, tracks: Mapping[int, StoredTrack]) -> list[StoredRun]:
    """The runs of a fragment, from the content of its moof (whose header has 8 bytes). Runs of tracks that are not in ``tracks``
    are left out. RemoteProtocolError if it is malformed."""
    runs: list[StoredRun] = []
    samples = 0
    try:
        for kind, traf in children(moof):
            if kind == b"traf":
                for run in _read_traf(traf, tracks):
                    samples += len(run.sizes)
                    if samples > _MOST_SAMPLES:
                        raise RemoteProtocolError(f"a fragment of {samples} samples")
                    runs.append(run)
    except struct.error as error:
        raise RemoteProtocolError(f"a fragment that is cut off: {error}") from None
    return runs


def _read_traf(traf: bytes, tracks: Mapping[int, StoredTrack]) -> Iterator[StoredRun]:
    tfhd = child(traf, b"tfhd")
    flags, track_id = struct.unpack_from(">II", tfhd)
    track = tracks.get(track_id)
    if track is None:
        return
    if flags & 0x01:
        raise RemoteProtocolError("a fragment that counts its bytes from elsewhere")
    values: list[int | None] = []
    position = 8
    for bit, width in _TFHD_OPTIONS:
        values.append(int.from_bytes(tfhd[position : position + width]) if flags & bit else None)
        position += width if flags & bit else 0
    told = tuple(default if value is None else value for value, default in zip(values[2:], track.defaults, strict=True))
    base: int | None = None
    for kind, content in children(traf):
        if kind == b"tfdt":
            base = int.from_bytes(content[4:12] if content[:1] == b"\1" else content[4:8])
        elif kind == b"trun":
            yield _read_run(track_id, base, content, told)
            base = None


def _read_run(track_id: int, base: int | None, trun: bytes, defaults: tuple[int, ...]) -> StoredRun:
    flags, count = struct.unpack_from(">II", trun)
    if not flags & 0x01:
        raise RemoteProtocolError("a run that does not say where its data is")
    (data,) = struct.unpack_from(">i", trun, 8)
    position = 12
    first: int | None = None
    if flags & 0x04:
        (first,) = struct.unpack_from(">I", trun, position)
        position += 4
    columns = [bit for bit in (_DURATION, _SIZE, _FLAGS, _OFFSET) if flags & bit]
    if count > (len(trun) // (4 * len(columns)) if columns else _MOST_SAMPLES):
        raise RemoteProtocolError(f"a run of {count} samples in {len(trun)} bytes")
    words = struct.unpack_from(f">{count * len(columns)}I", trun, position)
    table = {bit: words[index :: len(columns)] for index, bit in enumerate(columns)}
    duration, size, sample_flags = defaults
    each = list(table.get(_FLAGS, (sample_flags,) * count))
    if first is not None and each:
        each[0] = first
    offsets = table.get(_OFFSET, (0,) * count)
    if flags >> 24:
        offsets = tuple(value - (value >> 31 << 32) for value in offsets)
    return StoredRun(
        track_id,
        base,
        data,
        table.get(_DURATION, (duration,) * count),
        table.get(_SIZE, (size,) * count),
        offsets,
        [not value & _NON_SYNC for value in each],
    )
