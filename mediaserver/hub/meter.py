"""How fast a stream comes in, from a sample a second: no packet pays for it."""

from collections import deque


class Meter:
    """Bitrate and frame rate over the last few seconds."""

    __slots__ = ("_samples",)

    def __init__(self, seconds: int = 5) -> None:
        self._samples: deque[tuple[float, int, int]] = deque(maxlen=seconds + 1)

    def sample(self, now: float, bytes_in: int, frames: int) -> None:
        """Take the counters' present values. Counters that went back are a new publisher's."""
        if self._samples and bytes_in < self._samples[-1][1]:
            self._samples.clear()
        self._samples.append((now, bytes_in, frames))

    @property
    def bitrate(self) -> int:
        """Bits per second."""
        return round(self._rate(1) * 8)

    @property
    def frame_rate(self) -> float:
        """Video frames per second."""
        return round(self._rate(2), 2)

    def _rate(self, counter: int) -> float:
        if len(self._samples) < 2:
            return 0.0
        first, last = self._samples[0], self._samples[-1]
        return (last[counter] - first[counter]) / max(last[0] - first[0], 1e-6)
