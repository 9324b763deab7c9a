"""When the number of viewers is news: once on the way up, once on the way down, and not at every wobble between."""

from collections.abc import Iterable, Iterator

from control.webhooks.messages import Crossing

#: The part of a threshold that the number must fall below it before it counts as dropped.
MARGIN = 0.1


def crossings(exceeded: set[int], thresholds: Iterable[int], viewers: int) -> Iterator[tuple[int, Crossing]]:
    """The thresholds that ``viewers`` crosses now, upwards in rising and downwards in falling order.

    ``exceeded`` are those that were crossed upwards before; it is brought up to date.
    """
    ordered = sorted(set(thresholds))
    exceeded.intersection_update(ordered)
    for threshold in ordered:
        if viewers >= threshold and threshold not in exceeded:
            exceeded.add(threshold)
            yield threshold, Crossing.EXCEEDED
    for threshold in reversed(ordered):
        # At least one below, so that a threshold of 1 has room for it too.
        if threshold in exceeded and viewers <= min(threshold - 1, threshold * (1 - MARGIN)):
            exceeded.discard(threshold)
            yield threshold, Crossing.DROPPED
