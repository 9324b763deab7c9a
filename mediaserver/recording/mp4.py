"""A recording as fragmented MP4: picture and sound in one file, one fragment a part."""

from collections.abc import Mapping, Sequence

from protocols.codec import AudioParameters, packet_duration, parameters, sample_data
from protocols.errors import ProtocolError
from protocols.media import Codec, MediaKind, Packet, Track
from protocols.mp4.fragment import Sample, timescale
from protocols.mp4.movie import TrackRun, duration_patch, movie_fragment, movie_header
from protocols.timebase import rescale

#: How far (seconds) the stamps of sound may be from frames laid end to end: less is rounding and jitter of the encoder.
TOLERANCE = 0.04


class Mp4File:
    """See ``containers.Container``. The earliest picture or sound is shown at 0; what is between the two stays."""

    def __init__(self, tracks: Mapping[MediaKind, Track]) -> None:
        self._tracks = [tracks[kind] for kind in MediaKind if kind in tracks]
        self._header = movie_header(self._tracks, {})
        self._lines = {kind: _Line(track) for kind, track in tracks.items()}
        self._fragments = 0

    @property
    def seconds(self) -> float:
        return max(line.shown / line.scale for line in self._lines.values())

    def head(self, first: Sequence[Packet]) -> bytes:
        leading: dict[MediaKind, Packet] = {}
        for packet in first:
            leading.setdefault(packet.kind, packet)
        origin = min(packet.pts for packet in leading.values())
        for kind, line in self._lines.items():
            line.origin = origin
            if kind in leading:
                line.shift = max(0, rescale(origin - leading[kind].dts, 1000, line.scale))
        self._header = movie_header(self._tracks, {kind: line.shift for kind, line in self._lines.items()})
        return self._header

    def part(self, packets: Sequence[Packet], *, last: bool) -> bytes:
        for packet in packets:
            self._lines[packet.kind].push(packet)
        runs = [run for kind in MediaKind if kind in self._lines and (run := self._lines[kind].take(last=last))]
        if not runs:
            return b""
        self._fragments += 1
        return movie_fragment(self._fragments, runs)

    def patch(self) -> tuple[int, bytes] | None:
        return duration_patch(self._header, self.seconds)


class _Line:
    """One track's samples. A sample is held until the next one comes, because only then its duration is known."""

    def __init__(self, track: Track) -> None:
        described = parameters(track)
        self.track = track
        self.scale = timescale(track)
        self.origin = 0
        # Decode times begin at 0 at the earliest: pictures that would be decoded before that (B-frames) are decoded and shown
        # so much later, and the edit list takes that back.
        self.shift = 0
        self.end = 0
        self.shown = 0
        self._frame = described.samples_per_packet if isinstance(described, AudioParameters) else 0
        self._usual = self._frame or self.scale // 30
        self._held: tuple[int, Sample] | None = None
        self._samples: list[Sample] = []
        self._begin = 0
        self._length = 0

    def push(self, packet: Packet) -> None:
        """One access unit more."""
        data = packet.payload
        if self.track.codec is Codec.AV1:
            try:
                data = sample_data(Codec.AV1, data)
            except ProtocolError:
                return
        shown = rescale(packet.pts - self.origin, 1000, self.scale)
        time = self._sound_time(shown, data) if self.track.kind is MediaKind.AUDIO else self._picture_time(packet)
        held = self._held
        if held is not None:
            time = max(time, held[0] + 1)
            self._usual = time - held[0]
            self._append(held, self._usual)
        offset = shown + self.shift - time if self.track.kind is MediaKind.VIDEO else 0
        self._held = time, Sample(data, 0, offset, packet.keyframe)

    def take(self, *, last: bool) -> TrackRun | None:
        """What has gathered; with ``last`` the held sample too, which lasts as long as the one before it."""
        if last and self._held is not None:
            self._append(self._held, self._usual)
            self._held = None
        if not self._samples:
            return None
        samples, self._samples = self._samples, []
        return TrackRun(self.track, self._begin, samples)

    def _append(self, held: tuple[int, Sample], duration: int) -> None:
        if not self._samples:
            self._begin = held[0]
        self._samples.append(held[1]._replace(duration=duration))
        self.end = held[0] + duration
        self.shown = max(self.shown, self.end + held[1].composition_offset - self.shift)

    def _picture_time(self, packet: Packet) -> int:
        return max(rescale(packet.dts - self.origin, 1000, self.scale) + self.shift, self.end, 0)

    def _sound_time(self, stamp: int, data: bytes) -> int:
        """Sound lies end to end as long as its stamps, which are whole milliseconds, agree."""
        frame = self._frame or self._packet_duration(data)
        after = self.end if self._held is None else self._held[0] + self._length
        self._length = frame or self._usual
        fits = abs(stamp - after) <= TOLERANCE * self.scale
        return after if fits and after else max(stamp, self.end, 0)

    def _packet_duration(self, data: bytes) -> int:
        try:
            return packet_duration(self.track, data)
        except ProtocolError:
            return 0
