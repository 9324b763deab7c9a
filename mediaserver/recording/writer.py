"""The thread that writes one recording's files: the event loop hands over packets and never waits for a disk."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mediaserver.recording.containers import Container
from mediaserver.recording.file import Fsync, RecordingFile, free_bytes, in_words
from protocols.errors import ProtocolError
from protocols.media import Packet

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Begin:
    """A new file ``folder/STEM.SUFFIX``, with its first part. ``note`` goes into its marker."""

    folder: Path
    stem: str
    suffix: str
    note: Mapping[str, str]
    container: Container


@dataclass(frozen=True, slots=True)
class Part:
    """Packets for the file that is open; ``last`` as in ``Container.part``."""

    packets: Sequence[Packet]
    last: bool


@dataclass(frozen=True, slots=True)
class Finish:
    """The file that is open is whole."""

    reason: str


@dataclass(frozen=True, slots=True)
class Look:
    """Are there ``bytes`` free on the disk of ``folder``?"""

    folder: Path
    bytes: int


@dataclass(frozen=True, slots=True)
class Began:
    """A file is there, and its first part in it."""

    path: Path


@dataclass(frozen=True, slots=True)
class Written:
    """The open file has so many bytes, and plays so long."""

    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Finished:
    """A file is closed."""

    path: Path
    bytes: int
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The disk took nothing more; what was open is closed with what it had. Parts are thrown away until a Begin."""

    reason: str


@dataclass(frozen=True, slots=True)
class Room:
    """There is: the answer to Look, which has none where there is not."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The thread has ended."""


Job = Begin | Part | Finish | Look
Report = Began | Written | Finished | Failed | Room | Closed


class FileWriter:
    """``tell`` gets the reports, on the thread. ``backlog`` is how many bytes wait for the disk, by their packets' bodies.
    ``wish``: see ``file``."""

    def __init__(self, fsync: Fsync, min_free: int, tell: Callable[[Report], None], wish: str = "") -> None:
        self.backlog = 0
        self._fsync, self._min_free, self._wish = fsync, min_free, wish
        self._tell = tell
        self._jobs: deque[Job] = deque()
        self._closing = False
        self._more = threading.Condition()
        self._file: RecordingFile | None = None
        self._container: Container | None = None
        self._begin: Begin | None = None
        self._good: tuple[float, tuple[int, bytes] | None] = (0.0, None)
        # A daemon: a disk that never answers must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._thread.start()

    # -- on the event loop ----------------------------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Do ``job`` after those that were given before. The giver bounds them: see ``backlog``."""
        with self._more:
            if isinstance(job, Part):
                self.backlog += _weight(job)
            self._jobs.append(job)
            self._more.notify()

    def close(self) -> None:
        """End when all jobs are done: ``Closed`` is the last report. Harmless twice."""
        with self._more:
            self._closing = True
            self._more.notify()

    # -- on the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                self._do(job)
            except OSError as error:
                self._fail(in_words(error))
            except ProtocolError as error:
                self._fail(f"the stream cannot be written: {error}")
            except Exception:  # a bug of ours must not end the thread, which others wait for
                log.exception("recording_failed")
                self._fail("an error of the server")
            if isinstance(job, Part):
                with self._more:
                    self.backlog -= _weight(job)
        self._end("the recording was stopped")
        self._tell(Closed())

    def _next(self) -> Job | None:
        with self._more:
            while not self._jobs and not self._closing:
                self._more.wait()
            return self._jobs.popleft() if self._jobs else None

    def _do(self, job: Job) -> None:
        match job:
            case Begin():
                self._end("another file begins")
                self._begin, self._container = job, job.container
            case Part(packets, last) if self._container is not None:
                self._write(self._container, packets, last=last)
            case Finish(reason):
                self._end(reason)
            case Look(folder, wanted) if free_bytes(folder) >= wanted:
                self._tell(Room())

    def _write(self, container: Container, packets: Sequence[Packet], *, last: bool) -> None:
        head = container.head(packets) if self._file is None else b""
        data = head + container.part(packets, last=last)
        begin = self._begin
        if self._file is None and begin is not None:
            self._file = RecordingFile.create(
                begin.folder, begin.stem, begin.suffix, begin.note, self._fsync, self._min_free, self._wish
            )
            self._file.append(data)
            self._tell(Began(self._file.path))
        elif self._file is not None and data:
            self._file.append(data)
        if self._file is not None:
            self._good = container.seconds, container.patch()
            self._tell(Written(self._file.size, self._good[0]))

    def _fail(self, reason: str) -> None:
        self._end(reason)
        self._tell(Failed(reason))

    def _end(self, reason: str) -> None:
        """Close what is open. Without effect if nothing is."""
        file, self._file, self._container = self._file, None, None
        seconds, patch = self._good
        self._good = (0.0, None)
        if file is None:
            return
        try:
            file.finish(patch)
        except OSError as error:
            reason = f"{reason}; {in_words(error)}"
        if file.size:
            self._tell(Finished(file.path, file.size, seconds, reason))


def _weight(part: Part) -> int:
    return sum([len(packet.body) for packet in part.packets])
