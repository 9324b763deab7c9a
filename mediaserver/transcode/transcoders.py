"""The transcoding house's door: which streams get which renditions."""

from collections.abc import Callable, Coroutine
from typing import Any

from mediaserver.config import Config
from mediaserver.hub.hub import Hub
from mediaserver.hub.stream import LiveStream
from mediaserver.ports import EventSink
from mediaserver.snapshot import RungSnapshot


class Transcoders:
    """Every transcoder of this process."""

    def __init__(self, hub: Hub, config: Config, sink: EventSink, spawn: Callable[[Coroutine[None, None, None]], Any]) -> None:
        self._hub, self._config, self._sink, self._spawn = hub, config, sink, spawn

    def begin(self, stream: LiveStream) -> None:
        """``stream`` has begun: make what its grant's ladder asks for."""

    def rungs(self, name: str) -> tuple[RungSnapshot, ...]:  # noqa: ARG002
        """The renditions of ``name`` as they are now."""
        return ()

    def sweep(self, now: float) -> None:
        """Shed and restore rungs, and apply deadlines. To be called every second."""

    async def close(self) -> None:
        """End all."""
