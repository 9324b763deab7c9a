"""A recording as a plain MP4 whose tables come first (*faststart*), made from our fragmented one without coding anything anew:
what it begins with is built, the media is copied. Other containers are taken apart and put together anew (see ``remux``).
"""

import asyncio
import errno
import os
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mediaserver.recording import remux, sprites
from mediaserver.recording.scan import find_tracks, next_box, read_content
from protocols.errors import RemoteProtocolError
from protocols.mp4.progressive import SampleTable, progressive_head
from protocols.mp4.reader import read_fragment

#: Bytes that are copied at a time.
PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Faststart:
    """A movie that can be read from front to back: ``head``, then the ``media`` of the source as (offset, bytes). ``size`` is
    that of all of it."""

    head: bytes
    media: tuple[tuple[int, int], ...]
    size: int

    def pieces(self, source: BinaryIO) -> Iterator[bytes]:
        """The movie, ``PIECE`` bytes at a time. Blocks; raises OSError, EOFError where the source has been cut."""
        yield self.head
        for offset, size in self.media:
            source.seek(offset)
            while size:
                data = source.read(min(size, PIECE))
                if not data:
                    raise EOFError("the recording is shorter than it was")
                size -= len(data)
                yield data


def plan(source: BinaryIO) -> Faststart:
    """Look through a fragmented movie. Blocks, for a moment an hour. RemoteProtocolError if it is none, or has no media."""
    size = source.seek(0, os.SEEK_END)
    position, tracks = find_tracks(source, size)
    tables = {track_id: SampleTable(track) for track_id, track in tracks.items()}
    media = []
    copied = 0
    while (moof := next_box(source, position, size)) is not None:
        if moof.kind != b"moof":
            position += moof.size
            continue
        data = next_box(source, position + moof.size, size)
        if data is None or data.kind != b"mdat":
            break
        begin = position + moof.size + data.header
        for run in read_fragment(read_content(source, position, moof), tracks):
            place = position + run.data - begin
            if not 0 <= place <= place + sum(run.sizes) <= data.size - data.header:
                raise RemoteProtocolError("samples that are not in their fragment")
            tables[run.track_id].add(run, copied + place)
        media.append((begin, data.size - data.header))
        copied += data.size - data.header
        position += moof.size + data.size
    if not copied:
        raise RemoteProtocolError("no fragment with media in it")
    head = progressive_head(list(tables.values()), copied)
    return Faststart(head, tuple(media), len(head) + copied)


def write(source: Path, target: Path) -> int:
    """Write the fragmented movie ``source`` as a plain one to ``target``, which appears when it is whole. Its size in bytes.

    Blocks. Raises OSError, RemoteProtocolError.
    """
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with source.open("rb") as movie, part.open("xb") as output:
            made = plan(movie)
            for piece in made.pieces(movie):
                output.write(piece)
            output.flush()
            os.fsync(output.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return made.size


async def stream(source: BinaryIO, movie: Faststart) -> AsyncIterator[bytes]:
    """``movie.pieces``, each read by a thread, so that the event loop does not wait for the disk."""
    pieces = movie.pieces(source)
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


def main(source: Path, target: Path) -> int:
    """``mediaserver recording faststart FILE OUT``: exit status 0, or 1 with a line that says why not."""
    try:
        if target.exists():
            raise FileExistsError(errno.EEXIST, "exists already, and is not written over", str(target))
        size = write(source, target) if _is_movie(source) else asyncio.run(remux.remux(source, target))
    except OSError as error:
        sys.stderr.write(f"{error.filename or source}: {error.strerror}\n")
    except RemoteProtocolError as error:
        sys.stderr.write(f"{source}: not a fragmented MP4 that could be written anew: {error}\n")
    except remux.RemuxError as error:
        sys.stderr.write(f"{source}: cannot be had as an MP4: {error}\n")
    else:
        sys.stdout.write(f"{target}: {size} bytes\n")
        return 0
    return 1


def _is_movie(source: Path) -> bool:
    """Whether it is an MP4 by its name; other names than those of recordings are taken for one."""
    return sprites.FORMATS.get(source.suffix.lower(), "mp4") in ("mp4", "mov")
