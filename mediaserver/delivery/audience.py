"""Who watches by HLS and DASH: players that ask for playlist after playlist and hold no connection that would tell."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from mediaserver.ports import Wire

#: Seconds without a playlist after which a viewer is gone, and the same in target durations where those are long.
PATIENCE: Final = 10.0
TARGET_DURATIONS: Final = 3
#: Viewers that are told apart. Beyond that nobody new is counted.
MAX_VIEWERS: Final = 100_000
#: And of one address: whoever changes its User-Agent with each request is not a crowd.
MAX_OF_ADDRESS: Final = 100

#: Playback name, address, the User-Agent's hash, protocol. Two players behind one address with one agent are one viewer.
_Viewer = tuple[str, str, int, Wire]


class Audience:
    """Viewers by name. ``pace`` says how long a segment of a name may be (seconds), 0 for a name that is not live."""

    def __init__(self, pace: Callable[[str], float]) -> None:
        self._pace = pace
        self._seen: dict[_Viewer, float] = {}
        self._of_address: Counter[str] = Counter()
        self._counts: dict[str, Counter[Wire]] = {}

    def note(self, name: str, address: str, agent: str, wire: Wire, at: float) -> None:
        """Somebody asked for a playlist of ``name`` at ``at``."""
        viewer = name, address, hash(agent), wire
        if viewer not in self._seen:
            if len(self._seen) >= MAX_VIEWERS or self._of_address[address] >= MAX_OF_ADDRESS:
                return
            self._of_address[address] += 1
        self._seen[viewer] = at

    def sweep(self, now: float) -> None:
        """Forget who has left and what is over; count the others."""
        counts: dict[str, Counter[Wire]] = {}
        patience: dict[str, float] = {}
        for viewer, at in list(self._seen.items()):
            name, wire = viewer[0], viewer[3]
            if name not in patience:
                pace = self._pace(name)
                patience[name] = max(PATIENCE, TARGET_DURATIONS * pace) if pace else 0.0
            if now - at >= patience[name]:
                del self._seen[viewer]
                self._leave(viewer[1])
            else:
                counts.setdefault(name, Counter())[wire] += 1
        self._counts = counts

    def _leave(self, address: str) -> None:
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]

    @property
    def counts(self) -> Mapping[str, Mapping[Wire, int]]:
        """How many watch each name, by protocol, as of the last sweep."""
        return self._counts

    def __len__(self) -> int:
        return len(self._seen)
