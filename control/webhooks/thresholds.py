"""When the number of viewers is news: once on the way up, once on the way down, and not at every wobble between."""

from collections.abc import Iterable, Iterator
from math import floor

from control.webhooks.messages import Crossing

#: How far below a threshold the number must fall before that counts as dropped: this part of it, and this many viewers at least
#: (none are left below that of 1 and 2).
MARGIN, LEAST = 0.1, 2
#: Seconds for which it must stay there: one viewer who comes back at once drops nothing.
HOLD = 5.0
#: Since when it has been there, of a threshold that it is above.
ABOVE = float("inf")


def floor_of(threshold: int) -> int:
    """The most viewers at which ``threshold`` has been dropped."""
    return max(0, min(floor(threshold * (1 - MARGIN)), threshold - LEAST))


def crossings(exceeded: dict[int, float], thresholds: Iterable[int], viewers: int, now: float) -> Iterator[tuple[int, Crossing]]:
    """The thresholds that ``viewers`` crosses now (in seconds), upwards in rising and downwards in falling order.

    ``exceeded`` are those that were crossed upwards before, and since when there have been too few (ABOVE: there are not); it is
    brought up to date.
    """
    ordered = sorted(set(thresholds))
    for gone in exceeded.keys() - set(ordered):
        del exceeded[gone]
    for threshold in ordered:
        if viewers >= threshold and threshold not in exceeded:
            exceeded[threshold] = ABOVE
            yield threshold, Crossing.EXCEEDED
    for threshold in reversed(ordered):
        if threshold not in exceeded:
            continue
        since = min(exceeded[threshold], now) if viewers <= floor_of(threshold) else ABOVE
        exceeded[threshold] = since
        if now - since >= HOLD:
            del exceeded[threshold]
            yield threshold, Crossing.DROPPED
