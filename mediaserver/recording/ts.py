"""A recording as an MPEG transport stream. A null packet ends each part: a file that was cut off is cut there."""

from collections.abc import Mapping, Sequence

from protocols.errors import ProtocolError
from protocols.media import MediaKind, Packet, Track
from protocols.mpegts import CLOCK, NULL_PACKET, TransportWriter


class TsFile:
    """See ``containers.Container``. The first packet to be decoded is at 0."""

    def __init__(self, tracks: Mapping[MediaKind, Track]) -> None:
        self._writer = TransportWriter(tracks)
        self._origin = 0
        self._first: int | None = None
        self._end = 0
        self._steps: dict[MediaKind, tuple[int, int]] = {}

    @property
    def seconds(self) -> float:
        return max(self._end - (self._first or 0), 0) / 1000

    def head(self, first: Sequence[Packet]) -> bytes:
        self._origin = min(packet.dts for packet in first)
        return b""

    def part(self, packets: Sequence[Packet], *, last: bool) -> bytes:  # noqa: ARG002 - a PES packet needs no other
        parts = [self._writer.tables()]
        for packet in packets:
            time = max(packet.dts - self._origin, 0)
            try:
                unit = self._writer.access_unit(
                    packet.kind, _ticks(time), _ticks(time + packet.cts), packet.payload, keyframe=packet.keyframe
                )
            except ProtocolError:
                continue  # an access unit that nobody could decode
            parts.append(unit)
            before, step = self._steps.get(packet.kind, (time, 0))
            step = time - before or step
            self._steps[packet.kind] = time, step
            self._end = max(self._end, time + packet.cts + step)
            self._first = time + packet.cts if self._first is None else min(self._first, time + packet.cts)
        return b"".join((*parts, NULL_PACKET))

    def patch(self) -> tuple[int, bytes] | None:
        return None


def _ticks(milliseconds: int) -> int:
    return milliseconds * CLOCK // 1000
