"""The GOP cache: what a player that joins now must be given to see a picture at once."""

from collections.abc import Iterator

from protocols.media import MediaKind, Packet


class GopCache:
    """The packets since the last keyframe, bounded in bytes and in milliseconds.

    A GOP that outgrows a bound is dropped whole and nothing is kept until the next keyframe: half a GOP cannot be
    decoded. An audio-only stream keeps its last ``audio_ms`` milliseconds instead.
    """

    __slots__ = ("_packets", "_start", "_waiting", "audio_ms", "max_bytes", "max_ms", "nbytes", "video")

    def __init__(self, max_bytes: int, max_ms: int, audio_ms: int = 1000) -> None:
        self.max_bytes = max_bytes
        self.max_ms = max_ms
        self.audio_ms = audio_ms
        self.nbytes = 0
        self.video = False
        self._packets: list[Packet] = []
        self._start = 0
        self._waiting = False

    def append(self, packet: Packet) -> None:
        """Keep ``packet``, starting over at a video keyframe."""
        if packet.keyframe and packet.kind is MediaKind.VIDEO:
            self._packets = [packet]
            self._start = packet.dts
            self.nbytes = len(packet.body)
            self.video = True
            self._waiting = False
            return
        if self._waiting or (not self.video and packet.kind is MediaKind.VIDEO):
            # What leans on a keyframe that is not here cannot be decoded.
            return
        self._packets.append(packet)
        self.nbytes += len(packet.body)
        if not self.video:
            self._trim_audio(packet.dts)
        elif self.nbytes > self.max_bytes or packet.dts - self._start > self.max_ms:
            self.clear()
            self._waiting = True

    def _trim_audio(self, now: int) -> None:
        # In steps of half the window, so that the cost of a front deletion is shared by many packets.
        packets = self._packets
        if now - packets[0].dts < self.audio_ms + self.audio_ms // 2 and self.nbytes <= self.max_bytes:
            return
        keep = next((i for i, p in enumerate(packets) if now - p.dts <= self.audio_ms), len(packets) - 1)
        keep = keep if self.nbytes <= self.max_bytes else max(keep, len(packets) // 2)
        self._packets = packets[keep:]
        self.nbytes = sum(len(p.body) for p in self._packets)

    def forget(self, kind: MediaKind) -> None:
        """Forget what was coded with parameters that no longer hold: all of it, if a picture's did."""
        if kind is MediaKind.VIDEO:
            self.clear()
        else:
            self._packets = [packet for packet in self._packets if packet.kind is not kind]
            self.nbytes = sum(len(packet.body) for packet in self._packets)

    def clear(self) -> None:
        """Forget everything: another publisher begins, or none will."""
        self._packets = []
        self.nbytes = 0
        self.video = False
        self._waiting = False

    def __iter__(self) -> Iterator[Packet]:
        return iter(self._packets)

    def __len__(self) -> int:
        return len(self._packets)
