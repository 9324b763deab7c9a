"""The recording house's door: which streams are written to files."""

from collections.abc import Callable, Coroutine
from typing import Any

from mediaserver.config import Config
from mediaserver.hub.hub import Hub
from mediaserver.hub.stream import LiveStream
from mediaserver.ports import EventSink, RecordingOrder
from mediaserver.snapshot import RecordingSnapshot


class Recordings:
    """Every recording of this process."""

    def __init__(self, hub: Hub, config: Config, sink: EventSink, spawn: Callable[[Coroutine[None, None, None]], Any]) -> None:
        self._hub, self._config, self._sink, self._spawn = hub, config, sink, spawn

    async def recover(self) -> None:
        """Close properly what a former run left unfinished, and tell of it. Before the ports are open."""

    def begin(self, stream: LiveStream) -> None:
        """``stream`` has begun: start what its grant asks for."""

    def start(self, name: str, order: RecordingOrder) -> None:
        """Record ``name`` from now on. Raises Refused where it is not live, or is recorded under that id already."""

    def stop(self, name: str, recording_id: str) -> bool:  # noqa: ARG002
        """End that recording. False if there is none."""
        return False

    def snapshots(self) -> tuple[RecordingSnapshot, ...]:
        """Every recording as it is now."""
        return ()

    def sweep(self, now: float) -> None:
        """Apply retention, and look whether a full disk has room again. To be called every second."""

    async def close(self) -> None:
        """Finish all files."""
