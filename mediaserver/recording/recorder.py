"""One LiveStream cut into files and parts. Pure but for what it is told: the clock is the stream's."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mediaserver.recording.containers import Form
from protocols.codec import complete
from protocols.errors import ProtocolError
from protocols.media import Codec, MediaKind, Metadata, Packet, Track

log = logging.getLogger(__name__)

#: A part is at most so long (ms). What a power cut can take is a part and the time that it takes to write one: under a second.
PART = 750
#: A part has no more bytes than this, and a packet: whoever sends enormous packets with tiny steps in time fills no memory.
MOST_OF_PART = 8 << 20
#: A part also ends before a keyframe if it is at least so long (ms): then a part is a place to begin at.
LEAST_PART = 200
#: Without a picture for so long (ms), sound alone is something to begin with.
NO_PICTURE = 3_000

_VIDEO = MediaKind.VIDEO
_COMPLETED_BY_PACKET = frozenset({Codec.AV1, Codec.VP9, Codec.MP3, Codec.AC3, Codec.EAC3})


@dataclass(frozen=True, slots=True)
class Limits:
    """Where another file begins, at the next keyframe: seconds and bytes, 0 for never."""

    seconds: float = 0.0
    bytes: int = 0


class Output(Protocol):
    """Where files go. None of it waits."""

    def begin(self, tracks: Mapping[MediaKind, Track]) -> None:
        """A file of these tracks begins with the next part."""

    def part(self, packets: Sequence[Packet], *, last: bool) -> bool:
        """One part more. False if it was thrown away, because too much waits for the disk."""

    def leave_out(self, reason: str) -> None:
        """A track cannot be recorded; told once for each of its codecs."""

    def finish(self, reason: str) -> None:
        """The file is whole."""

    def end(self) -> None:
        """The stream is over, and the file with it."""

    @property
    def ready(self) -> bool:
        """Whether parts would be taken again after one was thrown away."""


class Recorder:
    """A hub Subscriber. A file begins with a keyframe; another one begins at the first keyframe after its tracks have changed or
    ``limits`` are reached. What comes while nothing can be begun is left out. ``facts``: what a line in the log about it begins
    with."""

    def __init__(self, facts: Callable[[], dict[str, object]], form: Form, limits: Limits, out: Output) -> None:
        self._facts, self._form, self._limits, self._out = facts, form, limits, out
        self._tracks: dict[MediaKind, Track] = {}
        self._incomplete: dict[MediaKind, Track] = {}
        # What has no place in such a file, and how that was said.
        self._left_out: dict[MediaKind, str] = {}
        self._warned: set[Codec] = set()
        # The file in the making: its tracks (None: there is none), whether it has a part already, where it began, its bytes.
        self._file: dict[MediaKind, Track] | None = None
        self._begun = False
        self._stale = False
        self._lacks: dict[MediaKind, str] = {}
        self._began_at = 0
        self._bytes = 0
        self._pending: list[Packet] = []
        self._weight = 0  # of what is pending, in bytes
        # Pictures before the next keyframe lean on what is not there; so do those shown before it.
        self._skip_pictures = False
        self._shown_from = 0
        self._last_picture: int | None = None

    # -- the Subscriber's port ------------------------------------------------------------------------------------------

    def on_track(self, track: Track) -> None:
        refusal = self._form.refusal(track)
        if not refusal:
            self._adopt(track)
            return
        if self._tracks.pop(track.kind, None) is not None:
            self._stale = True
        if track.codec in _COMPLETED_BY_PACKET - self._form.without:
            self._incomplete[track.kind] = track
            self._left_out.pop(track.kind, None)
        else:
            self._incomplete.pop(track.kind, None)
            self._leave_out(track, refusal)

    def on_metadata(self, metadata: Metadata) -> None:
        """Nothing in it that the tracks do not say themselves."""

    def on_packet(self, packet: Packet) -> None:
        kind = packet.kind
        if len(packet.body) <= packet.offset:
            return
        if packet.keyframe:
            self._complete(packet)
        if kind not in self._tracks:
            return
        if self._last_picture is None or kind is _VIDEO:
            self._last_picture = packet.dts
        if self._may_begin(packet):
            if self._file is not None and (self._stale or self._is_full(packet)):
                self.finish("its parameters changed" if self._stale else "split")
            if self._file is None:
                self._begin(packet)
        if self._file is None or self._file.get(kind) is not self._tracks[kind]:
            return
        if kind is _VIDEO and not self._is_whole(packet):
            return
        self._gather(packet)

    def on_away(self) -> None:
        """Nothing will follow for a while: what has gathered goes to the disk. The publisher may return, and the file goes on."""
        self._flush(last=True)

    def on_end(self) -> None:
        self.finish("the stream ended")
        self._out.end()

    # -- from outside ---------------------------------------------------------------------------------------------------

    def finish(self, reason: str) -> None:
        """The file ends here; the next keyframe begins another. Harmless if there is none."""
        if self._file is not None:
            self._flush(last=True)
            self._out.finish("; ".join((reason, *self._lacks.values())))
            self.forget()

    def forget(self) -> None:
        """There is no file any more: somebody else closed it."""
        self._file, self._begun, self._stale = None, False, False
        self._pending, self._weight = [], 0

    @property
    def left_out(self) -> str:
        """What cannot be recorded and why; empty if all can."""
        return "; ".join(self._left_out.values())

    @property
    def in_vain(self) -> bool:
        """Whether nothing of the stream, as far as it is known, can be recorded."""
        return bool(self._left_out) and not self._tracks and not self._incomplete

    # -- files ----------------------------------------------------------------------------------------------------------

    def _adopt(self, track: Track) -> None:
        self._incomplete.pop(track.kind, None)
        self._left_out.pop(track.kind, None)
        present = self._tracks.get(track.kind)
        if present is not None and present.codec is track.codec and present.config == track.config:
            return
        self._tracks[track.kind] = track
        if self._file is None:
            return
        if not self._begun and all(packet.kind is not track.kind for packet in self._pending):
            # Nothing of it is in the file yet: a track that came a little later joins it.
            self._file[track.kind] = track
        else:
            self._stale = True

    def _complete(self, packet: Packet) -> None:
        """Let a packet say what its track's configuration does not, or no longer does."""
        track = self._incomplete.get(packet.kind) or self._tracks.get(packet.kind)
        if track is None or track.codec not in _COMPLETED_BY_PACKET or (track.config and track.codec in self._form.free):
            return
        try:
            completed = complete(track, packet.payload)
        except ProtocolError:
            return
        if completed is not track and not self._form.refusal(completed):
            self._adopt(completed)

    def _leave_out(self, track: Track, refusal: str) -> None:
        """``track`` has no place in such a file. Said once: a broken encoder repeats its header for ever."""
        words = f"without {'pictures' if track.kind is _VIDEO else 'sound'}: {refusal}"
        self._left_out[track.kind] = words
        if self._file is not None and track.kind not in self._file:
            self._lacks[track.kind] = words
        if track.codec not in self._warned:
            self._warned.add(track.codec)
            facts = {**self._facts(), "codec": track.codec.value, "format": self._form.suffix, "reason": refusal}
            log.warning("track_not_recorded", extra={"facts": facts})
            self._out.leave_out(words)

    def _may_begin(self, packet: Packet) -> bool:
        """Whether a file may begin with ``packet``."""
        if packet.kind is _VIDEO:
            return packet.keyframe
        return _VIDEO not in self._tracks or packet.dts - (self._last_picture or 0) > NO_PICTURE

    def _is_full(self, packet: Packet) -> bool:
        limits = self._limits
        return (0 < limits.seconds <= (packet.dts - self._began_at) / 1000) or (0 < limits.bytes <= self._bytes)

    def _begin(self, packet: Packet) -> None:
        self._file, self._lacks = dict(self._tracks), dict(self._left_out)
        self._begun = self._stale = False
        self._began_at, self._bytes = packet.dts, 0
        self._skip_pictures = True

    # -- parts ----------------------------------------------------------------------------------------------------------

    def _is_whole(self, packet: Packet) -> bool:
        """Whether a picture can be decoded from what the file has."""
        if packet.keyframe:
            if self._skip_pictures:
                if self._begun and not self._out.ready:
                    return False
                self._shown_from = packet.pts
            self._skip_pictures = False
        elif packet.discontinuity:
            self._skip_pictures = True
        return not self._skip_pictures and packet.pts >= self._shown_from

    def _gather(self, packet: Packet) -> None:
        pending = self._pending
        if pending:
            lasted = packet.dts - pending[0].dts
            if (
                lasted >= PART
                or self._weight >= MOST_OF_PART
                or (lasted >= LEAST_PART and packet.keyframe and packet.kind is _VIDEO)
            ):
                self._flush(last=False)
        self._pending.append(packet)
        self._weight += len(packet.body)
        self._bytes += len(packet.body)

    def _flush(self, *, last: bool) -> None:
        pending, self._pending, self._weight = self._pending, [], 0
        if not pending or self._file is None:
            return
        if not self._begun:
            self._begun = True
            self._out.begin(self._file)
        if not self._out.part(pending, last=last):
            # What follows leans on what was thrown away.
            self._skip_pictures = _VIDEO in self._file
