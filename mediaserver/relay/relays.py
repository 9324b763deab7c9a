"""The relay house's door: which streams go on to which targets."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from mediaserver.config import Config
from mediaserver.errors import Refused
from mediaserver.events import RelayChanged
from mediaserver.hub.hub import Hub
from mediaserver.hub.stream import LiveStream, StreamState
from mediaserver.ports import EventSink, PublishGrant, RelayTarget
from mediaserver.relay.address import parse
from mediaserver.relay.confirmation import Confirmer
from mediaserver.relay.dialler import Dialler
from mediaserver.relay.relay import Relay, RelayServices
from mediaserver.snapshot import RelayLevel, RelaySnapshot, RelayState

#: Relays of one stream.
MOST_RELAYS = 100
#: Seconds between two questions to a platform.
CONFIRM_INTERVAL = 15.0


class Relays:
    """Every Relay of this process. ``confirmer`` is asked about those whose targets take the stream."""

    def __init__(
        self,
        hub: Hub,
        config: Config,
        sink: EventSink,
        spawn: Callable[[Coroutine[None, None, None]], Any],
        confirmer: Confirmer | None = None,
    ) -> None:
        self._sink, self._spawn, self._confirmer = sink, spawn, confirmer
        self._services = RelayServices(hub, sink, spawn, config.relay, Dialler(config, spawn))
        self._relays: dict[tuple[str, str], Relay] = {}
        # What a grant asks for that cannot be: shown as long as its stream lives.
        self._refused: dict[tuple[str, str], tuple[LiveStream, RelaySnapshot]] = {}
        self._asked_at = 0.0

    def begin(self, stream: LiveStream) -> None:
        """``stream`` has begun: start what its grant asks for, and once more what had failed."""
        for relay in tuple(self._relays.values()):
            if relay.name == stream.name and relay.owner is None and relay.state is RelayState.FAILED:
                relay.start()
        for target in stream.grant.relays:
            self._start_granted(stream, target)

    def follow(self, stream: LiveStream, before: PublishGrant) -> None:
        """The grant of ``stream`` was another ``before``: end and start what differs, and what had failed once more."""
        wanted = {target.id: target for target in stream.grant.relays}
        for target in before.relays:
            if target.id not in wanted:
                self._refused.pop((stream.name, target.id), None)
            relay = self._relays.get((stream.name, target.id))
            if relay is not None and relay.owner is not None and wanted.get(target.id) != target:
                self.stop(stream.name, target.id)
        for target in wanted.values():
            relay = self._relays.get((stream.name, target.id))
            if relay is None or relay.state is RelayState.FAILED or relay.owner not in (None, stream):
                self._start_granted(stream, target)

    def _start_granted(self, stream: LiveStream, target: RelayTarget) -> None:
        """The publisher is not to blame for an address that cannot be."""
        present = self._relays.get((stream.name, target.id))
        if present is not None and present.owner is None:
            return  # who started it by hand knows of it
        try:
            self._start(stream.name, target, stream)
        except Refused as refusal:
            at, reason = time.time(), refusal.reason
            self._refused[stream.name, target.id] = stream, _refused(stream.name, target, reason, at)
            self._sink.emit(
                RelayChanged(name=stream.name, session_id="", at=at, relay_id=target.id, state=RelayState.FAILED, reason=reason)
            )

    def start(self, name: str, target: RelayTarget) -> None:
        """Relay ``name`` to ``target`` from now on, or as soon as it is live. Raises Refused for an address that cannot be."""
        self._start(name, target, None)

    def _start(self, name: str, target: RelayTarget, owner: LiveStream | None) -> None:
        address = parse(target.url)
        self._services.dialler.check(address)
        present = self._relays.get((name, target.id))
        if present is None and sum(relay.name == name for relay in self._relays.values()) >= MOST_RELAYS:
            raise Refused(f"there are {MOST_RELAYS} relays of this stream already")
        if present is not None:
            present.stop("started anew")
        self._refused.pop((name, target.id), None)
        relay = self._relays[name, target.id] = Relay(name, target, address, self._services, owner)
        relay.start()

    def stop(self, name: str, relay_id: str) -> bool:
        """End that Relay. False if there is none."""
        self._refused.pop((name, relay_id), None)
        relay = self._relays.pop((name, relay_id), None)
        if relay is None:
            return False
        relay.stop("stopped")
        return True

    def snapshots(self) -> tuple[RelaySnapshot, ...]:
        """Every Relay as it is now, and what was refused."""
        return (*(relay.snapshot() for relay in self._relays.values()), *(shown for _, shown in self._refused.values()))

    def sweep(self, now: float) -> None:
        """Apply the deadlines. To be called every second."""
        for key, relay in tuple(self._relays.items()):
            relay.sweep(now)
            if relay.owner is not None and relay.owner.state is StreamState.ENDED and not relay.trails:
                relay.stop("the stream has ended")
            if relay.state is RelayState.STOPPED:
                del self._relays[key]
        for key, (stream, _) in tuple(self._refused.items()):
            if stream.state is StreamState.ENDED:
                del self._refused[key]
        if self._confirmer is not None and now - self._asked_at >= CONFIRM_INTERVAL:
            self._asked_at = now
            for relay in self._relays.values():
                if relay.level in (RelayLevel.ACKNOWLEDGED, RelayLevel.CONFIRMED):
                    self._spawn(relay.confirm(self._confirmer))

    async def close(self) -> None:
        """End all, and let the targets hear it."""
        relays = tuple(self._relays.values())
        self._relays.clear()
        for relay in relays:
            relay.stop("the server is stopping")
        tasks = [relay.task for relay in relays if relay.task is not None]
        if tasks:
            await asyncio.wait(tasks)
        await self._services.dialler.close()


def _refused(name: str, target: RelayTarget, reason: str, at: float) -> RelaySnapshot:
    """A Relay that cannot be. Of its address nothing is shown: nobody could make out what in it is the key."""
    return RelaySnapshot(
        relay_id=target.id,
        name=name,
        rendition=target.rendition,
        address="",
        state=RelayState.FAILED,
        level=RelayLevel.NONE,
        reason=reason,
        since=at,
        bytes_out=0,
        bitrate=0,
        backlog=0,
        dropped_packets=0,
        attempts=0,
    )
