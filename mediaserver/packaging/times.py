"""The times by which an MPD names a track's segments (ISO/IEC 23009-1, 5.3.9.4.4, $Time$)."""


class Times:
    """Which segment is meant by a time, in units of the timescale of the init segment that goes with it.

    Players are told of segments before these begin, so a segment may have several: where it was expected to begin, and where it
    did. A time never comes to mean another one, for caches keep what they got for it: who finds it taken has the next.
    """

    def __init__(self) -> None:
        self._meant: dict[tuple[int, int], int] = {}

    def take(self, init: int, time: int, sequence: int) -> int:
        """``time``, or the first one behind it that is free, means segment ``sequence`` from now on."""
        while self._meant.setdefault((init, time), sequence) != sequence:
            time += 1
        return time

    def find(self, init: int, time: int) -> int | None:
        """The number of the segment that is meant; it may be gone, or not there yet."""
        return self._meant.get((init, time))

    def forget(self, init: int, time: int, sequence: int) -> None:
        """The oldest segment is that one now: let go of times which mean none that is here, and will be no other's."""
        while self._meant:
            (of, at), meant = next(iter(self._meant.items()))
            if meant >= sequence or (of == init and at >= time):
                break
            del self._meant[of, at]

    def __len__(self) -> int:
        return len(self._meant)
