"""How much a source may send. Blocking, for worker processes."""

import time

from mediaserver.ingest.pull_terms import SourceLost, Terms

#: Seconds' worth that may come at once: a live server begins with what it kept since its last keyframe.
BURST = 4.0
_MOST_OF = 0.8


class Allowance:
    """``rate`` of anything a second. What comes faster waits; a source that has to wait for most of ``patience`` seconds is given
    up, with ``complaint``."""

    def __init__(self, rate: float, patience: float, complaint: str) -> None:
        self._rate, self._patience, self._complaint = rate, patience, complaint
        self._left = rate * BURST
        self._at = self._since = time.monotonic()
        self._waited = 0.0  # since then

    def spend(self, count: int) -> None:
        """Take note of ``count``, and wait until they are allowed. Raises SourceLost."""
        now = time.monotonic()
        self._left = min(self._left + (now - self._at) * self._rate, self._rate * BURST) - count
        self._at = now
        if now - self._since >= self._patience:
            if self._waited > self._patience * _MOST_OF:
                raise SourceLost(self._complaint)
            self._since, self._waited = now, 0.0
        if self._left < 0:
            wait = min(-self._left / self._rate, self._patience)
            self._waited += wait
            time.sleep(wait)


def of_bytes(terms: Terms) -> Allowance:
    """The bytes that ``terms`` allow."""
    complaint = f"the source sends more than {terms.max_bitrate / 1e6:g} Mbit/s (pull.max_bitrate)"
    return Allowance(terms.max_bitrate / 8, terms.timeout, complaint)
