"""Movies of several tracks in one file (ISO/IEC 14496-12): fragmented while they are written, so that they play however
short they were cut.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from protocols.errors import LocalProtocolError
from protocols.media import MediaKind, Track
from protocols.mp4 import boxes
from protocols.mp4.fragment import TRACK_IDS, Sample, extends_box, pack_row, run_of, track_box

#: Units a second of a movie's own clock.
MOVIE_TIMESCALE = 90_000

_BRANDS = (b"iso6", b"mp41")
#: Bytes of a mehd of version 1, for which room is kept while the duration is unknown.
_MEHD_SIZE = 20

_MOOF = struct.Struct(">I4s I4sII")  # moof, mfhd
_TRAF = struct.Struct(">I4s I4sIIIII I4sIQ I4sIII")  # traf, tfhd, tfdt v1, trun up to its data offset
_TFHD_FLAGS = 0x020000 | 0x08 | 0x10 | 0x20  # default-base-is-moof, default duration, size and flags present
_VERSION_1 = 1 << 24


class TrackRun(NamedTuple):
    """Samples of one track; the first is decoded at ``base_decode_time`` (its timescale)."""

    track: Track
    base_decode_time: int
    samples: Sequence[Sample]


def movie_header(tracks: Sequence[Track], first: Mapping[MediaKind, int]) -> bytes:
    """ftyp + moov of a movie whose samples follow in fragments. ``first`` is the media time (track's timescale) that is shown at
    the movie's beginning, where it is not 0.

    RemoteProtocolError if a track's configuration is malformed or says too little.
    """
    room = boxes.box(b"free", bytes(_MEHD_SIZE - 8))
    return boxes.ftyp(b"ftyp", _BRANDS[0], *_BRANDS) + boxes.box(
        b"moov",
        boxes.mvhd(MOVIE_TIMESCALE, max(TRACK_IDS.values()) + 1),
        *(track_box(track, first.get(track.kind, 0)) for track in tracks),
        boxes.box(b"mvex", room, *(extends_box(track) for track in tracks)),
    )


def duration_patch(header: bytes, seconds: float) -> tuple[int, bytes] | None:
    """Where in a file that begins with ``header`` its duration belongs, and the bytes that tell it. None if there is no room."""
    place = header.find(b"mvex")
    if place < 0 or header[place + 8 : place + 12] not in (b"free", b"mehd"):
        return None
    return place + 4, boxes.full_box(b"mehd", 1, 0, round(seconds * MOVIE_TIMESCALE).to_bytes(8))


def movie_fragment(sequence_number: int, runs: Sequence[TrackRun]) -> bytes:
    """moof + mdat with a traf for each run. LocalProtocolError for no samples or numbers that do not fit."""
    if not runs:
        raise LocalProtocolError("a fragment of no tracks")
    tables = [run_of(run.track.kind, run.samples) for run in runs]
    size = _MOOF.size + sum(_TRAF.size + 4 * len(table.row) for table in tables)
    data = size + 8
    try:
        parts = [_MOOF.pack(size, b"moof", 16, b"mfhd", 0, sequence_number & 0xFFFFFFFF)]
        for run, table in zip(runs, tables, strict=True):
            words = 4 * len(table.row)
            parts.append(
                _TRAF.pack(
                    *(_TRAF.size + words, b"traf"),
                    *(28, b"tfhd", _TFHD_FLAGS, TRACK_IDS[run.track.kind], *table.defaults),
                    *(20, b"tfdt", _VERSION_1, run.base_decode_time),
                    *(20 + words, b"trun", table.flags, table.length, data),
                )
            )
            parts.append(pack_row(table.row))
            data += table.nbytes
        parts.append(struct.pack(">I4s", data - size, b"mdat"))
    except struct.error as error:
        raise LocalProtocolError(f"a fragment's number does not fit its field: {error}") from None
    parts += [sample.data for run in runs for sample in run.samples]
    return b"".join(parts)
