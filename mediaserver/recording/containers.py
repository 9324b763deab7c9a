"""What a recording is written as: packets to the bytes of a file, part by part."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mediaserver.ports import RecordingFormat
from mediaserver.recording.flv import FlvFile
from mediaserver.recording.mkv import MkvFile
from mediaserver.recording.mp4 import Mp4File
from mediaserver.recording.ts import TsFile
from protocols.errors import ProtocolError
from protocols.matroska import head
from protocols.media import Codec, MediaKind, Packet, Track
from protocols.mp4.fragment import track_box
from protocols.mpegts import elementary


class Container(Protocol):
    """One file in the making. Made on the event loop, used by the thread that writes it: it shares nothing."""

    @property
    def seconds(self) -> float:
        """How long it plays so far."""

    def head(self, first: Sequence[Packet]) -> bytes:
        """What the file begins with; ``first`` are the packets of its first part, which follow."""

    def part(self, packets: Sequence[Packet], *, last: bool) -> bytes:
        """Some packets more. ``last``: nothing follows for a while, so nothing is held back. Empty where there is nothing yet."""

    def patch(self) -> tuple[int, bytes] | None:
        """Where its playing time stands in the file, and the bytes that tell it as it is now."""


@dataclass(frozen=True, slots=True)
class Form:
    """A container as a choice. ``suits`` raises ProtocolError for a track that it cannot carry (or not before a packet has
    completed it, but for those ``without`` a form in it). ``free``: codecs that may change their parameters within a file, where
    their packets alone say them."""

    suffix: str
    make: Callable[[Mapping[MediaKind, Track]], Container]
    suits: Callable[[Track], object]
    without: frozenset[Codec] = frozenset()
    free: frozenset[Codec] = frozenset()

    def refusal(self, track: Track) -> str:
        """Why it cannot carry ``track`` as it is; empty if it can."""
        try:
            self.suits(track)
        except ProtocolError as error:
            return str(error)
        return ""


_SOUND = frozenset({Codec.MP3, Codec.AC3, Codec.EAC3})

FORMS: Mapping[RecordingFormat, Form] = {
    RecordingFormat.MP4: Form("mp4", Mp4File, track_box),
    RecordingFormat.FLV: Form("flv", FlvFile, bool, free=_SOUND),
    # There are drafts for both, and no player that reads them.
    RecordingFormat.TS: Form("ts", TsFile, elementary, frozenset({Codec.AV1, Codec.VP9}), free=_SOUND),
    RecordingFormat.MKV: Form("mkv", MkvFile, lambda track: head({track.kind: track})),
}
