"""Who watches which stream, by what is told of each: to the second, and without those who had gone by then."""

from collections import Counter

from mediaserver.events import PlayEnded, PlayStarted


class Crowd:
    """Viewers who are there. Of some it is told later when they came, or that they have gone."""

    def __init__(self) -> None:
        self._present: dict[str, int] = {}
        self._counts: Counter[int] = Counter()

    def of(self, stream_id: int) -> int:
        """How many watch it, as far as is known."""
        return self._counts[stream_id]

    def change(self, event: PlayStarted | PlayEnded, stream_id: int) -> int:
        """One more (1) or fewer (-1) from ``event.at`` on; 0 for one who is not known."""
        if isinstance(event, PlayStarted):
            self._present[event.session_id] = stream_id
            self._counts[stream_id] += 1
            return 1
        if self._present.pop(event.session_id, None) is None:
            return 0
        self._counts[stream_id] -= 1
        if not self._counts[stream_id]:
            del self._counts[stream_id]
        return -1
