"""A file that is being recorded, on the disk. Everything here blocks: it is the business of a thread.

Beside each such file stands a *marker*, named like it with ``.recording`` behind: which recording it belongs to, locked as
long as that is being written. A marker that nobody locks is of a server that was cut off (see ``recovery``). When the file is
whole its marker goes away, or becomes a *wish*: one for sprites is named ``.sprites`` and goes when they have been made.
"""

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from mediaserver.ports import is_name

MARKER_SUFFIX = ".recording"
SPRITES_SUFFIX = ".sprites"

#: When what was written must have reached the disk.
Fsync = Literal["part", "file", "never"]

_NEW = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Files of one name within one second, before we believe that something else is wrong.
_MOST_TWINS = 1000


def open_folder(path: Path) -> int:
    """A descriptor of the folder ``path``, which must not be a link. Raises OSError."""
    return os.open(path, _FOLDER)


class RecordingFile:
    """Made with ``create``. Parts are written whole or not at all; ``size`` counts the whole ones."""

    def __init__(self, path: Path, folder: int, file: int, marker: int, fsync: Fsync, min_free: int, wish: str) -> None:
        self.path = path
        self.size = 0
        self._folder, self._file, self._marker = folder, file, marker
        self._fsync = fsync
        self._min_free = min_free
        self._wish = wish

    @classmethod
    def create(
        cls, folder: Path, stem: str, suffix: str, note: Mapping[str, str], fsync: Fsync, min_free: int, wish: str = ""
    ) -> "RecordingFile":
        """A new file ``STEM.SUFFIX`` (or ``STEM-2.SUFFIX`` …) in ``folder``, which is made if need be. ``wish`` is the suffix of
        what the marker becomes when it is whole. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        directory = open_folder(folder)
        try:
            _check_space(directory, 0, min_free)
            name, file, marker = _open_new(directory, stem, suffix)
        except BaseException:
            os.close(directory)
            raise
        made = cls(folder / name, directory, file, marker, fsync, min_free, wish)
        try:
            write_whole(marker, json.dumps(dict(note)).encode())
            if fsync != "never":
                os.fsync(marker)
                os.fsync(directory)
        except BaseException:
            made.finish(None)
            raise
        return made

    def append(self, data: bytes) -> None:
        """Write one part more. Raises OSError, with the file as it was before."""
        try:
            _check_space(self._file, len(data), self._min_free)
            write_whole(self._file, data)
            if self._fsync == "part":
                os.fdatasync(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self.size)
                os.lseek(self._file, self.size, os.SEEK_SET)
            raise
        self.size += len(data)

    def finish(self, patch: tuple[int, bytes] | None) -> None:
        """Close it properly: ``patch`` (offset, bytes) goes in, the marker goes away or becomes a wish. A file without a part is
        removed.

        Raises OSError where the disk would not take it; it is closed all the same.
        """
        wish = self._wish
        try:
            if self.size == 0:
                wish = ""
                os.unlink(self.path.name, dir_fd=self._folder)
            else:
                if patch is not None:
                    os.pwrite(self._file, patch[1], patch[0])
                if self._fsync != "never":
                    os.fsync(self._file)
            settle_marker(self.path.name, wish, self._folder)
            if self._fsync != "never":
                os.fsync(self._folder)
        finally:
            for descriptor in (self._file, self._marker, self._folder):
                os.close(descriptor)


def settle_marker(name: str, wish: str, folder: int | None = None) -> None:
    """The file ``name`` (in ``folder``, a descriptor) is whole: its marker becomes a ``wish``, or goes away. Raises OSError."""
    marker = name + MARKER_SUFFIX
    if wish:
        os.rename(marker, name + wish, src_dir_fd=folder, dst_dir_fd=folder)
    else:
        os.unlink(marker, dir_fd=folder)


def find_marked(root: Path, suffix: str) -> Iterator[Path]:
    """Every marker with that suffix in the folders of streams below ``root``."""
    folders: list[Path] = []
    with contextlib.suppress(OSError):
        folders = [Path(entry.path) for entry in os.scandir(root) if is_name(entry.name) and entry.is_dir(follow_symlinks=False)]
    for folder in folders:
        with contextlib.suppress(OSError):
            yield from folder.glob(f"*{suffix}")


def _open_new(directory: int, stem: str, suffix: str) -> tuple[str, int, int]:
    """Name, descriptor and locked marker of a file that was not there: the name counts as taken by either of them."""
    for number in range(1, _MOST_TWINS):
        name = f"{stem}.{suffix}" if number == 1 else f"{stem}-{number}.{suffix}"
        with contextlib.suppress(FileExistsError), contextlib.ExitStack() as undo:
            marker = os.open(name + MARKER_SUFFIX, os.O_RDWR | _NEW, 0o644, dir_fd=directory)
            undo.callback(os.close, marker)
            undo.callback(os.unlink, name + MARKER_SUFFIX, dir_fd=directory)
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file = os.open(name, os.O_RDWR | _NEW, 0o644, dir_fd=directory)
            undo.pop_all()
            return name, file, marker
    raise FileExistsError(errno.EEXIST, "too many recordings within one second", stem)


def _check_space(descriptor: int, more: int, min_free: int) -> None:
    room = os.fstatvfs(descriptor)
    free = room.f_bavail * room.f_frsize
    if min_free and free - more < min_free:
        raise OSError(errno.ENOSPC, f"fewer than {min_free} bytes would stay free")


def write_whole(descriptor: int, data: bytes) -> None:
    """All of ``data``, however many writes that takes. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def free_bytes(folder: Path) -> int:
    """What an ordinary user may still write to the disk of ``folder``, or of the nearest folder above that is there."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize


def in_words(error: OSError) -> str:
    """Why a disk takes nothing more, without paths."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return error.strerror if error.strerror and "stay free" in error.strerror else "the disk is full"
    return f"the disk does not take it: {error.strerror or type(error).__name__}"
