"""A recording as FLV: the bodies as they came, a tag each."""

import struct
from collections.abc import Iterator, Mapping, Sequence

from protocols import flv
from protocols.errors import LocalProtocolError
from protocols.media import Codec, MediaKind, Packet, Track
from protocols.rtmp import amf0

_TYPES = {MediaKind.VIDEO: flv.VIDEO, MediaKind.AUDIO: flv.AUDIO}
#: Their configuration is the header of a packet: one more tag of it is another stream to FFmpeg, and a packet to others.
_SELF_DESCRIBED = frozenset({Codec.MP3, Codec.AC3, Codec.EAC3})
_DURATION = b"\x00\x08duration\x00"  # the property's name and the marker of its number
_METADATA = amf0.encode("onMetaData", {"duration": 0.0})
_BEFORE_TAGS = len(flv.file_header(True, True))


class FlvFile:
    """See ``containers.Container``. The first packet to be decoded is at 0."""

    def __init__(self, tracks: Mapping[MediaKind, Track]) -> None:
        self._tracks = tracks
        self._origin = 0
        self._end = 0
        self._steps: dict[MediaKind, tuple[int, int]] = {}
        self._head = b"".join(self._write_head())

    @property
    def seconds(self) -> float:
        return self._end / 1000

    def head(self, first: Sequence[Packet]) -> bytes:
        self._origin = min(packet.dts for packet in first)
        return self._head

    def part(self, packets: Sequence[Packet], *, last: bool) -> bytes:  # noqa: ARG002 - a tag needs no other
        tags = []
        for packet in packets:
            time = max(packet.dts - self._origin, 0)
            before, step = self._steps.get(packet.kind, (time, 0))
            step = time - before or step
            self._steps[packet.kind] = time, step
            self._end = max(self._end, time + max(packet.cts, 0) + step)
            tags.append(flv.write_tag(_TYPES[packet.kind], time, packet.body))
        return b"".join(tags)

    def patch(self) -> tuple[int, bytes] | None:
        return self.duration_patch(self.seconds)

    @staticmethod
    def duration_patch(seconds: float) -> tuple[int, bytes]:
        """Where the playing time stands in every file that this class writes, and the bytes that tell it."""
        return _BEFORE_TAGS + flv.TAG_HEADER_SIZE + _METADATA.index(_DURATION) + len(_DURATION), struct.pack(">d", seconds)

    def _write_head(self) -> Iterator[bytes]:
        yield flv.file_header(MediaKind.AUDIO in self._tracks, MediaKind.VIDEO in self._tracks)
        yield flv.write_tag(flv.DATA, 0, _METADATA)
        for kind, track in self._tracks.items():
            if body := _sequence_header(track):
                yield flv.write_tag(_TYPES[kind], 0, body)


def _sequence_header(track: Track) -> bytes:
    if track.body or not track.config or track.codec in _SELF_DESCRIBED:
        return track.body
    write = flv.video_sequence_header if track.kind is MediaKind.VIDEO else flv.audio_sequence_header
    try:
        return write(track.codec, track.config)
    except LocalProtocolError:
        return b""  # a codec of which FLV says all in each tag
