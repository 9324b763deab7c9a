"""Sample-accurate times for audio whose container counts whole milliseconds."""

#: How far the stamps may be from the grid (seconds) before we believe them: less is rounding and jitter of the encoder.
TOLERANCE = 0.04


class AudioGrid:
    """Places packets one frame apart as long as their stamps agree within ``TOLERANCE``.

    Stamps that run ahead (packets were lost) move the grid at once: the packet before is stretched. Stamps that fall
    behind cannot take back what was sent: packets are placed half a frame apart until the stamps have caught up.
    Times are in units of the sample rate and rise strictly: neither gaps nor overlaps.
    """

    __slots__ = ("_behind", "_frame", "_last", "_tolerance")

    def __init__(self, sample_rate: int, frame: int) -> None:
        self._frame = frame
        self._tolerance = int(TOLERANCE * sample_rate)
        self._last: int | None = None
        self._behind = False

    def place(self, stamp: int) -> int:
        """The time of the next packet, whose container says ``stamp``."""
        last = self._last
        if last is None:
            self._last = stamp
            return stamp
        frame = self._frame
        expected = last + frame
        drift = stamp - expected
        if not frame or drift > self._tolerance:
            time = max(stamp, last + 1)
            self._behind = False
        elif drift < -self._tolerance or (self._behind and drift < 0):
            time = expected - frame // 2
            self._behind = True
        else:
            time = expected
            self._behind = False
        self._last = time
        return time
