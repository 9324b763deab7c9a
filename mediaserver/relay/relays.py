"""The relay house's door: which streams go on to which targets."""

from collections.abc import Callable, Coroutine
from typing import Any

from mediaserver.config import Config
from mediaserver.hub.hub import Hub
from mediaserver.hub.stream import LiveStream
from mediaserver.ports import EventSink, RelayTarget
from mediaserver.snapshot import RelaySnapshot


class Relays:
    """Every Relay of this process."""

    def __init__(self, hub: Hub, config: Config, sink: EventSink, spawn: Callable[[Coroutine[None, None, None]], Any]) -> None:
        self._hub, self._config, self._sink, self._spawn = hub, config, sink, spawn

    def begin(self, stream: LiveStream) -> None:
        """``stream`` has begun: start what its grant asks for, and what waits for it."""

    def start(self, name: str, target: RelayTarget) -> None:
        """Relay ``name`` to ``target`` from now on, or as soon as it is live. Raises Refused for an address that cannot be."""

    def stop(self, name: str, relay_id: str) -> bool:  # noqa: ARG002
        """End that Relay. False if there is none."""
        return False

    def snapshots(self) -> tuple[RelaySnapshot, ...]:
        """Every Relay as it is now."""
        return ()

    def sweep(self, now: float) -> None:
        """Apply the deadlines. To be called every second."""

    async def close(self) -> None:
        """End all."""
