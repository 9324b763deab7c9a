"""Packager: one LiveStream in, CMAF segments and parts out, into one window per track."""

import logging
import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

from mediaserver.packaging.audiogrid import AudioGrid
from mediaserver.packaging.epochs import Epochs
from mediaserver.packaging.rendition import Rendition
from mediaserver.packaging.segment import InitSegment, media_answer
from mediaserver.packaging.segmenter import SEGMENT_MINIMUM, FrameClock, Segmenter, part_limit
from mediaserver.packaging.standin import SILENCE, keep_up, returns
from mediaserver.packaging.window import LEAST_SEGMENTS, Window
from protocols.codec import AudioParameters, VideoParameters, complete, packet_duration, parameters, sample_data
from protocols.errors import ProtocolError
from protocols.media import Codec, MediaKind, Metadata, Packet, Track
from protocols.mp4.fragment import init_segment, timescale
from protocols.timebase import rescale

log = logging.getLogger(__name__)

#: No segment is longer than this (seconds), or than twice the segment duration: an encoder without keyframes must not
#: fill the memory. What begins behind such a cut is not independent, and the playlist does not say it were.
LONGEST_SEGMENT = 10.0

#: Codecs whose packets complete the track (picture size, frame header), and those where a keyframe may change it again.
_COMPLETED_BY_PACKET = frozenset({Codec.AV1, Codec.VP9, Codec.MP3, Codec.AC3, Codec.EAC3})
_CHANGED_BY_KEYFRAME = frozenset({Codec.AV1, Codec.VP9})

#: So much (ms) of a stream that began with audio alone is awaited before it is called audio only.
VIDEO_MAY_COME = 600


class Settings(Protocol):
    """What is asked of the configuration's ``hls`` table. Seconds; ``window`` in segments."""

    @property
    def always(self) -> bool: ...
    @property
    def segment_duration(self) -> float: ...
    @property
    def part_duration(self) -> float: ...
    @property
    def window(self) -> int: ...
    @property
    def dvr(self) -> float: ...
    @property
    def idle_timeout(self) -> float: ...


class Numbers(NamedTuple):
    """A media sequence number and a discontinuity sequence number."""

    sequence: int
    discontinuity: int


class Packager:
    """A hub Subscriber. ``wall`` is Unix time in seconds; ``first`` starts the numbers."""

    def __init__(self, name: str, settings: Settings, wall: Callable[[], float], first: Numbers) -> None:
        self.name = name
        self.settings = settings
        self.first = first
        self.renditions: dict[MediaKind, Rendition] = {}
        #: The renditions' windows, video first.
        self.windows: list[Window] = []
        self.epochs = Epochs(wall)
        self.ended = False
        self.frame_rate = 0.0
        self._part_target = (-1, 0.0)
        self._first_audio: int | None = None
        self._incomplete: dict[MediaKind, Track] = {}
        self._grid = AudioGrid(1)
        self._audio_frame = 0
        self._clock = FrameClock(90)
        self._part_limit = settings.part_duration
        self._inits = 0
        # Where a rendition that was given up goes on if it comes back, and what was said about tracks in the log.
        self._unused: dict[MediaKind, int] = {}
        self._warned: set[Codec] = set()
        self._maximum = max(LONGEST_SEGMENT, 2 * settings.segment_duration)

    # -- the Subscriber's port ------------------------------------------------------------------------------------------

    def on_track(self, track: Track) -> None:
        """Begin a rendition, or go on with other parameters behind a discontinuity."""
        self._adopt(track, completed=False)

    def _adopt(self, track: Track, *, completed: bool) -> None:
        kind = track.kind
        present = self.renditions.get(kind)
        if present is not None and present.init.track.codec is track.codec and present.init.track.config == track.config:
            return
        self._incomplete.pop(kind, None)
        try:
            init = InitSegment(
                self._inits, track, parameters(track), timescale(track), media_answer(kind.value, init_segment(track))
            )
        except ProtocolError as error:
            if track.codec in _COMPLETED_BY_PACKET and not completed:
                self._incomplete[kind] = track
            else:
                self._warn(track, error)
            self._drop(kind)
            return
        self._inits += 1
        if present is None:
            self.renditions[kind] = Rendition(self._window(kind), init, self._segmenter(init), self._on_segment(kind))
            self._list_windows()
        else:
            self._discontinue()
            present.init, present.spare, present.stood_in = init, None, False
            present.segmenter = self._segmenter(init)
        self._regrid()

    def _warn(self, track: Track, error: ProtocolError) -> None:
        """Say once that ``track`` is left out: a broken encoder repeats its header for ever."""
        if track.codec not in self._warned:
            self._warned.add(track.codec)
            facts = {"name": self.name, "kind": track.kind.value, "codec": track.codec.value, "reason": str(error)}
            log.warning("track_not_packaged", extra={"facts": facts})

    def on_metadata(self, metadata: Metadata) -> None:
        """Nothing in it that the tracks do not say themselves."""

    def on_packet(self, packet: Packet) -> None:
        """One more access unit, on to its rendition."""
        kind = packet.kind
        rendition = self.renditions.get(kind)
        if rendition is None or (packet.keyframe and rendition.init.track.codec in _CHANGED_BY_KEYFRAME):
            self._complete(packet)
            rendition = self.renditions.get(kind)
        if rendition is None or len(packet.body) <= packet.offset:
            return
        if packet.discontinuity and not rendition.fresh:
            self._discontinue()
        if kind is MediaKind.VIDEO:
            self._on_video(packet, rendition)
        elif self._audio_may_start(packet, rendition):
            self._on_audio(packet, rendition)

    def on_away(self) -> None:
        """Playlists stay as they are; what is held goes out, since nothing will follow it for a while."""
        self._discontinue()

    def on_end(self) -> None:
        """Playlists end."""
        self._discontinue()
        self.ended = True
        for rendition in self.renditions.values():
            rendition.window.end()

    def _complete(self, packet: Packet) -> None:
        """Let a packet say what its track's configuration does not."""
        rendition = self.renditions.get(packet.kind)
        track = self._incomplete.get(packet.kind) if rendition is None else rendition.init.track
        if track is None or not packet.keyframe:
            return
        try:
            completed = complete(track, packet.payload)
        except ProtocolError:
            return
        if completed is not track:
            self._adopt(completed, completed=True)

    # -- packets --------------------------------------------------------------------------------------------------------

    def _on_video(self, packet: Packet, rendition: Rendition) -> None:
        if rendition.fresh and not packet.keyframe:
            return
        data = packet.body[packet.offset :]
        if rendition.init.track.codec is Codec.AV1:
            try:
                data = sample_data(Codec.AV1, data)
            except ProtocolError:
                return
        epoch = self.epochs.at(packet.dts)
        time = max((packet.dts + self.epochs.offset) * 90, rendition.last + 1)
        if self._is_break(time, rendition):
            self._discontinue()
            if not packet.keyframe:
                return
            epoch = self.epochs.at(packet.dts)
        shown = time + packet.cts * 90
        if rendition.stood_in:
            if not returns(rendition, epoch, time, keyframe=packet.keyframe):
                return
            rendition.shown_from = shown
        if shown < rendition.shown_from:
            return
        if packet.keyframe:
            rendition.spare = data, packet.cts * 90
        duration = rendition.push(epoch, time, data, packet.cts * 90, keyframe=packet.keyframe)
        audio = self.renditions.get(MediaKind.AUDIO)
        if audio is not None:
            keep_up(audio, epoch, packet.dts + self.epochs.offset)
        if duration and rendition.window.growing is None and (frame := self._clock.learn(duration)) is not None:
            self._set_frame(frame)

    def _on_audio(self, packet: Packet, rendition: Rendition) -> None:
        epoch = self.epochs.at(packet.dts)
        scale = rendition.init.timescale
        media_time = packet.dts + self.epochs.offset
        stamp = rescale(media_time, 1000, scale)
        if self._is_break(stamp, rendition):
            self._discontinue()
            epoch = self.epochs.at(packet.dts)
        video = self.renditions.get(MediaKind.VIDEO)
        if video is not None:
            rendition.segmenter.follow = not video.fresh and video.last >= (media_time - SILENCE) * 90
        data = packet.body[packet.offset :]
        if rendition.stood_in and not returns(rendition, epoch, stamp, keyframe=True):
            return
        time = max(self._grid.place(stamp, self._audio_frame or _audio_duration(rendition, data)), rendition.last + 1)
        rendition.spare = data, 0
        rendition.push(epoch, time, data, 0, keyframe=True)
        if video is not None:
            keep_up(video, epoch, media_time)

    def _is_break(self, time: int, rendition: Rendition) -> bool:
        """Whether the track was silent for so long that its last sample cannot be stretched until ``time``."""
        return not rendition.fresh and time - rendition.last > self._maximum * rendition.init.timescale

    def _audio_may_start(self, packet: Packet, rendition: Rendition) -> bool:
        """Whether audio goes in: not before the first picture, unless that keeps us waiting."""
        if rendition.last >= 0:
            return True
        video = self.renditions.get(MediaKind.VIDEO)
        if MediaKind.VIDEO not in self._incomplete and (video is None or video.last >= 0):
            return True
        if self._first_audio is None:
            self._first_audio = packet.dts
        return packet.dts - self._first_audio > SILENCE

    # -- what belongs to all tracks ---------------------------------------------------------------------------------------

    def _discontinue(self) -> None:
        """All tracks end their segment; the next packets begin a new epoch."""
        if all(rendition.fresh for rendition in self.renditions.values()):
            return
        self.epochs.end()
        self._clock = FrameClock(90)
        for rendition in self.renditions.values():
            rendition.finish()
        self._regrid()

    def _list_windows(self) -> None:
        self.windows = [self.renditions[kind].window for kind in MediaKind if kind in self.renditions]
        self._part_target = (-1, 0.0)

    def _regrid(self) -> None:
        audio = self.renditions.get(MediaKind.AUDIO)
        if audio is not None and isinstance(audio.init.parameters, AudioParameters):
            self._grid = AudioGrid(audio.init.timescale)
            self._audio_frame = audio.init.parameters.samples_per_packet
            if MediaKind.VIDEO not in self.renditions:
                audio.segmenter.follow = False
                self._set_frame(0)

    def _on_segment(self, kind: MediaKind) -> Callable[[int], None]:
        """Audio follows video: it hears where each segment of video begins."""

        def begins(time: int) -> None:
            audio = self.renditions.get(MediaKind.AUDIO)
            if kind is MediaKind.VIDEO and audio is not None:
                audio.boundaries.append(rescale(time, 90_000, audio.init.timescale))

        return begins

    def _window(self, kind: MediaKind) -> Window:
        settings = self.settings
        other = next(iter(self.renditions.values()), None)
        first = self.first.sequence if other is None else other.window.position()[0]
        first = max(first, self._unused.get(kind, 0))
        return Window(kind.value, first, settings.window, settings.dvr, settings.segment_duration)

    def _segmenter(self, init: InitSegment) -> Segmenter:
        scale = init.timescale
        minimum = self.settings.segment_duration * scale
        if isinstance(init.parameters, AudioParameters):
            frame = init.parameters.samples_per_packet or scale // 50
            # One second more than video: it follows.
            return Segmenter(int(minimum - frame / 2), int((self._maximum + 1) * scale), int(self._part_limit * scale), frame)
        limit = int(self._part_limit * scale)
        return Segmenter(int(SEGMENT_MINIMUM * minimum), int(self._maximum * scale), limit, scale // 30)

    def _set_frame(self, frame: int) -> None:
        """The usual duration of a picture is known (90 kHz), or there are none: parts get a length that fits."""
        video, audio = self.renditions.get(MediaKind.VIDEO), self.renditions.get(MediaKind.AUDIO)
        if video is not None:
            self._part_limit = part_limit(self.settings.part_duration, frame / 90_000)
            self.frame_rate = _frame_rate(video.init.parameters, 90_000 / frame)
            video.segmenter.frame = frame
            video.segmenter.part_limit = int(self._part_limit * 90_000)
        elif audio is not None:
            self._part_limit = part_limit(self.settings.part_duration, audio.segmenter.frame / audio.init.timescale)
        if audio is not None:
            audio.segmenter.part_limit = int(self._part_limit * audio.init.timescale)

    def _drop(self, kind: MediaKind) -> None:
        """A track whose parameters cannot be packaged (any more)."""
        dropped = self.renditions.pop(kind, None)
        if dropped is not None:
            dropped.finish()
            # Room for the gaps before a young playlist: what was a segment once is never called a gap.
            self._unused[kind] = dropped.window.next_sequence + LEAST_SEGMENTS
            self._list_windows()
            self._discontinue()
            self._regrid()

    # -- looking --------------------------------------------------------------------------------------------------------

    @property
    def part_target(self) -> float:
        """EXT-X-PART-INF, seconds: no listed part is longer. Rises when one is (the encoder held its breath)."""
        version = sum([window.version for window in self.windows])
        if self._part_target[0] != version:
            longest = max((s.longest_part / s.init.timescale for window in self.windows for s in window.recent()), default=0.0)
            self._part_target = (version, math.ceil(1000 * max(longest, self._part_limit) - 1e-6) / 1000)
        return self._part_target[1]

    @property
    def next(self) -> Numbers:
        """Numbers that were not used yet, with room for the gaps before a young playlist."""
        used = [self.first.sequence, *self._unused.values(), *(window.next_sequence + LEAST_SEGMENTS for window in self.windows)]
        return Numbers(max(used), self.first.discontinuity + self.epochs.discontinuities)

    @property
    def ready(self) -> bool:
        """Whether a multivariant playlist can be written: every track has something to play, or had its chance."""
        windows = self.windows
        started = [window for window in windows if window.started]
        if not started:
            return False
        if self.ended or self.epochs.span > SILENCE:
            return True
        alone = MediaKind.VIDEO not in self.renditions
        return len(started) == len(windows) and not self._incomplete and not (alone and self.epochs.span < VIDEO_MAY_COME)


def _frame_rate(described: VideoParameters | AudioParameters, measured: float) -> float:
    """Frames a second as the track itself says it, unless what comes tells otherwise."""
    declared = described.frame_rate if isinstance(described, VideoParameters) else 0.0
    return declared if abs(declared - measured) < 0.05 * measured else float(max(round(measured), 1))


def _audio_duration(rendition: Rendition, data: bytes) -> int:
    """Samples in a packet of a codec whose packets vary; 0 if it does not tell."""
    try:
        return packet_duration(rendition.init.track, data)
    except ProtocolError:
        return 0
