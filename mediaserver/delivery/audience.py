"""Who watches by HLS and DASH: players that ask for playlist after playlist and hold no connection that would tell."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from mediaserver.events import PlayEnded, PlayStarted
from mediaserver.hub.session import new_session_id
from mediaserver.ports import EventSink, Wire

#: Seconds without a playlist after which a viewer is gone, and the same in target durations where those are long.
PATIENCE: Final = 10.0
TARGET_DURATIONS: Final = 3
#: Viewers that are told apart. Beyond that nobody new is counted.
MAX_VIEWERS: Final = 100_000

#: The name that is played (a rendition's stands for its stream) with a session token; or with address, the User-Agent's hash and
#: protocol. Without a token two players behind one address with one agent are one viewer, and one that changes its protocol two.
_Key = tuple[str, str] | tuple[str, str, int, Wire]


@dataclass(frozen=True, slots=True)
class Sighting:
    """Somebody asked for a playlist or an MPD of ``name``, which is ``stream`` or a rendition of it. ``shared``: one that does
    not tell which rendition is watched."""

    name: str
    stream: str
    wire: Wire
    address: str
    agent: str
    token: str = field(default="", repr=False)
    shared: bool = False


@dataclass(slots=True)
class _Viewer:
    """One session. Times are the Audience's clock's; ``told``: there was an event of its beginning."""

    name: str
    wire: Wire
    address: str
    since: float
    seen: float
    session_id: str = ""

    @property
    def told(self) -> bool:
        return bool(self.session_id)


class Audience:
    """Viewers by name. ``pace`` says how long a segment of a name may be (seconds), 0 for a name that is not live.

    Who asked but once only looked whether there is something: nobody counts before the second playlist. ``newcomers``
    is how many of one address may be waited for: whoever changes its User-Agent, or its token, with each request is no crowd, and
    many who watch from behind one address are.
    """

    def __init__(
        self, pace: Callable[[str], float], sink: EventSink, newcomers: int, wall: Callable[[], float] = time.time
    ) -> None:
        self._pace = pace
        self._sink = sink
        self._most_newcomers = newcomers
        self._wall = wall
        self._seen: dict[_Key, _Viewer] = {}
        self._newcomers: Counter[str] = Counter()
        self._counts: dict[str, Counter[Wire]] = {}

    def note(self, sighting: Sighting, at: float, now: float | None = None) -> None:
        """That was at ``at``, and is told of ``now``."""
        who, address, wire = sighting, sighting.address, sighting.wire
        key: _Key = (who.stream, who.token) if who.token else (who.stream, address, hash(who.agent), wire)
        viewer = self._seen.get(key)
        if viewer is None:
            if len(self._seen) < MAX_VIEWERS and self._newcomers[address] < self._most_newcomers:
                self._newcomers[address] += 1
                self._seen[key] = _Viewer(who.name, wire, address, at, at)
            return
        viewer.wire = wire
        if not who.shared:
            viewer.name = who.name
        viewer.seen = max(viewer.seen, at)
        if not viewer.told and at > viewer.since:
            self._decided(viewer.address)
            viewer.session_id = new_session_id()
            began = self._wall() - ((at if now is None else now) - viewer.since)
            self._sink.emit(PlayStarted(viewer.name, viewer.session_id, began, wire, address, who.agent, who.token))

    def sweep(self, now: float) -> None:
        """Forget who has left and what is over; count the others."""
        counts: dict[str, Counter[Wire]] = {}
        patience: dict[str, float] = {}
        for key, viewer in list(self._seen.items()):
            name = viewer.name
            if name not in patience:
                pace = self._pace(name)
                patience[name] = max(PATIENCE, TARGET_DURATIONS * pace) if pace else 0.0
            if now - viewer.seen >= patience[name]:
                self._leave(key, now, "asks for nothing any more" if patience[name] else "the stream has ended")
            elif viewer.told:
                counts.setdefault(name, Counter())[viewer.wire] += 1
        self._counts = counts

    def close(self, now: float, reason: str) -> None:
        """Nobody watches any more. Harmless twice."""
        for key in tuple(self._seen):
            self._leave(key, now, reason)
        self._counts = {}

    def _leave(self, key: _Key, now: float, reason: str) -> None:
        viewer = self._seen.pop(key)
        if viewer.told:
            ended = self._wall() - (now - viewer.seen)
            self._sink.emit(PlayEnded(viewer.name, viewer.session_id, ended, reason, None, viewer.seen - viewer.since))
        else:
            self._decided(viewer.address)

    def _decided(self, address: str) -> None:
        """A newcomer watches, or has gone."""
        self._newcomers[address] -= 1
        if not self._newcomers[address]:
            del self._newcomers[address]

    def seen(self, now: float) -> Mapping[str, float]:
        """When each session was seen last, Unix time, by its id."""
        wall = self._wall()
        return {viewer.session_id: wall - (now - viewer.seen) for viewer in self._seen.values() if viewer.told}

    @property
    def counts(self) -> Mapping[str, Mapping[Wire, int]]:
        """How many watch each name, by protocol, as of the last sweep."""
        return self._counts

    def __len__(self) -> int:
        return len(self._seen)
