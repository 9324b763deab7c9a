"""Files that a server left unfinished because it was cut off: found by their markers, cut behind their last whole part, told of.
Blocks: the business of a thread.
"""

import contextlib
import fcntl
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mediaserver.recording import scan
from mediaserver.recording.file import MARKER_SUFFIX, find_marked, settle_marker
from protocols.errors import ProtocolError

log = logging.getLogger(__name__)

#: Bytes of a marker that are read.
_LONGEST_NOTE = 1 << 16


@dataclass(frozen=True, slots=True)
class Recovered:
    """A recording that plays up to its last whole part."""

    name: str
    recording_id: str
    path: Path
    bytes: int
    seconds: float


_SCANS: Mapping[str, Callable[[BinaryIO], scan.Whole]] = {
    "mp4": scan.mp4,
    "flv": scan.flv,
    "ts": scan.ts,
    "mkv": scan.mkv,
}


def recover(root: Path, wish: str = "") -> list[Recovered]:
    """Close every unfinished file below ``root`` whose writer is gone. Files without a whole part are removed. ``wish``: see
    ``file.settle_marker``."""
    found = []
    for marker in sorted(find_marked(root, MARKER_SUFFIX)):
        path = marker.with_name(marker.name.removesuffix(MARKER_SUFFIX))
        try:
            with open(marker, "rb", opener=_no_link) as note:
                fcntl.flock(note, fcntl.LOCK_SH | fcntl.LOCK_NB)
                recovered = _close(path, note.read(_LONGEST_NOTE))
        except BlockingIOError:
            continue  # another server's, which is running
        except OSError as error:
            log.warning("recording_not_recovered", extra={"facts": {"path": str(marker), "reason": error.strerror}})
            continue
        if recovered is not None:
            found.append(recovered)
        with contextlib.suppress(OSError):
            settle_marker(str(path), wish if recovered is not None else "")
    return found


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)


def _close(path: Path, note: bytes) -> Recovered | None:
    """Cut ``path`` behind its last whole part. None if nothing is left, or nothing can be made of it."""
    look = _SCANS.get(path.suffix.removeprefix("."))
    if look is None:
        return None
    try:
        with open(path, "r+b", opener=_no_link) as file:
            whole = look(file)
            _cut(file, whole)
    except FileNotFoundError:
        return None  # cut off between the marker and the file
    except ProtocolError as error:
        # Not even its beginning is what we write: not ours to cut.
        log.warning("recording_not_recovered", extra={"facts": {"path": str(path), "reason": str(error)}})
        return None
    if not whole.size:
        path.unlink()
        return None
    name, recording_id = _read_note(note, path)
    return Recovered(name, recording_id, path, whole.size, whole.seconds)


def _cut(file: BinaryIO, whole: scan.Whole) -> None:
    file.truncate(whole.size)
    if whole.patch is not None and whole.size:
        file.seek(whole.patch[0])
        file.write(whole.patch[1])
    file.flush()
    os.fsync(file.fileno())


def _read_note(note: bytes, path: Path) -> tuple[str, str]:
    try:
        values = json.loads(note)
        name, recording_id = values["name"], values["recording_id"]
    except (ValueError, TypeError, KeyError):
        return path.parent.name, ""
    return str(name), str(recording_id)
