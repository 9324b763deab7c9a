"""How much of a file is whole, and how long it plays: what a recording that was cut off is good for. Blocks."""

import os
from typing import BinaryIO, NamedTuple

from mediaserver.recording.flv import FlvFile
from protocols.errors import ProtocolError, RemoteProtocolError
from protocols.flv import TAG_HEADER_SIZE
from protocols.mp4.movie import duration_patch
from protocols.mp4.reader import LONG_HEADER_SIZE, BoxHeader, StoredTrack, box_header, read_fragment, read_tracks

#: Bytes of a movie header or of a fragment's that we are willing to read. Real ones have under 100 kB.
MOST_BYTES = 16 << 20


class Whole(NamedTuple):
    """The first ``size`` bytes are whole (0: there is no part) and play ``seconds``; ``patch`` tells that to the file."""

    size: int
    seconds: float
    patch: tuple[int, bytes] | None


def next_box(file: BinaryIO, position: int, size: int) -> BoxHeader | None:
    """The box at ``position`` if all of it is there (the file has ``size`` bytes)."""
    file.seek(position)
    try:
        header = box_header(file.read(LONG_HEADER_SIZE))
    except ProtocolError:
        return None
    return header if position + header.size <= size else None


def read_content(file: BinaryIO, position: int, box: BoxHeader) -> bytes:
    """What is in ``box`` at ``position``. RemoteProtocolError for far too much."""
    if box.size > MOST_BYTES:
        raise RemoteProtocolError(f"a {box.kind!r} box of {box.size} bytes")
    file.seek(position + box.header)
    return file.read(box.size - box.header)


def mp4(file: BinaryIO) -> Whole:
    """A fragmented movie up to its last fragment that has all its data. RemoteProtocolError if it is none."""
    size = file.seek(0, os.SEEK_END)
    position, tracks = find_tracks(file, size)
    file.seek(0)
    head = file.read(position)
    ends = dict.fromkeys(tracks, 0)
    good = 0
    while (moof := next_box(file, position, size)) is not None and moof.kind == b"moof":
        data = next_box(file, position + moof.size, size)
        if data is None or data.kind != b"mdat":
            break
        try:
            runs = read_fragment(read_content(file, position, moof), tracks)
        except ProtocolError:
            break
        for run in runs:
            ends[run.track_id] = (ends[run.track_id] if run.base is None else run.base) + sum(run.durations)
        position += moof.size + data.size
        good = position
    seconds = max(end / tracks[track_id].timescale for track_id, end in ends.items())
    return Whole(good, seconds, duration_patch(head, seconds))


def find_tracks(file: BinaryIO, size: int) -> tuple[int, dict[int, StoredTrack]]:
    """Where the movie header of a fragmented movie ends, and its tracks. RemoteProtocolError if there is none."""
    position = 0
    while (box := next_box(file, position, size)) is not None:
        if box.kind == b"moov":
            tracks = read_tracks(read_content(file, position, box))
            if not tracks:
                raise RemoteProtocolError("a movie without tracks")
            return position + box.size, tracks
        position += box.size
    raise RemoteProtocolError("no movie header")


def flv(file: BinaryIO) -> Whole:
    """An FLV file up to its last whole tag. RemoteProtocolError if it is none."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(3) != b"FLV":
        raise RemoteProtocolError("no FLV file header")
    position, good, last, media = 13, 0, 0, False
    while True:
        file.seek(position)
        head = file.read(TAG_HEADER_SIZE)
        end = position + TAG_HEADER_SIZE + int.from_bytes(head[1:4]) + 4
        if len(head) < TAG_HEADER_SIZE or end > size or head[0] not in (8, 9, 18):
            break
        file.seek(end - 4)
        if int.from_bytes(file.read(4)) != end - position - 4:
            break
        last = max(last, int.from_bytes(head[4:7]) | head[7] << 24)
        media = media or last > 0
        position = good = end
    if not media:
        return Whole(0, 0.0, None)
    return Whole(good, last / 1000, FlvFile.duration_patch(last / 1000))
