"""One recording: a stream or a rung of it, written to files until it is stopped or the stream ends."""

import asyncio
import contextlib
import enum
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mediaserver.config import RecordingConfig
from mediaserver.events import RecordingFailed, RecordingFinished, RecordingStarted
from mediaserver.hub.hub import Hub
from mediaserver.hub.stream import LiveStream, StreamState
from mediaserver.ports import EventSink, RecordingFormat, RecordingOrder, rendition_name
from mediaserver.recording import writer
from mediaserver.recording.containers import FORMS
from mediaserver.recording.recorder import Limits, Recorder
from mediaserver.recording.writer import FileWriter
from mediaserver.snapshot import RecordingSnapshot
from protocols.media import MediaKind, Packet, Track

#: Bytes that may wait for the disk before parts are thrown away; and while too much waits of all recordings together.
MAX_BACKLOG, CROWDED_BACKLOG = 32 << 20, 4 << 20
#: Bytes that must be free beyond ``min_free_bytes`` before a paused recording goes on: else it would pause again at once.
ROOM = 1 << 20
#: Seconds before a paused recording looks for room again, at first and at most, for a disk that only seems to have some.
FIRST_RETRY, LONGEST_RETRY = 1.0, 30.0


class RecordingState(enum.Enum):
    """WAITING for a rung that is not made now · RUNNING · PAUSED, the disk takes nothing · ENDED."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    ENDED = "ended"


#: What may follow what; an absent key is the error.
TRANSITIONS: dict[RecordingState, frozenset[RecordingState]] = {
    RecordingState.WAITING: frozenset({RecordingState.RUNNING, RecordingState.ENDED}),
    RecordingState.RUNNING: frozenset({RecordingState.WAITING, RecordingState.PAUSED, RecordingState.ENDED}),
    RecordingState.PAUSED: frozenset({RecordingState.WAITING, RecordingState.RUNNING, RecordingState.ENDED}),
}


@dataclass(frozen=True, slots=True)
class RecordingServices:
    """What every recording needs. ``finished`` is called after each file, ``gone`` with a recording whose last file is closed.
    ``crowded`` tells whether too much waits of all recordings together. ``wish``: see ``file``."""

    hub: Hub
    config: RecordingConfig
    root: Path
    sink: EventSink
    finished: Callable[[], None]
    gone: Callable[["Recording"], None]
    crowded: Callable[[], bool]
    wish: str


class Recording:
    """``order`` on ``source``, from when it is made. Runs on the event loop; its files are written by a thread of its own."""

    def __init__(self, source: LiveStream, order: RecordingOrder, services: RecordingServices) -> None:
        self.source, self.order = source, order
        self.state = RecordingState.WAITING
        self.closed = asyncio.Event()
        config = services.config
        self._services = services
        self._target = rendition_name(source.name, order.rendition) if order.rendition else source.name
        self._form = FORMS[order.format or RecordingFormat(config.format)]
        self._limits = Limits(
            config.split_duration if order.split_duration is None else order.split_duration,
            config.split_bytes if order.split_bytes is None else order.split_bytes,
        )
        self._stream: LiveStream | None = None
        self._recorder: Recorder | None = None
        self._since = time.time()
        self._path = ""
        self._files, self._bytes, self._seconds = 0, 0, 0.0
        self._file_bytes, self._file_seconds = 0, 0.0
        self._slow = False
        self._failure = ""
        self._left_out: set[str] = set()  # what was said of that
        self._retry_at, self._retry_after = 0.0, FIRST_RETRY
        loop = asyncio.get_running_loop()

        def tell(report: writer.Report) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know any more
                loop.call_soon_threadsafe(self._on_report, report)

        self._writer = FileWriter(config.fsync, config.min_free_bytes, tell, services.wish)
        self._attach(replay=order.pre_roll)

    # -- life -----------------------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Look whether the rung has come, the stream gone, the disk room again. To be called every second."""
        if self.state is RecordingState.ENDED:
            return
        if self.source.state is StreamState.ENDED:
            if not self.trails:
                self.stop("the stream ended")
        elif self.state is RecordingState.WAITING:
            self._attach(replay=True)
        elif self.state is RecordingState.PAUSED and now >= self._retry_at:
            self._retry_at = now + self._retry_after
            self._writer.submit(writer.Look(self._services.root, self._services.config.min_free_bytes + ROOM))

    def stop(self, reason: str) -> None:
        """End it: what is there is written, and ``closed`` is set when it is on the disk. Harmless twice."""
        if self.state is RecordingState.ENDED:
            return
        self._detach(reason)
        self._move_to(RecordingState.ENDED)
        self._writer.close()

    @property
    def trails(self) -> bool:
        """Whether something may come of its rung yet, though the source is over: its own end stops it."""
        return self._stream is not None and self._stream.state is not StreamState.ENDED

    def _move_to(self, state: RecordingState) -> None:
        if state not in TRANSITIONS.get(self.state, ()):
            raise ValueError(f"a recording that is {self.state.value} cannot become {state.value}")
        self.state = state

    def _attach(self, *, replay: bool) -> None:
        """Record from now on if what is to be recorded is there; else wait for it."""
        stream = self._services.hub.find(self._target)
        if stream is None or (stream is not self.source and stream.source is not self.source):
            if self.state is not RecordingState.WAITING:
                self._move_to(RecordingState.WAITING)
            return
        self._move_to(RecordingState.RUNNING)
        self._stream = stream
        self._recorder = recorder = Recorder(stream.facts, self._form, self._limits, self)
        stream.subscribe(recorder, replay=replay)
        if not replay:
            for track in stream.tracks.values():
                recorder.on_track(track)

    def _detach(self, reason: str) -> None:
        """Record no longer; the file ends."""
        stream, recorder = self._stream, self._recorder
        self._stream = self._recorder = None
        if stream is not None and recorder is not None:
            stream.unsubscribe(recorder)
            recorder.finish(reason)

    # -- the Recorder's Output ------------------------------------------------------------------------------------------

    def begin(self, tracks: Mapping[MediaKind, Track]) -> None:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        note = {"recording_id": self.order.id, "name": self.source.name}
        folder = self._services.root / self.source.name
        self._writer.submit(writer.Begin(folder, f"{self._target}-{stamp}", self._form.suffix, note, self._form.make(tracks)))

    def part(self, packets: Sequence[Packet], *, last: bool) -> bool:
        if self._writer.backlog > self._most:
            if not self._slow:
                self._slow = True
                self._emit_failed(f"the disk is too slow: {self._writer.backlog} bytes wait for it")
            return False
        self._slow = False
        self._writer.submit(writer.Part(packets, last))
        return True

    def leave_out(self, reason: str) -> None:
        if reason not in self._left_out:
            self._left_out.add(reason)
            self._emit(RecordingFailed(self.source.name, "", time.time(), self.order.id, reason))

    def finish(self, reason: str) -> None:
        self._writer.submit(writer.Finish(reason))

    def end(self) -> None:
        self._stream = self._recorder = None
        if self.state is not RecordingState.RUNNING:
            return
        if self.source.state is StreamState.ENDED:
            self.stop("the stream ended")
        else:
            # The rung is not made any more; it may come again.
            self._move_to(RecordingState.WAITING)

    @property
    def ready(self) -> bool:
        return self._writer.backlog < self._most // 2

    @property
    def backlog(self) -> int:
        """Bytes that wait for the disk."""
        return self._writer.backlog

    @property
    def _most(self) -> int:
        return CROWDED_BACKLOG if self._services.crowded() else MAX_BACKLOG

    # -- what the thread reports ----------------------------------------------------------------------------------------

    def _on_report(self, report: writer.Report) -> None:
        name, at, recording_id = self.source.name, time.time(), self.order.id
        match report:
            case writer.Began(path):
                self._path = str(path)
                self._files += 1
                self._emit(RecordingStarted(name, "", at, recording_id, str(path)))
            case writer.Written(count, seconds):
                self._file_bytes, self._file_seconds = count, seconds
                self._failure = ""
            case writer.Finished(path, count, seconds, reason):
                self._file_bytes, self._file_seconds = 0, 0.0
                self._bytes += count
                self._seconds += seconds
                self._emit(RecordingFinished(name, "", at, recording_id, str(path), count, seconds, False, reason))
                self._services.finished()
            case writer.Failed(reason):
                self._pause(reason)
            case writer.Room() if self.state is RecordingState.PAUSED:
                self._attach(replay=False)
            case writer.Closed():
                self.closed.set()
                self._services.gone(self)

    def _pause(self, reason: str) -> None:
        self._emit_failed(reason)
        if self.state is not RecordingState.RUNNING:
            return
        if self._recorder is not None:
            self._recorder.forget()
        # Nothing that was on its way meanwhile is another file's beginning.
        self._detach(reason)
        self._writer.submit(writer.Finish(reason))
        self._move_to(RecordingState.PAUSED)
        now = time.monotonic()
        again = now - self._retry_at < LONGEST_RETRY
        self._retry_after = min(self._retry_after * 2, LONGEST_RETRY) if again else FIRST_RETRY
        self._retry_at = now + self._retry_after

    def _emit_failed(self, reason: str) -> None:
        if reason != self._failure:
            self._failure = reason
            self._emit(RecordingFailed(self.source.name, "", time.time(), self.order.id, reason))

    def _emit(self, event: RecordingStarted | RecordingFinished | RecordingFailed) -> None:
        self._services.sink.emit(event)

    # -- looking --------------------------------------------------------------------------------------------------------

    def snapshot(self) -> RecordingSnapshot:
        """It, as plain values."""
        recorder = self._recorder
        in_vain = recorder is not None and recorder.in_vain
        return RecordingSnapshot(
            recording_id=self.order.id,
            name=self.source.name,
            rendition=self.order.rendition,
            path=self._path,
            since=self._since,
            bytes=self._bytes + self._file_bytes,
            seconds=self._seconds + self._file_seconds,
            files=self._files,
            writing=self.state is RecordingState.RUNNING and not self._slow and not in_vain,
            reason=self._failure or ("" if recorder is None else recorder.left_out),
        )
