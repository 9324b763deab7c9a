"""The GOP cache: what a player that joins now must be given to see a picture at once."""

from collections import deque
from collections.abc import Iterator
from itertools import islice

from protocols.media import MediaKind, Packet

#: Keyframes that are remembered: more than a rendition is ever behind its source.
KEYFRAMES = 256
#: Milliseconds by which the same picture may differ in two renditions.
SAME = 10
_VIDEO = MediaKind.VIDEO


class GopCache:
    """The packets since the last keyframe, bounded in bytes and in milliseconds.

    A GOP that outgrows a bound is dropped whole and nothing is kept until the next keyframe: half a GOP cannot be
    decoded. An audio-only stream keeps its last ``audio_ms`` milliseconds instead.

    A rendition may have keyframes that its source has not, where no segment of both begins. Who joins sees a picture with the
    last one of any kind; ``whole`` goes back to the last one of both, as far as the bounds allow.
    """

    __slots__ = ("_key", "_keyframes", "_packets", "_start", "_waiting", "audio_ms", "max_bytes", "max_ms", "nbytes", "video")

    def __init__(self, max_bytes: int, max_ms: int, audio_ms: int = 1000) -> None:
        self.max_bytes = max_bytes
        self.max_ms = max_ms
        self.audio_ms = audio_ms
        self.nbytes = 0
        self.video = False
        self._packets: list[Packet] = []
        self._key = 0  # where the last keyframe stands
        self._start = 0
        self._waiting = False
        self._keyframes: deque[int] = deque(maxlen=KEYFRAMES)

    def append(self, packet: Packet, *, own: bool = False) -> None:
        """Keep ``packet``, starting over at a video keyframe. ``own``: the source has none there."""
        # Every packet of every stream comes by here: sound and most pictures are asked as little as can be.
        if packet.kind is _VIDEO:
            if packet.keyframe:
                if not (own and self.video):
                    self._begin(packet)
                    return
                self._key = len(self._packets)
            elif not self.video:
                # What leans on a keyframe that is not here cannot be decoded.
                return
        elif self._waiting:
            return
        self._packets.append(packet)
        self.nbytes += len(packet.body)
        if not self.video:
            self._trim_audio(packet.dts)
        elif self.nbytes > self.max_bytes or packet.dts - self._start > self.max_ms:
            self._shrink(packet.dts)

    def _begin(self, packet: Packet) -> None:
        self._keyframes.append(packet.pts)
        self._packets = [packet]
        self._key = 0
        self._start = packet.dts
        self.nbytes = len(packet.body)
        self.video = True
        self._waiting = False

    def _shrink(self, now: int) -> None:
        """What there is since the last keyframe of both is too large: keep what there is since the last one, or nothing."""
        if self._key:
            self._packets = self._packets[self._key :]
            self._key = 0
            self._start = self._packets[0].dts
            self.nbytes = sum(len(packet.body) for packet in self._packets)
        if self.nbytes > self.max_bytes or now - self._start > self.max_ms:
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
            self._key = sum(packet.kind is not kind for packet in self._packets[: self._key])
            self._packets = [packet for packet in self._packets if packet.kind is not kind]
            self.nbytes = sum(len(packet.body) for packet in self._packets)

    def clear(self) -> None:
        """Forget everything: another publisher begins, or none will."""
        self._packets = []
        self._key = 0
        self.nbytes = 0
        self.video = False
        self._waiting = False

    def had_keyframe(self, pts: int) -> bool:
        """Whether one of the last keyframes is shown at ``pts``."""
        return any(abs(pts - each) <= SAME for each in reversed(self._keyframes))

    def whole(self) -> Iterator[Packet]:
        """What there is since the last keyframe that the source has too."""
        return iter(self._packets)

    def __iter__(self) -> Iterator[Packet]:
        """What there is since the last keyframe."""
        return islice(self._packets, self._key, None)

    def __len__(self) -> int:
        return len(self._packets) - self._key
