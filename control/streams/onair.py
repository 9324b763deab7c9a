"""What is on air, looked at once a moment however many ask; and how many watched at most."""

import time
from collections.abc import Callable
from typing import Protocol

from mediaserver.errors import Unavailable
from mediaserver.snapshot import EngineSnapshot, PullSnapshot, RelaySnapshot, RelayState, StreamSnapshot

#: Seconds for which one look serves everybody.
FRESH = 0.25

#: A Relay's state in the document's word, where that has one.
_ACTIVE = "active"
#: And of one that there is none of.
_INACTIVE = ("inactive", "")


class Snapshots(Protocol):
    """The part of the engine's door that is looked through."""

    def snapshot(self) -> EngineSnapshot: ...


def playback_name(stream_id: int) -> str:
    """Under which name the stream of that row plays."""
    return f"stream_{stream_id}"


def stream_id_of(name: str) -> int | None:
    """The row that a playback name belongs to, a rendition's too."""
    number = name.partition("@")[0].removeprefix("stream_")
    return int(number) if name.startswith("stream_") and number.isascii() and number.isdecimal() and len(number) < 19 else None


class OnAir:
    """Live streams by the id of their row."""

    def __init__(self, engine: Snapshots, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self._at = float("-inf")
        self._streams: dict[str, StreamSnapshot] = {}
        self._viewers: dict[str, int] = {}
        self._relays: dict[tuple[str, str], RelaySnapshot] = {}
        self._pulls: dict[str, PullSnapshot] = {}
        #: Why nothing comes of what is fetched, by name.
        self._obstacles: dict[str, str] = {}
        #: With when that stream began: one name, one stream after the other.
        self._peaks: dict[str, tuple[float, int]] = {}

    def look(self) -> None:
        """Look at the engine, if that is not fresh; to be called every second, so that no peak is missed."""
        now = self._clock()
        if now - self._at < FRESH:
            return
        self._at = now
        try:
            seen = self._engine.snapshot()
        except Unavailable:
            self._streams, self._viewers, self._relays, self._pulls, self._obstacles = {}, {}, {}, {}, {}
            return
        self._streams = {stream.name: stream for stream in seen.streams}
        self._viewers = {}
        for stream in seen.streams:
            name = stream.source or stream.name
            self._viewers[name] = self._viewers.get(name, 0) + sum(stream.players.values())
        self._relays = {(relay.name, relay.relay_id): relay for relay in seen.relays}
        self._pulls = {pull.session_id: pull for pull in seen.pulls}
        self._obstacles = {pull.name: pull.reason for pull in seen.pulls if not pull.connected}
        self._peaks = {
            name: (stream.since, max(self._viewers[name], self._peak(name, stream.since)))
            for name, stream in self._streams.items()
            if not stream.source
        }

    def _peak(self, name: str, since: float) -> int:
        began, peak = self._peaks.get(name, (since, 0))
        return peak if began == since else 0

    def forget(self) -> None:
        """Something was ordered: the next look is a fresh one."""
        self._at = float("-inf")

    def everything(self) -> list[StreamSnapshot]:
        """All live streams and renditions."""
        self.look()
        return list(self._streams.values())

    def stream(self, stream_id: int) -> StreamSnapshot | None:
        """The live stream of a row, also within its grace period."""
        self.look()
        if not self._streams:
            return None
        return self._streams.get(playback_name(stream_id))

    def viewers(self, stream_id: int) -> int:
        """How many watch it now, in any rendition by any protocol."""
        self.look()
        return self._viewers.get(playback_name(stream_id), 0)

    def peak(self, stream_id: int) -> int:
        """How many watched it at most since it began."""
        self.look()
        return self._peaks.get(playback_name(stream_id), (0.0, 0))[1]

    def counts(self) -> dict[int, tuple[int, int, float]]:
        """How many watch each stream that is on air, now and at most since it began, and when that was; by the id of its row."""
        self.look()
        found = {stream_id_of(name): (self._viewers[name], peak, since) for name, (since, peak) in self._peaks.items()}
        return {stream_id: counts for stream_id, counts in found.items() if stream_id is not None}

    def best_rendition(self, stream_id: int) -> StreamSnapshot | None:
        """The largest that is made of it at the moment, if any."""
        self.look()
        name = playback_name(stream_id)
        made = [stream for stream in self._streams.values() if stream.source == name and stream.publishing]
        return max(made, key=lambda stream: max((track.height for track in stream.tracks), default=0), default=None)

    def fetches(self, session_id: str) -> bool:
        """Whether that pull still runs."""
        self.look()
        return session_id in self._pulls

    def obstacle(self, stream_id: int) -> str:
        """Why nothing comes of it where it is fetched; empty where something does."""
        self.look()
        return self._obstacles.get(playback_name(stream_id), "") if self._obstacles else ""

    def relay(self, stream_id: int, destination_id: int) -> tuple[str, str]:
        """The state of a destination of it, in words, and why."""
        self.look()
        if not self._relays:
            return _INACTIVE
        return _in_words(self._relays.get((playback_name(stream_id), relay_id(destination_id))))

    def relay_of_any(self, destination_id: int) -> tuple[str, str]:
        """The same of whatever goes there; of several the one that does."""
        self.look()
        there = [relay for (_, one), relay in self._relays.items() if one == relay_id(destination_id)]
        return _in_words(max(there, key=lambda relay: relay.state is RelayState.LIVE, default=None))


def _in_words(relay: RelaySnapshot | None) -> tuple[str, str]:
    if relay is None:
        return _INACTIVE
    return (_ACTIVE if relay.state is RelayState.LIVE else relay.state.value), relay.reason


def relay_id(destination_id: int) -> str:
    """What the engine calls the Relay to a destination."""
    return f"destination_{destination_id}"
