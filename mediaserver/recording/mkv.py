"""A recording as Matroska: one cluster a part."""

from collections.abc import Mapping, Sequence

from protocols import matroska
from protocols.codec import sample_data
from protocols.errors import ProtocolError
from protocols.matroska import Block
from protocols.media import Codec, MediaKind, Packet, Track


class MkvFile:
    """See ``containers.Container``. The earliest picture or sound is at 0."""

    def __init__(self, tracks: Mapping[MediaKind, Track]) -> None:
        self._head = matroska.head(tracks)
        self._codecs = {kind: track.codec for kind, track in tracks.items()}
        self._origin = 0
        self._end = 0
        self._steps: dict[MediaKind, tuple[int, int]] = {}

    @property
    def seconds(self) -> float:
        return self._end / 1000

    def head(self, first: Sequence[Packet]) -> bytes:
        self._origin = min(packet.pts for packet in first)
        return self._head.data

    def part(self, packets: Sequence[Packet], *, last: bool) -> bytes:  # noqa: ARG002 - a block needs no other
        blocks = []
        for packet in packets:
            data = packet.payload
            if self._codecs[packet.kind] is Codec.AV1:
                try:
                    data = sample_data(Codec.AV1, data)
                except ProtocolError:
                    continue
            shown = max(packet.pts - self._origin, 0)
            blocks.append(Block(packet.kind, shown, packet.keyframe, data))
            before, step = self._steps.get(packet.kind, (packet.dts, 0))
            step = packet.dts - before or step
            self._steps[packet.kind] = packet.dts, step
            self._end = max(self._end, shown + step)
        return matroska.cluster(blocks) if blocks else b""

    def patch(self) -> tuple[int, bytes] | None:
        return self._head.room, matroska.duration(self.seconds)
