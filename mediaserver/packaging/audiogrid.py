"""Sample-accurate times for audio whose container counts whole milliseconds."""

#: How far the stamps may be from the grid (seconds) before we believe them: less is rounding and jitter of the encoder.
TOLERANCE = 0.04


class AudioGrid:
    """Places packets back to back as long as their stamps agree with that within ``TOLERANCE``.

    Stamps that run ahead (packets were lost) move the grid at once: the packet before is stretched. Stamps that fall
    behind cannot take back what was sent: packets are placed at half their duration until the stamps have caught up.
    Times are in units of the sample rate and rise strictly: neither gaps nor overlaps.
    """

    __slots__ = ("_behind", "_duration", "_last", "_tolerance")

    def __init__(self, sample_rate: int) -> None:
        self._tolerance = int(TOLERANCE * sample_rate)
        self._duration = 0
        self._last: int | None = None
        self._behind = False

    def place(self, stamp: int, duration: int) -> int:
        """The time of the next packet, whose container says ``stamp``; it holds ``duration`` samples, 0 if unknown."""
        last, before, self._duration = self._last, self._duration, duration
        if last is None:
            self._last = stamp
            return stamp
        drift = stamp - last - before
        if not before or drift > self._tolerance:
            time = max(stamp, last + 1)
            self._behind = False
        elif drift < -self._tolerance or (self._behind and drift < 0):
            time = last + max(before // 2, 1)
            self._behind = True
        else:
            time = last + before
            self._behind = False
        self._last = time
        return time
