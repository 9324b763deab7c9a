"""Packager: one LiveStream in, CMAF segments and parts out, into one window per track."""

from collections.abc import Callable
from dataclasses import replace

from mediaserver.packaging.audiogrid import AudioGrid
from mediaserver.packaging.epochs import Epochs
from mediaserver.packaging.numbers import Numbers
from mediaserver.packaging.presentation import Durations, Presentation, picture_data, sound_duration, sound_lasts
from mediaserver.packaging.rendition import Rendition
from mediaserver.packaging.segment import InitSegment
from mediaserver.packaging.segmenter import SEGMENT_MINIMUM, WEIGHT, Segmenter
from mediaserver.packaging.standin import SILENCE, keep_up, returns, silence
from mediaserver.packaging.timetable import TICKS, Mark, PutOff, Timetable
from mediaserver.packaging.window import LEAST_SEGMENTS, Window
from protocols.codec import AudioParameters
from protocols.media import MediaKind, Metadata, Packet, Track
from protocols.timebase import rescale

#: No segment is longer than this (seconds), or than twice the segment duration: players wait for whole segments. Encoders left to
#: themselves set a keyframe every 250 pictures, 10.4 s of a film; half a second more than twenty, for stamps are rounded. What
#: begins behind such a cut is not independent, and neither the playlist nor the MPD says it were.
LONGEST_SEGMENT = 20.5

#: Silence (seconds) of a track that no sample is stretched over.
LONGEST_SILENCE = 10.0

#: So much (ms) of a stream that began with audio alone is awaited before it is called audio only.
VIDEO_MAY_COME = 600


class _InitNumbers:
    """Apart from the packager: who keeps a bound method keeps all that it is bound to."""

    def __init__(self, first: int) -> None:
        self.next = first

    def take(self) -> int:
        self.next += 1
        return self.next - 1


class Packager(Presentation):
    """A hub Subscriber. ``wall`` is Unix time in seconds. ``timetable`` says where its segments begin, to those that follow."""

    def __init__(self, name: str, settings: Durations, wall: Callable[[], float], first: Numbers) -> None:
        self._inits = _InitNumbers(first.sequence)
        #: A number for one more init segment of this stream or of one that follows it.
        self.init_index = self._inits.take
        super().__init__(name, settings, first, Epochs(wall), self.init_index)
        self.timetable = Timetable()
        self._first_audio: int | None = None
        self._grid = AudioGrid(1)
        # What sound has become in the middle of a group of pictures, and its last packet.
        self._next_sound: Track | None = None
        self._heard: Packet | None = None
        # Of the first picture behind a break, until those that follow it are no longer put off.
        self._put_off: PutOff | None = None
        # Where a rendition that was given up goes on if it comes back.
        self._unused: dict[MediaKind, int] = {}
        self._maximum = max(LONGEST_SEGMENT, 2 * settings.segment_duration)

    # -- the Subscriber's port ------------------------------------------------------------------------------------------

    def on_metadata(self, metadata: Metadata) -> None:
        """Nothing in it that the tracks do not say themselves."""

    def on_packet(self, packet: Packet) -> None:
        """One more access unit, on to its rendition."""
        kind = packet.kind
        if self._next_sound is not None:
            self._renew_sound(packet)
        rendition = self._rendition_of(packet)
        if rendition is None:
            return
        if packet.discontinuity and not rendition.fresh and not self._has_broken_off(rendition):
            self._discontinue()
        if kind is MediaKind.VIDEO:
            self._on_video(packet, rendition)
        elif self._audio_may_start(packet, rendition):
            self._on_audio(packet if self._next_sound is None else self._hushed(packet, rendition), rendition)
        rendition.spoke_in = self.epochs.current
        leading = self.renditions.get(MediaKind.VIDEO, rendition)
        self.timetable.reach(rescale(leading.last, leading.init.timescale, TICKS))

    def _has_broken_off(self, rendition: Rendition) -> bool:
        """Whether the other track has done so for both, so long before the first packet of this one that it was stood in for."""
        now, before = self.epochs.current, rendition.spoke_in
        return rendition.stood_in and now is not None and before is not None and now.number != before.number

    def on_away(self) -> None:
        """Playlists stay as they are; what is held goes out, since nothing will follow it for a while."""
        self._discontinue()

    def on_end(self) -> None:
        """Playlists end."""
        self._discontinue()
        self.ended = True
        for rendition in self.renditions.values():
            rendition.window.end()
        self.declared.fire()

    def close(self) -> None:
        """Nothing follows, and nobody is told anything any more: all that is held goes as soon as the last who reads it does."""
        for rendition in self.renditions.values():
            rendition.close()

    def _become(self, track: Track) -> None:
        """Sound that changes waits for a keyframe: all tracks begin anew with it, and the picture cannot in between."""
        video = self.renditions.get(MediaKind.VIDEO)
        sounds = track.kind is MediaKind.AUDIO and track.kind in self.renditions
        if sounds and video is not None and not (video.fresh or video.stood_in):
            self._next_sound = track
        else:
            super()._become(track)

    def _renew_sound(self, packet: Packet) -> None:
        """Sound becomes what it has changed to if ``packet`` is a keyframe, or is sound while there is no picture. Else sound
        says by itself what it is. What there is of it before reaches up to the next packet."""
        track = self._next_sound
        video = self.renditions.get(MediaKind.VIDEO)
        if packet.kind is MediaKind.AUDIO:
            self._next_sound = None
            due = video is None or video.last < (packet.dts + self.epochs.offset - SILENCE) * 90
        else:
            due = packet.keyframe
        if due and track is not None:
            self._discontinue(self._sound_ends(track, packet))
            self._adopt(track, completed=True)

    def _sound_ends(self, track: Track, packet: Packet) -> int:
        """Media time (its present timescale) from which on sound is ``track``, with which it begins anew at ``packet``."""
        rendition, heard = self.renditions.get(MediaKind.AUDIO), self._heard
        if rendition is None or heard is None:
            return 0
        scale, begins = rendition.init.timescale, packet.kind is MediaKind.AUDIO
        time = rescale((packet if begins else heard).dts + self.epochs.offset, 1000, scale)
        return time if begins else time + sound_lasts(track, heard.payload, scale)

    def _hushed(self, packet: Packet, rendition: Rendition) -> Packet:
        """``packet``, which is not what its track is said to be, as silence; itself where none is known that fits."""
        self._heard = packet
        silent = silence(rendition)
        return packet if silent is None else replace(packet, body=silent, offset=0)

    def _begin(self, kind: MediaKind, init: InitSegment) -> None:
        if kind is MediaKind.AUDIO:
            self._next_sound = None
        present = self.renditions.get(kind)
        if present is None:
            self.renditions[kind] = Rendition(self._window(kind), init, self._segmenter(init), self._on_segment(kind))
            self._list_windows()
        else:
            self._discontinue()
            present.spare, present.stood_in = None, False
            present.become(init, self._segmenter(init))
        self._regrid()

    def _drop(self, kind: MediaKind) -> None:
        if kind is MediaKind.AUDIO:
            self._next_sound = None
        dropped = self.renditions.pop(kind, None)
        if dropped is not None:
            dropped.finish()
            # Room for the gaps before a young playlist: what was a segment once is never called a gap.
            self._unused[kind] = dropped.window.next_sequence + LEAST_SEGMENTS
            self._list_windows()
            self._discontinue()
            self._regrid()

    # -- packets --------------------------------------------------------------------------------------------------------

    def _on_video(self, packet: Packet, rendition: Rendition) -> None:
        if rendition.fresh and not packet.keyframe:
            return
        data = picture_data(rendition, packet)
        if data is None:
            return
        epoch = self.epochs.at(packet.dts)
        stamp = (packet.dts + self.epochs.offset) * 90
        # The last picture before a break may have been given more time than there was.
        time = max(stamp, rendition.last + 1)
        if self._is_break(time, rendition):
            self._discontinue()
            if not packet.keyframe:
                return
            epoch = self.epochs.at(packet.dts)
        shown = time + packet.cts * 90
        if self._put_off is not None or (time > stamp and rendition.fresh):
            shown = self._put(rendition, time, stamp, shown - time)
        if rendition.stood_in:
            if not returns(rendition, epoch, time, keyframe=packet.keyframe):
                return
            rendition.shown_from = shown
        if shown < rendition.shown_from:
            return
        if packet.keyframe:
            rendition.spare = data, packet.cts * 90
        duration = rendition.push(epoch, time, data, shown - time, keyframe=packet.keyframe, put_off=self._put_off)
        audio = self.renditions.get(MediaKind.AUDIO)
        if audio is not None:
            keep_up(audio, epoch, packet.dts + self.epochs.offset)
        self._learn(rendition, duration)

    def _put(self, rendition: Rendition, time: int, stamp: int, offset: int) -> int:
        """When a picture is shown that comes at ``time`` instead of ``stamp``, or behind one that did."""
        due = stamp + offset
        if self._put_off is None or rendition.fresh:
            self._put_off = PutOff(time, stamp, due)
        shown = self._put_off.shown(due)
        if stamp >= self._put_off.over:
            self._put_off = None
        return shown

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
        time = max(self._grid.place(stamp, sound_duration(rendition, data)), rendition.last + 1)
        rendition.spare = data, 0
        rendition.push(epoch, time, data, 0, keyframe=True)
        if video is not None:
            keep_up(video, epoch, media_time)

    def _is_break(self, time: int, rendition: Rendition) -> bool:
        """Whether the track was silent for so long that its last sample cannot be stretched until ``time``."""
        longest = max(LONGEST_SILENCE, 2 * self.settings.segment_duration)
        return not rendition.fresh and time - rendition.last > longest * rendition.init.timescale

    def _audio_may_start(self, packet: Packet, rendition: Rendition) -> bool:
        """Whether audio goes in: not before the first picture, unless that keeps us waiting."""
        if rendition.last >= 0:
            return True
        video = self.renditions.get(MediaKind.VIDEO)
        if not self.tracks.awaits(MediaKind.VIDEO) and (video is None or video.last >= 0):
            return True
        if self._first_audio is None:
            self._first_audio = packet.dts
        return packet.dts - self._first_audio > SILENCE

    # -- what belongs to all tracks ---------------------------------------------------------------------------------------

    def _discontinue(self, sound_ends: int = 0) -> None:
        """All tracks end their segment, sound not before ``sound_ends`` (its timescale); the next packets begin a new epoch."""
        if all(rendition.fresh for rendition in self.renditions.values()):
            return
        self.epochs.end()
        self._put_off = None
        for kind, rendition in self.renditions.items():
            rendition.finish(sound_ends if kind is MediaKind.AUDIO else 0)
        self._relearn()
        self._regrid()

    def _regrid(self) -> None:
        audio = self.renditions.get(MediaKind.AUDIO)
        if audio is not None and isinstance(audio.init.parameters, AudioParameters):
            self._grid = AudioGrid(audio.init.timescale)
            if MediaKind.VIDEO not in self.renditions:
                audio.segmenter.follow = False
                self._set_frame(0)

    def _on_segment(self, kind: MediaKind) -> Callable[[Mark], None]:
        """Audio follows video: it hears where each segment of video begins. So does whoever follows this stream."""

        def begins(mark: Mark) -> None:
            audio = self.renditions.get(MediaKind.AUDIO)
            if kind is MediaKind.VIDEO and audio is not None and not mark.fresh:
                audio.boundaries.append(rescale(mark.time, TICKS, audio.init.timescale))
            if kind is MediaKind.VIDEO or MediaKind.VIDEO not in self.renditions:
                scale = self.renditions[kind].init.timescale
                time, shown = rescale(mark.time, scale, TICKS), rescale(mark.shown, scale, TICKS)
                self.timetable.add(mark._replace(time=time, shown=shown))

        return begins

    def _window(self, kind: MediaKind) -> Window:
        settings = self.settings
        other = next(iter(self.renditions.values()), None)
        first = self.first.sequence if other is None else other.window.position()[0]
        first = max(first, self._unused.get(kind, 0))
        return Window(kind.value, first, settings.window, settings.dvr, settings.segment_duration)

    def _segmenter(self, init: InitSegment) -> Segmenter:
        scale = init.timescale
        minimum, heaviest = self.settings.segment_duration * scale, int(self.settings.segment_duration * WEIGHT)
        if isinstance(init.parameters, AudioParameters):
            frame = init.parameters.samples_per_packet or scale // 50
            # One second more than video: it follows.
            longest = int((self._maximum + 1) * scale)
            return Segmenter(int(minimum - frame / 2), longest, int(self._part_limit * scale), frame, heaviest=heaviest)
        limit = int(self._part_limit * scale)
        return Segmenter(int(SEGMENT_MINIMUM * minimum), int(self._maximum * scale), limit, scale // 30, heaviest=heaviest)

    # -- looking --------------------------------------------------------------------------------------------------------

    @property
    def next(self) -> Numbers:
        """Numbers that were not used yet, with room for the gaps before a young playlist."""
        used = [self.first.sequence, *self._unused.values(), *(window.next_sequence + LEAST_SEGMENTS for window in self.windows)]
        return Numbers(max(self._inits.next, *used), self.first.discontinuity + self.epochs.discontinuities)

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
        return len(started) == len(windows) and bool(self.tracks) and not (alone and self.epochs.span < VIDEO_MAY_COME)
