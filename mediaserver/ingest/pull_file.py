"""Pulling a file of this machine. Runs in a worker process."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from mediaserver.ingest.pull_container import read as read_container
from mediaserver.ingest.pull_terms import SourceEnded, SourceRefused, Terms
from protocols.media import MediaKind, Packet, Track

#: How far pictures and sound may be apart, in ms. Reading on costs no time.
_SPAN = 15_000
#: Between the last picture of a file and its first one again, where the file does not tell, in ms.
_FRAME = 40


def allowed(url: str, roots: tuple[str, ...]) -> Path:
    """The real path of the file that ``url`` (a path, or ``file:///PATH``) names. Raises SourceRefused if it is in none of
    ``roots`` once all links are resolved."""
    name = unquote(urlsplit(url).path) if url.startswith("file:") else url
    if not roots:
        raise SourceRefused("no files may be pulled (pull.file_roots is empty)")
    try:
        path = Path(name)
        candidates = [path] if path.is_absolute() else [Path(root) / path for root in roots]
        real = next((each.resolve(strict=True) for each in candidates if each.exists()), None)
        inside = real is not None and any(real.is_relative_to(Path(root).resolve()) for root in roots)
    except (OSError, ValueError, RuntimeError):  # a loop of links, a name with a zero in it
        real, inside = None, False
    if real is None or not inside:
        # One answer for what is not there and what is not allowed: whoever asks learns nothing about the rest of the disk.
        raise SourceRefused("there is no such file in pull.file_roots")
    return real


def open_file(path: Path) -> BinaryIO:
    """The file at ``path``, which ``allowed`` has resolved. Raises OSError, SourceRefused."""
    # Not through a link that took the file's place meanwhile, and no device or pipe that never ends.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SourceRefused("this is not a file")
    return os.fdopen(descriptor, "rb")


def read(terms: Terms) -> Iterator[Track | Packet]:
    """Everything in the file, over and over if ``terms.loop``, with timestamps that go on."""
    path = allowed(terms.url, terms.roots)
    shift, sound_until = 0, 0
    while True:
        spans: dict[MediaKind, _Span] = {}
        try:
            file = open_file(path)
        except OSError as error:
            raise SourceRefused(f"the file cannot be read: {error.strerror}") from None
        with file:
            for item in read_container(file, span=_SPAN):
                if isinstance(item, Packet):
                    spans.setdefault(item.kind, _Span(item.dts)).reach(item.dts)
                    item.dts += shift
                    if shift and item.kind is MediaKind.AUDIO and item.dts < sound_until:
                        continue  # sound is often longer than the pictures: it does not sound twice at a time
                yield item
        if not spans:
            raise SourceRefused("the file is empty")
        if not terms.loop:
            raise SourceEnded("the file has ended")
        if MediaKind.AUDIO in spans:
            sound_until = spans[MediaKind.AUDIO].end + shift
        round_of = spans.get(MediaKind.VIDEO) or spans[MediaKind.AUDIO]
        shift += round_of.end - round_of.first


class _Span:
    """From where to where one kind of media goes, in ms."""

    def __init__(self, first: int) -> None:
        self.first = self.last = first
        self.step = _FRAME

    def reach(self, dts: int) -> None:
        if dts > self.last:
            self.step, self.last = dts - self.last, dts

    @property
    def end(self) -> int:
        """Behind the last packet, which is taken to last as long as the one before it."""
        return self.last + self.step
