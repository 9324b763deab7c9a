"""What leaves a pull's worker: tracks and packets on the encoder's clock that the hub expects, and not before their time."""

import time
from collections.abc import Iterable
from typing import Protocol

from mediaserver.ingest.pull_allowance import Allowance
from mediaserver.ingest.pull_order import FORWARD, is_jump
from mediaserver.worker.frames import Frame, PacketFrame, TrackFrame
from protocols.media import MediaKind, Packet, Track

#: Packets, and milliseconds of them, that are looked at before the first one leaves, to find the earliest timestamp.
_LOOK_PACKETS, _LOOK_SPAN = 64, 1000
#: Seconds of delay that are made up for; a source that was away longer goes on from now.
_LATE = 5.0
#: Packets a second: a flood of small ones costs the server as much as one of large ones.
MOST_PACKETS = 4000
#: Seconds for which they may be too many.
PATIENCE = 10.0
_MASK = (1 << 32) - 1


class Pipe(Protocol):
    """Where frames go."""

    def send(self, frame: Frame) -> None: ...


class Outlet:
    """``lead`` is how many seconds packets may leave before their time; None sends them as they come.

    Packets of more than ``largest`` bytes are left out; whatever their times, all together are kept within ``allowance``
    (bytes), and within MOST_PACKETS a second.
    """

    def __init__(self, pipe: Pipe, lead: float | None, largest: int, allowance: Allowance) -> None:
        self._pipe, self._lead, self._largest, self._bytes = pipe, lead, largest, allowance
        self._packets = Allowance(MOST_PACKETS, PATIENCE, f"the source sends more than {MOST_PACKETS} packets a second")
        self._waiting: list[Packet] | None = []
        self._kinds: set[MediaKind] = set()
        self._shift = 0
        # When ``first`` was due, and the latest timestamp since then; the last one of each kind.
        self._begin, self._first, self._reached = 0.0, 0, 0
        self._ends: dict[MediaKind, int] = {}
        self.dropped = 0

    def take(self, items: Iterable[Track | Packet]) -> None:
        """Send all of ``items``, whose timestamps may begin anywhere, below zero too. Raises SourceLost for too many."""
        for item in items:
            self._packets.spend(1)
            self._bytes.spend(len(item.body))
            if isinstance(item, Track):
                self._kinds.add(item.kind)
                self._pipe.send(TrackFrame(0, item))
            elif len(item.body) > self._largest:
                self.dropped += 1
            elif self._waiting is None:
                self._send(item)
            else:
                self._waiting.append(item)
                if self._seen_enough(self._waiting):
                    self.settle()

    def settle(self) -> None:
        """Let what was looked at go: the earliest timestamp becomes 0."""
        waiting, self._waiting = self._waiting, None
        if waiting:
            self._shift = -min(packet.dts for packet in waiting)
            self._begin, self._first, self._reached = time.monotonic(), -self._shift, -self._shift
            for packet in waiting:
                self._send(packet)

    def _seen_enough(self, waiting: list[Packet]) -> bool:
        if len(waiting) >= _LOOK_PACKETS or abs(waiting[-1].dts - waiting[0].dts) > _LOOK_SPAN:
            return True
        # Two of each kind: pictures may begin before the sound that stands before them.
        return len(self._kinds) > 1 and all(sum(packet.kind is kind for packet in waiting) > 1 for kind in self._kinds)

    def _send(self, packet: Packet) -> None:
        if self._lead is not None:
            self._pace(packet.kind, packet.dts)
        packet.dts = (packet.dts + self._shift) & _MASK
        self._pipe.send(PacketFrame(0, packet))

    def _pace(self, kind: MediaKind, dts: int) -> None:
        """Wait until it is time for ``dts``. One kind may be well behind the other: that is no jump of its clock."""
        now = time.monotonic()
        end, step = self._ends.get(kind), dts - self._reached
        self._ends[kind] = dts
        if abs(step) > FORWARD or (end is not None and is_jump(dts - end) and is_jump(step)):
            self._begin, self._first, self._reached = now, dts, dts
        elif end is not None and end > self._reached:
            return  # still on the clock that the other kind has left
        self._reached = max(self._reached, dts)
        if now - self._due(self._reached) > _LATE:
            self._begin, self._first = now, self._reached
        wait = self._due(dts) - now - (self._lead or 0.0)
        if wait > 0:
            time.sleep(wait)

    def _due(self, dts: int) -> float:
        return self._begin + (dts - self._first) / 1000
