"""What a stream's tracks are, as far as they can be packaged: what their records say, and packets where those say more."""

import logging
from collections.abc import Callable

from mediaserver.packaging.segment import InitSegment, media_answer
from protocols.codec import complete, parameters
from protocols.errors import ProtocolError
from protocols.media import Codec, MediaKind, Packet, Track
from protocols.mp4.fragment import init_segment, timescale
from protocols.mp4.sample_entry import CARRIED

log = logging.getLogger(__name__)

#: Codecs whose packets complete the track (picture size, frame header), and any keyframe or packet of sound may change it again.
_COMPLETED_BY_PACKET = frozenset({Codec.AV1, Codec.VP9, Codec.MP3, Codec.AC3, Codec.EAC3})


class Tracks:
    """The tracks of the stream ``name``. ``index`` gives each init segment a number that no other of the name ever had: it is
    part of an address that caches keep for ever. ``facts``: what a line in the log about them begins with."""

    def __init__(self, name: str, index: Callable[[], int]) -> None:
        self.facts: Callable[[], dict[str, object]] = lambda: {"name": name}
        self._index = index
        self._incomplete: dict[MediaKind, Track] = {}
        #: Codecs that cannot be packaged at all, by the last header of each kind. (A broken one may be followed by a good one.)
        self.refused: dict[MediaKind, Codec] = {}
        self._warned: set[Codec] = set()

    def declare(self, track: Track, *, completed: bool = False) -> InitSegment | None:
        """The init segment of ``track``; None where it has none, or not before a packet completes it."""
        self._incomplete.pop(track.kind, None)
        self.refused.pop(track.kind, None)
        try:
            described, units, body = parameters(track), timescale(track), init_segment(track)
        except ProtocolError as error:
            if track.codec in _COMPLETED_BY_PACKET and not completed:
                self._incomplete[track.kind] = track
            else:
                self._warn(track, error)
            return None
        return InitSegment(self._index(), track, described, units, media_answer(track.kind.value, body))

    def completed_by(self, packet: Packet, present: Track | None) -> Track | None:
        """The track of ``packet`` as that completes or changes it, if it does; ``present`` is what it is known as now."""
        if not packet.keyframe or (present is not None and present.codec not in _COMPLETED_BY_PACKET):
            return None
        track = present or self._incomplete.get(packet.kind)
        if track is None:
            return None
        try:
            completed = complete(track, packet.payload)
        except ProtocolError:
            return None
        return None if completed is track else completed

    def awaits(self, kind: MediaKind) -> bool:
        """Whether a packet has yet to say what this track is."""
        return kind in self._incomplete

    def __bool__(self) -> bool:
        """Whether all is said."""
        return not self._incomplete

    def _warn(self, track: Track, error: ProtocolError) -> None:
        """Say once that ``track`` is left out: a broken encoder repeats its header for ever."""
        if track.codec not in CARRIED:
            self.refused[track.kind] = track.codec
        if track.codec not in self._warned:
            self._warned.add(track.codec)
            facts = {**self.facts(), "kind": track.kind.value, "codec": track.codec.value, "reason": str(error)}
            log.warning("track_not_packaged", extra={"facts": facts})
