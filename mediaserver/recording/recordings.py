"""The recording house's door: which streams are written to files."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from mediaserver.config import Config
from mediaserver.errors import Refused
from mediaserver.events import RecordingFailed, RecordingFinished, RecordingRemoved
from mediaserver.hub.hub import Hub
from mediaserver.hub.stream import LiveStream
from mediaserver.ports import EventSink, PublishGrant, RecordingOrder, is_name, rendition_name
from mediaserver.recording import recovery, retention
from mediaserver.recording.file import SPRITES_SUFFIX
from mediaserver.recording.recording import Recording, RecordingServices
from mediaserver.snapshot import RecordingSnapshot

log = logging.getLogger(__name__)

#: Recordings of one stream at a time, and of its name with those whose last files are still being closed: each has a thread and
#: files.
MOST_OF_ONE, MOST_OF_NAME = 16, 32
#: Bytes of all recordings together that wait for the disk, before each may have fewer.
MOST_WAITING = 256 << 20
#: The id of what is recorded because ``recording.always`` says so.
ALWAYS = "always"
#: Seconds between two looks at the ages of files.
RETENTION_INTERVAL = 60.0
#: Seconds that the disk may take for the last parts when the server stops.
PATIENCE = 10.0


class Recordings:
    """Every recording of this process."""

    def __init__(self, hub: Hub, config: Config, sink: EventSink, spawn: Callable[[Coroutine[None, None, None]], Any]) -> None:
        self._hub, self._config, self._sink, self._spawn = hub, config.recording, sink, spawn
        self.root = Path(self._config.directory or Path(config.server.data_dir) / "recordings").absolute()
        self._running: dict[tuple[str, str], Recording] = {}
        self._closing: dict[Recording, None] = {}
        self._wish = SPRITES_SUFFIX if self._config.sprites else ""
        self._crowded = False
        self._services = RecordingServices(
            hub, self._config, self.root, sink, self._on_finished, self._on_gone, lambda: self._crowded, self._wish
        )
        self._expire_at = 0.0
        self._expiring = False

    async def recover(self) -> None:
        """Close properly what a former run left unfinished, and tell of it. Before the ports are open."""
        for found in await asyncio.to_thread(recovery.recover, self.root, self._wish):
            self._sink.emit(
                RecordingFinished(
                    name=found.name,
                    session_id="",
                    at=time.time(),
                    recording_id=found.recording_id,
                    path=str(found.path),
                    bytes=found.bytes,
                    seconds=found.seconds,
                    recovered=True,
                    reason="the server was cut off",
                )
            )

    def begin(self, stream: LiveStream) -> None:
        """``stream`` has begun: start what its grant asks for."""
        orders = list(stream.grant.recordings)
        if self._config.always and all(order.rendition for order in orders):
            orders.append(RecordingOrder(ALWAYS))
        for order in orders:
            self._add_granted(stream, order)

    def follow(self, stream: LiveStream, before: PublishGrant) -> None:
        """The grant of ``stream`` was another ``before``: end and start what makes the difference."""
        for order in before.recordings:
            if order not in stream.grant.recordings:
                self.stop(stream.name, order.id)
        for order in stream.grant.recordings:
            if order not in before.recordings:
                self._add_granted(stream, order)

    def _add_granted(self, stream: LiveStream, order: RecordingOrder) -> None:
        try:
            self._add(stream, order)
        except Refused as error:
            # The publisher is not to blame, and goes on.
            self._sink.emit(RecordingFailed(stream.name, "", time.time(), order.id, error.reason))

    def start(self, name: str, order: RecordingOrder) -> None:
        """Record ``name`` from now on. Raises Refused where it is not live, or is recorded under that id already."""
        stream = self._hub.find(name)
        if stream is None:
            raise Refused(f"{name} is not live")
        self._add(stream, order)

    def _add(self, stream: LiveStream, order: RecordingOrder) -> None:
        key = stream.name, order.id
        present = self._running.get(key)
        if present is not None and present.source is not stream:
            # Of a stream that is over, under the same name: its last file is still on its way to the disk.
            if not present.trails:
                present.stop("the stream ended")
            self._settle(present)
        elif present is not None:
            raise Refused(f"{stream.name} is recorded under that id already")
        if order.rendition and not is_name(rendition_name(stream.name, order.rendition)):
            raise Refused("no rendition has such a name")
        if sum(recording.source is stream for recording in self._running.values()) >= MOST_OF_ONE:
            raise Refused(f"{stream.name} has {MOST_OF_ONE} recordings already")
        if sum(other.source.name == stream.name for other in (*self._running.values(), *self._closing)) >= MOST_OF_NAME:
            raise Refused(f"the last files of {stream.name} are still being closed")
        try:
            self._running[key] = Recording(stream, order, self._services)
        except RuntimeError as error:
            raise Refused(f"no thread for a recording: {error}") from None

    def stop(self, name: str, recording_id: str) -> bool:
        """End that recording. False if there is none."""
        recording = self._running.get((name, recording_id))
        if recording is None:
            return False
        recording.stop("stopped")
        self._settle(recording)
        return True

    def snapshots(self) -> tuple[RecordingSnapshot, ...]:
        """Every recording as it is now."""
        return tuple(recording.snapshot() for recording in self._running.values())

    def sweep(self, now: float) -> None:
        """Apply retention, and look whether a full disk has room again. To be called every second."""
        for recording in tuple(self._running.values()):
            recording.sweep(now)
        self._crowded = sum([recording.backlog for recording in (*self._running.values(), *self._closing)]) > MOST_WAITING
        if now >= self._expire_at and not self._expiring and (self._config.retention or self._config.retention_bytes):
            self._expire_at = now + RETENTION_INTERVAL
            self._expiring = True
            self._spawn(self._expire())

    async def close(self) -> None:
        """Finish all files."""
        for recording in tuple(self._running.values()):
            recording.stop("the server is stopping")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                for recording in (*self._running.values(), *self._closing):
                    await recording.closed.wait()

    def _settle(self, recording: Recording) -> None:
        """It has ended: its id is free, its files are still being closed."""
        key = recording.source.name, recording.order.id
        if self._running.get(key) is recording:
            del self._running[key]
            self._closing[recording] = None

    def _on_gone(self, recording: Recording) -> None:
        self._settle(recording)
        self._closing.pop(recording, None)

    def _on_finished(self) -> None:
        if self._config.retention_bytes:
            self._expire_at = 0.0

    async def _expire(self) -> None:
        try:
            removed = await asyncio.to_thread(
                retention.expire, self.root, time.time(), self._config.retention * 86_400, self._config.retention_bytes
            )
        finally:
            self._expiring = False
        for file in removed:
            self._sink.emit(RecordingRemoved(file.name, "", time.time(), str(file.path), file.reason))
