"""What is removed because it is too old, or because there is too much. Blocks: the business of a thread.

Only files that are named like recordings, in folders named like streams: nothing else is touched, no link is followed, and a
file with a marker (being written, or not yet recovered) stays.
"""

import contextlib
import logging
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mediaserver.ports import RecordingFormat, is_name
from mediaserver.recording.file import MARKER_SUFFIX, open_folder

log = logging.getLogger(__name__)

_SUFFIXES = "|".join(form.value for form in RecordingFormat)
_STEM = re.compile(r"(.+-\d{8}-\d{6}(-\d+)?)\.")
_FILE = re.compile(rf"{_STEM.pattern}({_SUFFIXES})")


@dataclass(frozen=True, slots=True)
class Removed:
    """A file that is gone; ``name`` is the stream's."""

    name: str
    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class _Found:
    modified: float
    bytes: int
    folder: str
    file: str
    #: What stands beside it under its name: pictures of it, say.
    companions: tuple[str, ...]


def expire(root: Path, now: float, max_age: float, max_bytes: int) -> list[Removed]:
    """Remove recordings older than ``max_age`` seconds, then the oldest until ``max_bytes`` hold the rest; 0 for no limit."""
    found = sorted(_find(root), key=lambda file: file.modified)
    total = sum(file.bytes for file in found)
    removed = []
    for file in found:
        old = 0 < max_age < now - file.modified
        if not old and not 0 < max_bytes < total:
            continue
        if _remove(root, file):
            total -= file.bytes
            reason = "too old" if old else "too many bytes of recordings"
            removed.append(Removed(file.folder, root / file.folder / file.file, reason))
    return removed


def _find(root: Path) -> Iterator[_Found]:
    try:
        folders = [entry.name for entry in os.scandir(root) if is_name(entry.name) and entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for folder in folders:
        with contextlib.suppress(OSError):
            descriptor = open_folder(root / folder)
            try:
                yield from _find_in(descriptor, folder)
            finally:
                os.close(descriptor)


def _find_in(descriptor: int, folder: str) -> Iterator[_Found]:
    names = set(os.listdir(descriptor))
    companions: dict[str, list[str]] = {}
    for name in names:
        if match := _STEM.match(name):
            companions.setdefault(match[1], []).append(name)
    for name in names:
        match = _FILE.fullmatch(name)
        if match is None or name + MARKER_SUFFIX in names:
            continue
        status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            beside = tuple(other for other in companions[match[1]] if other != name)
            if any(_FILE.fullmatch(other.removesuffix(MARKER_SUFFIX)) for other in beside):
                beside = ()  # another recording's too
            yield _Found(status.st_mtime, status.st_size, folder, name, beside)


def _remove(root: Path, file: _Found) -> bool:
    try:
        descriptor = open_folder(root / file.folder)
    except OSError:
        return False
    try:
        if os.access(file.file + MARKER_SUFFIX, os.F_OK, dir_fd=descriptor, follow_symlinks=False):
            return False  # begun since we looked
        os.unlink(file.file, dir_fd=descriptor)
        for companion in file.companions:
            with contextlib.suppress(OSError):
                os.unlink(companion, dir_fd=descriptor)
    except OSError as error:
        log.warning(
            "recording_not_removed", extra={"facts": {"path": str(root / file.folder / file.file), "reason": error.strerror}}
        )
        return False
    finally:
        os.close(descriptor)
    with contextlib.suppress(OSError):  # not empty
        os.rmdir(root / file.folder)
    return True
