"""An engine as the control plane sees it: whatever snapshot a test puts in."""

import asyncio
from collections.abc import Coroutine

from mediaserver.errors import Unavailable
from mediaserver.ports import Wire
from mediaserver.snapshot import EngineSnapshot, SessionSnapshot, StreamSnapshot, TrackSnapshot
from mediaserver.transport import targets
from protocols.media import Codec

ADDRESS = "203.0.113.77"
AGENT = "encoder-canary/1.0"


def stream(name: str = "demo", **fields: object) -> StreamSnapshot:
    """A 720p30 stream with sound and three players."""
    values: dict[str, object] = {
        "name": name,
        "publishing": True,
        "since": 1000.0,
        "bitrate": 2_500_000,
        "frame_rate": 30.0,
        "bytes_in": 4096,
        "tracks": (TrackSnapshot(Codec.H264, 1280, 720), TrackSnapshot(Codec.AAC, sample_rate=48000, channels=2)),
        "players": {Wire.HLS: 2, Wire.RTMP: 1, Wire.DASH: 0},
        "dropped_packets": 4,
        "discontinuities": 0,
    }
    return StreamSnapshot(**(values | fields))  # type: ignore[arg-type]


def publisher(name: str = "demo") -> SessionSnapshot:
    """The connection that publishes ``name``."""
    return SessionSnapshot("s-1", Wire.RTMP, ADDRESS, name, True, 1000.0, 4096, 100, 0, AGENT)


class FakeEngine:
    """Answers with ``now``; raises Unavailable while that is None."""

    def __init__(self, now: EngineSnapshot | None = None) -> None:
        self.now = now
        self.asked = 0
        self.allow_private = True
        self.last_seen: dict[str, float] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    def snapshot(self) -> EngineSnapshot:
        self.asked += 1
        if self.now is None:
            raise Unavailable("not started")
        return self.now

    def seen(self) -> dict[str, float]:
        return self.last_seen

    async def resolve(self, host: str, port: int) -> tuple[targets.Target, ...]:
        return targets.resolve(host, port, allow_private=self.allow_private)

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def end(self, name: str, reason: str) -> bool:
        return False

    def show(self, *streams: StreamSnapshot, sessions: tuple[SessionSnapshot, ...] = (), draining: bool = False) -> None:
        """Be an engine with these streams."""
        self.now = EngineSnapshot(900.0, draining, 0.02, 1_000_000, 2_000_000, streams, sessions)
