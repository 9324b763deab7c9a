"""Pictures and sound that a container stores apart, brought into the order of their times. Runs in a worker process.

A fragment of MP4 may hold all of its pictures, then all of its sound; whoever sends them in time needs both at once.
"""

import math
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from protocols.media import MediaKind, Packet, Track

#: A step of one kind's timestamps beyond these, in ms, is a jump: time is counted anew from there.
FORWARD, BACKWARD = 10_000, 1_000
#: Bytes that are held at most, and what one packet or track costs beside its own.
_ROOM, _COST = 64 << 20, 512


def is_jump(step: int) -> bool:
    """Whether timestamps that go on by ``step`` ms belong to another clock."""
    return not -BACKWARD <= step <= FORWARD


def in_order(
    items: Iterable[Track | Packet], kinds: Iterable[MediaKind], span: int, slack: int = 0, patience: float = math.inf
) -> Iterator[Track | Packet]:
    """``items``, of ``kinds``, by their dts; each packet stays behind the last track that it stood behind.

    What is up to ``slack`` ms ahead of the other kind does not wait for it. A kind that the other is more than ``span`` ms ahead
    of, or because of which nothing has left for ``patience`` seconds, is not waited for until it comes, and comes again within
    ``span``. A jump of the clock is passed on as one: all that was before it leaves first.
    """
    order = _Order(kinds, span, slack, patience)
    try:
        for item in items:
            yield from order.take(item)
    except Exception:
        yield from order.rest()
        raise
    yield from order.rest()


def _cost(item: Track | Packet) -> int:
    """Bytes that ``item`` takes while it is held."""
    return len(item.body) + _COST + (len(item.config) if isinstance(item, Track) else 0)


@dataclass(slots=True)
class _Line:
    """What waits of one kind: packets, each with the track that goes before it, and the one whose packet is yet to come."""

    held: deque[tuple[Track | None, Packet]] = field(default_factory=deque)
    track: Track | None = None
    last: int | None = None

    @property
    def span(self) -> int:
        return self.held[-1][1].dts - self.held[0][1].dts if self.held else 0

    def is_before(self, dts: int) -> bool:
        """Whether what comes next may be earlier than ``dts``."""
        return not self.held and (self.last is None or self.last < dts)


class _Order:
    def __init__(self, kinds: Iterable[MediaKind], span: int, slack: int, patience: float) -> None:
        self._lines = {kind: _Line() for kind in kinds}
        self._awaited = set(self._lines)
        self._span, self._slack, self._patience = span, slack, patience
        self._size = 0
        self._left_at = time.monotonic()  # when something left, and whoever took it was ready for more

    def take(self, item: Track | Packet) -> Iterator[Track | Packet]:
        """Whatever may leave once ``item`` is there."""
        line = self._lines[item.kind]
        self._size += _cost(item)
        if isinstance(item, Track):
            if line.track is not None:  # no packet was for it
                self._size -= _cost(line.track)
            line.track = item
        else:
            if line.last is not None and is_jump(item.dts - line.last):
                yield from self._release(set())
            # One that comes now and then would put the other kind on hold each time.
            elif line.last is not None and item.dts - line.last <= self._span:
                self._awaited.add(item.kind)
            line.last = item.dts
            line.held.append((line.track, item))
            line.track = None
            yield from self._release(self._awaited)
        if self._size > _ROOM or line.span > self._span or time.monotonic() - self._left_at > self._patience:
            self._awaited = {kind for kind, each in self._lines.items() if each.held}
            yield from self._release(self._awaited)

    def rest(self) -> Iterator[Track | Packet]:
        """All that is left."""
        yield from self._release(set())
        for line in self._lines.values():
            if line.track is not None:
                yield line.track

    def _release(self, awaited: set[MediaKind]) -> Iterator[Track | Packet]:
        """The earliest first, as long as nothing earlier can come of the kinds in ``awaited``."""
        while lines := [line for line in self._lines.values() if line.held]:
            line = min(lines, key=lambda line: line.held[0][1].dts)
            until = line.held[0][1].dts - self._slack
            if any(self._lines[kind].is_before(until) for kind in awaited):
                return
            track, packet = line.held.popleft()
            self._size -= _cost(packet)
            if track is not None:
                self._size -= _cost(track)
                yield track
            yield packet
            self._left_at = time.monotonic()
