"""What is told of one packaged stream: its tracks' renditions and windows, how long its parts and pictures are."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mediaserver.packaging.epochs import Epochs
from mediaserver.packaging.framerate import Count, declared_rate, rate_of, recent_counts, steady_rate
from mediaserver.packaging.numbers import Numbers
from mediaserver.packaging.rendition import Rendition
from mediaserver.packaging.segment import InitSegment
from mediaserver.packaging.segmenter import FrameClock, part_limit
from mediaserver.packaging.tracks import Tracks
from mediaserver.packaging.window import Signal, Window
from mediaserver.ports import Pacing
from protocols.codec import AudioParameters, packet_duration, sample_data
from protocols.errors import ProtocolError
from protocols.media import Codec, MediaKind, Packet, Track
from protocols.mp4.fragment import timescale
from protocols.timebase import rescale

#: Pictures whose duration is within this share of what it was fit in the same parts.
_SAME_FRAME = 0.05


class Durations(Protocol):
    """How a stream is packaged. Seconds; ``window`` in segments."""

    @property
    def segment_duration(self) -> float: ...
    @property
    def part_duration(self) -> float: ...
    @property
    def window(self) -> int: ...
    @property
    def dvr(self) -> float: ...


class Settings(Durations, Protocol):
    """What is asked of the configuration's ``hls`` table."""

    @property
    def always(self) -> bool: ...
    @property
    def idle_timeout(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Paced:
    """The configuration's durations, but for what a stream's grant asks for."""

    segment_duration: float
    part_duration: float
    window: int
    dvr: float


def paced(settings: Settings, pacing: Pacing | None) -> Durations:
    """How a stream whose grant says ``pacing`` is packaged."""
    if pacing is None:
        return settings
    return Paced(pacing.segment_duration, pacing.part_duration, pacing.window, settings.dvr)


class Presentation(ABC):
    """A packaged stream as playlists and the MPD see it. ``first`` is where its numbers started."""

    def __init__(self, name: str, settings: Durations, first: Numbers, epochs: Epochs, index: Callable[[], int]) -> None:
        self.name = name
        self.settings = settings
        self.first = first
        self.epochs = epochs
        self.tracks = Tracks(name, index)
        self.renditions: dict[MediaKind, Rendition] = {}
        #: The renditions' windows, video first.
        self.windows: list[Window] = []
        #: A track has been declared, or all is over.
        self.declared = Signal()
        self.ended = False
        #: Pictures a second, 0.0 if unknown.
        self.frame_rate = 0.0
        self._clock = FrameClock(90)
        # Whether the rate is known from a whole segment, and the number of the one behind the last that was counted.
        self._counted = False
        self._counted_to = -1
        self._part_limit = settings.part_duration
        self._part_target = (-1, 0.0)

    def on_track(self, track: Track) -> None:
        """Begin a rendition, or go on with other parameters behind a discontinuity."""
        self._adopt(track)

    def _adopt(self, track: Track, *, completed: bool = False) -> None:
        present = self.renditions.get(track.kind)
        if present is not None and present.init.track.codec is track.codec and present.init.track.config == track.config:
            return
        init = self.tracks.declare(track, completed=completed)
        if init is None:
            self._drop(track.kind)
        else:
            self._begin(track.kind, init)
        self.declared.fire()

    def _become(self, track: Track) -> None:
        """A packet has said what its track is."""
        self._adopt(track, completed=True)

    @abstractmethod
    def _begin(self, kind: MediaKind, init: InitSegment) -> None:
        """A track begins, or goes on with other parameters."""

    @abstractmethod
    def _drop(self, kind: MediaKind) -> None:
        """A track whose parameters cannot be packaged (any more)."""

    def _rendition_of(self, packet: Packet) -> Rendition | None:
        """Where ``packet`` goes, after it has said what its track's configuration does not."""
        rendition = self.renditions.get(packet.kind)
        completed = self.tracks.completed_by(packet, None if rendition is None else rendition.init.track)
        if completed is not None:
            self._become(completed)
            rendition = self.renditions.get(packet.kind)
        return rendition if len(packet.body) > packet.offset else None

    def _list_windows(self) -> None:
        self.windows = [self.renditions[kind].window for kind in MediaKind if kind in self.renditions]
        self._part_target = (-1, 0.0)

    # -- how long things are ----------------------------------------------------------------------------------------------

    def _learn(self, rendition: Rendition, duration: int) -> None:
        """A picture was so long (90 kHz). What it tells is taken at the beginning of a segment, before its first part."""
        window = rendition.window
        if duration and window.growing is None:
            if window.next_sequence != self._counted_to:
                self._counted_to = window.next_sequence
                self._count(rendition)
            if not self._counted and (frame := self._clock.learn(duration)) is not None:
                self._set_frame(frame)
                self._guess(rendition, frame)

    def _relearn(self) -> None:
        """What comes next may have pictures of another duration. To be called when what was before is finished."""
        self._clock = FrameClock(90)
        self._counted, self._counted_to = False, -1
        video = self.renditions.get(MediaKind.VIDEO)
        if video is not None:
            self._counted_to = video.window.next_sequence
            if video.window.segments:
                last = video.window.segments[-1]
                last.frame_rate = last.frame_rate or self.frame_rate

    def _guess(self, rendition: Rendition, frame: int) -> None:
        """Say what a few pictures (of the usual duration ``frame``) look like, until a segment has been counted."""
        count = Count(self._clock.seen, self._clock.seen * frame / 90_000)
        self.frame_rate = steady_rate(count, (declared_rate(rendition.init), *self._likely_rates(), self.frame_rate))

    def _count(self, rendition: Rendition) -> None:
        """Another segment is whole: tell its rate, and fit the parts to it if that is another one."""
        counts = recent_counts(reversed(rendition.window.segments))
        if rendition.stood_in or not counts:
            return
        self.frame_rate, steady = rate_of(counts, declared_rate(rendition.init), self._likely_rates(), self.frame_rate)
        rendition.window.segments[-1].frame_rate = self.frame_rate
        if steady:
            self._counted = True
            frame = max(1, round(90_000 / self.frame_rate))
            if abs(frame - rendition.segmenter.frame) > _SAME_FRAME * frame:
                self._set_frame(frame)

    def _likely_rates(self) -> tuple[float, ...]:
        """Rates that may be expected, though the track does not say them."""
        return ()

    def _set_frame(self, frame: int) -> None:
        """The usual duration of a picture is known (90 kHz), or there are none: parts get a length that fits."""
        video, audio = self.renditions.get(MediaKind.VIDEO), self.renditions.get(MediaKind.AUDIO)
        if video is not None:
            self._part_limit = part_limit(self.settings.part_duration, frame / 90_000)
            video.segmenter.frame = frame
            video.segmenter.part_limit = int(self._part_limit * 90_000)
        elif audio is not None:
            self._part_limit = part_limit(self.settings.part_duration, audio.segmenter.frame / audio.init.timescale)
        if audio is not None:
            audio.segmenter.part_limit = int(self._part_limit * audio.init.timescale)

    @property
    def part_target(self) -> float:
        """EXT-X-PART-INF, seconds: no listed part is longer. Rises when one is (the encoder held its breath)."""
        version = sum([window.version for window in self.windows])
        if self._part_target[0] != version:
            longest = max((s.longest_part / s.init.timescale for window in self.windows for s in window.recent()), default=0.0)
            self._part_target = (version, math.ceil(1000 * max(longest, self._part_limit) - 1e-6) / 1000)
        return self._part_target[1]


def picture_data(rendition: Rendition, packet: Packet) -> bytes | None:
    """The packet as ISO BMFF stores it; None where it is malformed."""
    data = packet.body[packet.offset :]
    if rendition.init.track.codec is not Codec.AV1:
        return data
    try:
        return sample_data(Codec.AV1, data)
    except ProtocolError:
        return None


def sound_duration(rendition: Rendition, data: bytes) -> int:
    """Samples in a packet of sound; 0 if it does not tell."""
    described = rendition.init.parameters
    if isinstance(described, AudioParameters) and described.samples_per_packet:
        return described.samples_per_packet
    try:
        return packet_duration(rendition.init.track, data)
    except ProtocolError:
        return 0


def sound_lasts(track: Track, data: bytes, scale: int) -> int:
    """How long a packet of sound of ``track`` lasts, in units of 1/``scale`` s; 0 if it does not tell."""
    try:
        return rescale(packet_duration(track, data), timescale(track), scale)
    except ProtocolError:
        return 0
