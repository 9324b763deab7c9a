"""How much of a file is whole, and how long it plays: what a recording that was cut off is good for. Blocks."""

import os
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from mediaserver.recording.flv import FlvFile
from protocols import matroska, mpegts
from protocols.errors import ProtocolError, RemoteProtocolError
from protocols.flv import TAG_HEADER_SIZE
from protocols.mp4.movie import duration_patch
from protocols.mp4.reader import LONG_HEADER_SIZE, BoxHeader, StoredTrack, box_header, read_fragment, read_tracks

#: Bytes of a movie header or of a fragment's that we are willing to read. Real ones have under 100 kB.
MOST_BYTES = 16 << 20
#: Seconds that a file may say it plays: a century. Beyond it is broken, and its time fits into no field.
LONGEST = 100 * 365.25 * 86_400
#: Clusters of Matroska that are looked into for the latest time: each is a part.
_LAST_CLUSTERS = 3
#: Bytes in which the head of a file and its first part begin.
_FIRST_PART = 1 << 20


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
    if seconds > LONGEST:
        raise RemoteProtocolError("times that no recording has")
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


def ts(file: BinaryIO) -> Whole:
    """A transport stream up to the last null packet, with which a part ends."""
    size = file.seek(0, os.SEEK_END)
    ends = _part_ends(file, size)
    good = next(ends, 0)
    if not good:
        return Whole(0, 0.0, None)
    begin = next(ends, 0)
    file.seek(begin)
    latest = list(mpegts.stamps(file.read(min(good - begin, MOST_BYTES))))
    file.seek(0)
    first = list(mpegts.stamps(file.read(min(good, _FIRST_PART))))
    # The clock wraps after a day.
    seconds = ((max(latest) - min(first)) % mpegts.WRAP) / mpegts.CLOCK if first and latest else 0.0
    return Whole(good, seconds, None)


def _part_ends(file: BinaryIO, size: int) -> Iterator[int]:
    """Where parts end, from the last one back."""
    block = mpegts.PACKET_SIZE * 1024
    end = size - size % mpegts.PACKET_SIZE
    while end > 0:
        begin = max(end - block, 0)
        file.seek(begin)
        data = file.read(end - begin)
        for position in range(len(data), 0, -mpegts.PACKET_SIZE):
            if data[position - mpegts.PACKET_SIZE : position] == mpegts.NULL_PACKET:
                yield begin + position
        end = begin


def mkv(file: BinaryIO) -> Whole:
    """A Matroska file up to its last whole cluster. RemoteProtocolError if it is none."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    position, room = matroska.read_head(file.read(_FIRST_PART))
    clusters = list(_clusters(file, position, size))
    # What is cut off is cut off at the end, and a server that starts has no time to read all that was recorded.
    while clusters and _cluster_end(file, *clusters[-1]) is None:
        clusters.pop()
    latest = max([_cluster_end(file, *place) or 0 for place in clusters[-_LAST_CLUSTERS:]], default=0)
    if latest / 1000 > LONGEST:
        raise RemoteProtocolError("times that no recording has")
    return Whole(clusters[-1][1] if clusters else 0, latest / 1000, (room, matroska.duration(latest / 1000)))


def _cluster_end(file: BinaryIO, begin: int, end: int) -> int | None:
    """The latest time (ms) in the cluster whose content lies there. None if it is malformed."""
    file.seek(begin)
    try:
        return matroska.cluster_end(file.read(end - begin))
    except ProtocolError:
        return None


def _clusters(file: BinaryIO, position: int, size: int) -> Iterator[tuple[int, int]]:
    """Where the content of each whole cluster begins and ends."""
    while True:
        file.seek(position)
        try:
            identifier, header, length = matroska.read_element(file.read(12))
        except ProtocolError:
            return
        end = position + header + length
        if not matroska.is_cluster(identifier) or length < 0 or end > size or length > MOST_BYTES * 4:
            return
        yield position + header, end
        position = end
