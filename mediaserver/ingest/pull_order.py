"""Pictures and sound that a container stores apart, brought into the order of their times. Runs in a worker process.

A fragment of MP4 may hold all of its pictures, then all of its sound; whoever sends them in time needs both at once.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from protocols.media import MediaKind, Packet, Track

#: A step of one kind's timestamps beyond these, in ms, is a jump: time is counted anew from there.
FORWARD, BACKWARD = 10_000, 1_000
#: Bytes that are held at most, and what one packet costs beside its body.
_ROOM, _COST = 64 << 20, 512


def is_jump(step: int) -> bool:
    """Whether timestamps that go on by ``step`` ms belong to another clock."""
    return not -BACKWARD <= step <= FORWARD


def in_order(items: Iterable[Track | Packet], kinds: Iterable[MediaKind], span: int, slack: int = 0) -> Iterator[Track | Packet]:
    """``items``, of ``kinds``, by their dts; each track stays before the packet that it stood before.

    What is up to ``slack`` ms ahead of the other kind does not wait for it. A kind that the other is more than ``span`` ms ahead
    of is not waited for until it comes. A jump of the clock is passed on as one: all that was before it leaves first.
    """
    order = _Order(kinds, span, slack)
    try:
        for item in items:
            yield from order.take(item)
    except Exception:
        yield from order.rest()
        raise
    yield from order.rest()


@dataclass(slots=True)
class _Line:
    """What waits of one kind: packets, each with the tracks that go before it, and those whose packet is yet to come."""

    held: deque[tuple[list[Track], Packet]] = field(default_factory=deque)
    tracks: list[Track] = field(default_factory=list)
    last: int | None = None

    @property
    def span(self) -> int:
        return self.held[-1][1].dts - self.held[0][1].dts if self.held else 0

    def is_before(self, dts: int) -> bool:
        """Whether what comes next may be earlier than ``dts``."""
        return not self.held and (self.last is None or self.last < dts)


class _Order:
    def __init__(self, kinds: Iterable[MediaKind], span: int, slack: int) -> None:
        self._lines = {kind: _Line() for kind in kinds}
        self._awaited = set(self._lines)
        self._span, self._slack = span, slack
        self._size = 0

    def take(self, item: Track | Packet) -> Iterator[Track | Packet]:
        """Whatever may leave once ``item`` is there."""
        line = self._lines[item.kind]
        if isinstance(item, Track):
            line.tracks.append(item)
            return
        if line.last is not None and is_jump(item.dts - line.last):
            yield from self._release(set())
        line.last = item.dts
        line.held.append((line.tracks, item))
        line.tracks = []
        self._size += len(item.body) + _COST
        self._awaited.add(item.kind)
        yield from self._release(self._awaited)
        if self._size > _ROOM or line.span > self._span:
            self._awaited = {kind for kind, each in self._lines.items() if each.held}
            yield from self._release(self._awaited)

    def rest(self) -> Iterator[Track | Packet]:
        """All that is left."""
        yield from self._release(set())
        for line in self._lines.values():
            yield from line.tracks

    def _release(self, awaited: set[MediaKind]) -> Iterator[Track | Packet]:
        """The earliest first, as long as nothing earlier can come of the kinds in ``awaited``."""
        while lines := [line for line in self._lines.values() if line.held]:
            line = min(lines, key=lambda line: line.held[0][1].dts)
            until = line.held[0][1].dts - self._slack
            if any(self._lines[kind].is_before(until) for kind in awaited):
                return
            tracks, packet = line.held.popleft()
            self._size -= len(packet.body) + _COST
            yield from tracks
            yield packet
