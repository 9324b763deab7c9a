"""What the tests of recordings share: a hub with recordings in a folder, fed with the packets of real clips."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Coroutine, Iterable
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any
from unittest import mock

from mediaserver.config import Config, RecordingConfig
from mediaserver.events import RecordingFinished
from mediaserver.hub.hub import Hub, HubLimits, Publisher
from mediaserver.hub.session import Session
from mediaserver.ports import PublishGrant, RecordingOrder, Wire
from mediaserver.recording import recordings
from mediaserver.recording.recordings import Recordings
from protocols.flv import FlvReader, TagReader
from protocols.media import Packet, Track
from tests.media import frames
from tests.mediaserver.running import PATIENCE, Notes
from tests.peers import ffprobe, program

__all__ = ["House", "decoded_by_ffmpeg", "house", "numbers", "offset_of", "read_flv"]


def read_flv(file: Path) -> list[Track | Packet]:
    """Tracks and packets in the order in which an encoder sends them; a tag may be both."""
    tags = TagReader()
    found: list[Track | Packet | None] = []
    for tag in FlvReader().receive_data(file.read_bytes()):
        found.append(tags.read(*tag))
        if isinstance(track := found[-1], Track) and not track.body:
            found.append(tags.read(*tag))
    return [item for item in found if item is not None]


class House:
    """A hub, its recordings, and a publisher of ``show``."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.root = root
        self.notes = Notes()
        self.tasks: set[asyncio.Task[None]] = set()
        limits = HubLimits(reconnect_grace=60.0, takeover=True, gop_max_bytes=1 << 24, gop_max_ms=20_000, max_streams=10)
        self.hub = Hub(limits, self.notes)
        table = RecordingConfig(**{"directory": str(root), "min_free_bytes": 0, **settings})
        self.recordings = Recordings(self.hub, Config(recording=table), self.notes, self.spawn)
        self.hub.on_publish(self.recordings.begin)

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def publish(self, *orders: RecordingOrder, name: str = "show") -> Publisher:
        return self.hub.publish(PublishGrant(name, recordings=orders), Session(Wire.INTERNAL, "test"), lambda _: None)

    async def finished(self, count: int = 1) -> list[RecordingFinished]:
        """The first ``count`` files."""
        await self.notes.wait_for(RecordingFinished, count)
        return [event for event in self.notes.events if isinstance(event, RecordingFinished)]

    async def until(self, question: Any) -> None:
        """Look once a moment, as the engine does once a second."""
        async with asyncio.timeout(PATIENCE):
            while not question():
                self.recordings.sweep(monotonic())
                await asyncio.sleep(0.01)

    def files(self, suffix: str = "mp4") -> list[Path]:
        return sorted(self.root.rglob(f"*.{suffix}"))


def marked(root: Path) -> list[Path]:
    """The files below ``root`` that are being written, or were left."""
    return list(root.rglob("*.recording"))


@contextlib.asynccontextmanager
async def house(root: Path, **settings: Any) -> AsyncIterator[House]:
    """Everything is closed at the end, and no file left unfinished."""
    made = House(root, **settings)
    yield made
    made.hub.end_all("the test is over")
    with mock.patch.object(recordings, "PATIENCE", PATIENCE):  # this machine's disk may stand still for a while
        await made.recordings.close()
    if made.tasks:
        await asyncio.wait(made.tasks)
    assert not marked(root)


def feed(publisher: Publisher, items: Iterable[Track | Packet]) -> None:
    """Publish all of it at once. Packets are copied: a stream changes their times."""
    for item in items:
        if isinstance(item, Track):
            publisher.write_track(item)
        else:
            publisher.write(replace(item))


def numbers(file: Path | str) -> list[int]:
    """The number of every picture, as decoded, in the order in which they are shown."""
    return [number for number, _ in frames(file)]


def offset_of(file: Path) -> float:
    """How much later (seconds) the picture begins than the sound."""
    begins = {stream["codec_type"]: float(stream["start_time"]) for stream in ffprobe(file)["streams"]}
    return begins["video"] - begins["audio"]


def decoded_by_ffmpeg(file: Path | str) -> str:
    """What ffmpeg says about it when it decodes everything: nothing, if all is well."""
    command = [program("ffmpeg"), "-v", "warning", "-i", str(file), "-f", "null", "-"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return result.stderr if result.returncode == 0 else f"status {result.returncode}: {result.stderr}"
