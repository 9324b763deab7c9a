"""Pulls: streams that are fetched instead of pushed."""

from collections.abc import Callable, Coroutine
from typing import Any

from mediaserver.config import Config
from mediaserver.hub.hub import Hub
from mediaserver.ports import EventSink, PublishGrant, PullSource
from mediaserver.snapshot import PullSnapshot


class Pulls:
    """Every pull of this process."""

    def __init__(self, hub: Hub, config: Config, sink: EventSink, spawn: Callable[[Coroutine[None, None, None]], Any]) -> None:
        self._hub, self._config, self._sink, self._spawn = hub, config, sink, spawn

    def start(self, source: PullSource, grant: PublishGrant) -> str:  # noqa: ARG002
        """Fetch ``source`` and publish it as ``grant`` says, until stopped. The id of the session. Raises Refused."""
        return ""

    def stop(self, session_id: str, reason: str) -> bool:  # noqa: ARG002
        """End that pull and its stream. False if there is none."""
        return False

    def snapshots(self) -> tuple[PullSnapshot, ...]:
        """Every pull as it is now."""
        return ()

    def sweep(self, now: float) -> None:
        """Apply the deadlines. To be called every second."""

    async def close(self) -> None:
        """End all."""
