"""Follower: one rendition of a stream in, segments out that begin where the stream's own do and have their numbers.

A rendition comes late by what its encoder takes, or (passed through) in the same moment, even before the stream's own packager
has seen it; so packets wait here until the stream has come as far. Encoders delay decoding by what their B-frames need, and
every one by another time: the rendition's decode times are moved so that a segment begins at the very same time as the
stream's; when a picture is shown stays as it was.

What a rendition lost (its encoder fell behind, or died) is no reason to number differently: segments that it has nothing of
are gaps in its playlist, where players take another rendition, and it comes back with the next segment that begins with a
keyframe of both.
"""

from collections import deque
from itertools import pairwise

from mediaserver.hub.stream import LiveStream, StreamState
from mediaserver.packaging.audiogrid import AudioGrid
from mediaserver.packaging.packager import Packager
from mediaserver.packaging.presentation import Presentation, picture_data, sound_duration
from mediaserver.packaging.rendition import Rendition
from mediaserver.packaging.segment import InitSegment, Segment
from mediaserver.packaging.segmenter import WEIGHT, Segmenter
from mediaserver.packaging.timetable import KEPT, SAME, TICKS, Mark, PutOff
from mediaserver.packaging.window import Window
from protocols.codec import AudioParameters
from protocols.media import Codec, MediaKind, Metadata, Packet
from protocols.timebase import rescale

#: Packets that wait for the stream to come as far. It is ahead of its renditions, so only a few ever wait.
MAX_WAITING = 512

#: A segment may begin with a picture that is late by so many frames: a rate that was cut in half leaves pictures out.
LATE_FRAMES = 2

#: Rounding of stamps in milliseconds, in ticks.
_ROUNDING = 180

#: What is left of a lag with each picture.
_FORGET = 0.999

#: How far (ticks) behind the beginning of a segment sound may join it.
_SOUND_JOINS = TICKS // 10


class Lane:
    """One track on its way beside the timetable. ``mark`` is the segment that it is in, None while it waits for one to begin.
    ``shift`` (ticks) puts its decode times on the stream's. ``put_off``: its first picture, until others are not put off."""

    __slots__ = ("grid", "mark", "put_off", "rendition", "shift")

    def __init__(self, rendition: Rendition) -> None:
        self.rendition = rendition
        self.mark: Mark | None = None
        self.shift = 0
        self.put_off: PutOff | None = None
        self.grid = AudioGrid(rendition.init.timescale)

    def ticks(self, time: int) -> int:
        return rescale(time, self.rendition.init.timescale, TICKS)

    @property
    def frame(self) -> int:
        """A picture's or packet's usual duration in ticks."""
        return self.ticks(self.rendition.segmenter.frame)


class Follower(Presentation):
    """A hub Subscriber of ``stream``, a rendition of the one that ``leader`` packages. ``sound``: its own sound is wanted even
    where the leader's can be played."""

    def __init__(self, stream: LiveStream, leader: Packager, *, sound: bool) -> None:
        super().__init__(stream.name, leader.settings, leader.first, leader.epochs, leader.init_index)
        self.stream = stream
        self.tracks.facts = stream.facts
        self.leader = leader
        #: Nothing comes any more, though the stream itself may go on.
        self.gone = False
        #: How late it is lately, seconds: the most, but what is long past counts less and less.
        self.lag = 0.0
        #: It has pictures that are not the stream's own, or had: its source may come to be passed through, but who has been told
        #: of it goes on here.
        self.distinct = False
        self._replay = False
        self._sound = sound
        self._lanes: dict[MediaKind, Lane] = {}
        self._waiting: deque[Packet] = deque()
        self._away = 0
        video = leader.renditions.get(MediaKind.VIDEO)
        self._frame = TICKS // 30 if video is None else video.segmenter.frame

    def join(self) -> None:
        """Subscribe. What is replayed is old, but not late; it begins where the stream's own segment does, for the next one may
        be a long way off."""
        self._replay = True
        self.stream.subscribe(self, whole=True)
        self._replay = False

    # -- the Subscriber's port ------------------------------------------------------------------------------------------

    def on_metadata(self, metadata: Metadata) -> None:
        """Nothing in it that the tracks do not say themselves."""

    def on_packet(self, packet: Packet) -> None:
        """One more access unit, as soon as the stream has come as far."""
        self._away = 0
        if not self.distinct and packet.keyframe and packet.kind is MediaKind.VIDEO:
            self.distinct = not self._is_the_streams(packet)
        if self._waiting or not self._take(packet):
            self._waiting.append(packet)
            self.leader.timetable.wait(self._go_on)
            if len(self._waiting) > MAX_WAITING:
                self._waiting.clear()
                self._rest()

    def _is_the_streams(self, keyframe: Packet) -> bool:
        """Whether that is passed through: the very packet that the stream's last group of pictures begins with."""
        source = self.stream.source
        return source is not None and next(iter(source.gop), None) is keyframe

    def on_away(self) -> None:
        """What the encoder still holds comes yet: see ``settle``."""
        self._away = 1

    def on_end(self) -> None:
        """The rendition is over. With the stream, its playlists end; without it they are no more: players take another."""
        source = self.stream.source
        self.ended = source is not None and source.state is StreamState.ENDED
        self.gone = not self.ended
        self.leader.timetable.forget(self._go_on)
        self._waiting.clear()
        self._rest()
        for window in self.windows:
            window.end()

    def settle(self) -> None:
        """To be called every second: once its publisher has been away for one, what is held goes out."""
        if self._away == 2:
            self._rest()
        self._away += self._away > 0

    def step_aside(self) -> None:
        """Somebody stands in for the picture, and goes on with its segment: its own begins with one of the stream's again."""
        lane = self._lanes.get(MediaKind.VIDEO)
        if lane is not None:
            lane.mark = None

    def _go_on(self) -> None:
        while self._waiting and self._take(self._waiting[0]):
            self._waiting.popleft()
        if self._waiting:
            self.leader.timetable.wait(self._go_on)

    def _begin(self, kind: MediaKind, init: InitSegment) -> None:
        if kind is MediaKind.AUDIO and not self._sound and self._stream_sounds():
            return
        lane = self._lanes.get(kind)
        if lane is not None:
            # A segment has one init segment, so this one goes no further.
            self._leave(lane)
            lane.rendition.become(init, self._segmenter(init))
            return
        settings = self.settings
        window = Window(kind.value, self.first.sequence, settings.window, settings.dvr, settings.segment_duration)
        rendition = self.renditions[kind] = Rendition(window, init, self._segmenter(init))
        self._lanes[kind] = Lane(rendition)
        self._list_windows()
        if isinstance(init.parameters, AudioParameters) and MediaKind.VIDEO not in self.renditions:
            self._set_frame(0)
        elif kind is MediaKind.VIDEO:
            self._set_frame(self._frame)

    def _stream_sounds(self) -> bool:
        """Whether the stream's own sound is what every player can play, so that renditions need none."""
        sound = self.leader.renditions.get(MediaKind.AUDIO)
        return sound is not None and sound.init.track.codec is Codec.AAC

    def _drop(self, kind: MediaKind) -> None:
        lane = self._lanes.pop(kind, None)
        if lane is not None:
            self._leave(lane)
            del self.renditions[kind]
            self._list_windows()

    def _segmenter(self, init: InitSegment) -> Segmenter:
        scale = init.timescale
        if isinstance(init.parameters, AudioParameters):
            frame = init.parameters.samples_per_packet or scale // 50
        else:
            frame = self._frame * scale // TICKS
        # The stream cuts, and it does so before this.
        longest = int(4 * max(10.0, self.settings.segment_duration) * scale)
        heaviest = int(self.settings.segment_duration * WEIGHT)
        return Segmenter(0, longest, int(self._part_limit * scale), frame, heaviest=heaviest, follow=True)

    # -- packets --------------------------------------------------------------------------------------------------------

    def _take(self, packet: Packet) -> bool:
        """Put it where it belongs. False: nobody knows yet where that is."""
        rendition = self._rendition_of(packet)
        if rendition is None:
            return True
        lane = self._lanes[packet.kind]
        raw = (packet.dts + self.epochs.offset) * TICKS // 1000
        cts = packet.cts * TICKS // 1000 if packet.kind is MediaKind.VIDEO else 0
        if lane.mark is not None:
            placed = self._continue(lane, packet, raw, cts)
            if placed is not None:
                return placed
        return self._start(lane, packet, raw, cts)

    def _continue(self, lane: Lane, packet: Packet, raw: int, cts: int) -> bool | None:
        """Go on with the segment, or with the next one. None: it ended here."""
        timetable, mark = self.leader.timetable, lane.mark
        assert mark is not None  # noqa: S101  the caller has looked
        time = raw + lane.shift
        if time > timetable.reached + _ROUNDING:
            return False
        following = timetable.after(mark.sequence)
        # The first behind a break belongs there, even where it comes before what went before was to be over.
        ahead = following is not None and following.fresh and packet.discontinuity
        if following is None or (time + lane.frame // 2 < following.time and not ahead):
            self._push(lane, packet, time, raw + cts, None)
        elif following.fresh:
            self._leave(lane)
            return None
        elif time > following.time + LATE_FRAMES * max(lane.frame, self._frame):
            self._leave(lane, following.time)
            return None
        else:
            lane.mark = following
            # Milliseconds are rounded differently here and there; the edge is one.
            time = following.time if abs(time - following.time) <= SAME else time
            self._push(lane, packet, time, raw + cts, following)
        return True

    def _start(self, lane: Lane, packet: Packet, raw: int, cts: int) -> bool:
        """Join the stream where one of its segments begins."""
        timetable, window = self.leader.timetable, lane.rendition.window
        if packet.kind is MediaKind.AUDIO:
            if raw > timetable.reached + _ROUNDING:
                return False
            mark = timetable.before(raw + lane.frame // 2)
            if mark is None or raw > mark.time + _SOUND_JOINS:
                return True
        elif not packet.keyframe:
            return True
        else:
            mark = timetable.keyframe_at(raw + cts)
            if mark is None:
                return timetable.knows_keyframe(raw + cts)
        if window.segments and mark.sequence < lane.rendition.next_sequence:
            return True
        if not lane.rendition.fresh:
            lane.rendition.finish()  # who stood in for it has left in mid-segment
        self._catch_up(lane, mark)
        if packet.kind is MediaKind.VIDEO:
            self._relearn()
        lane.mark = mark
        lane.grid = AudioGrid(lane.rendition.init.timescale)
        if packet.kind is MediaKind.VIDEO:
            lane.shift = mark.stamp - raw
            time = max(mark.time, lane.rendition.last + 1)
            lane.put_off = PutOff(time, mark.stamp, raw + cts) if time > mark.stamp else None
            self._push(lane, packet, mark.time, raw + cts, mark)
        else:
            lane.shift = 0
            self._push(lane, packet, raw, raw, mark)
        return True

    def _push(self, lane: Lane, packet: Packet, time: int, shown: int, mark: Mark | None) -> None:
        rendition, epoch = lane.rendition, (mark or lane.mark or self.leader.timetable.marks[-1]).epoch
        if packet.kind is MediaKind.AUDIO:
            data = packet.body[packet.offset :]
            stamp = rescale(time, TICKS, rendition.init.timescale)
            time = max(lane.grid.place(stamp, sound_duration(rendition, data)), rendition.last + 1)
            rendition.push(epoch, time, data, 0, keyframe=True, mark=mark)
            return
        picture = picture_data(rendition, packet)
        if picture is not None:
            if not self._replay:
                self.lag = max((self.leader.timetable.reached - time) / TICKS, self.lag * _FORGET)
            offset, time = shown - time, max(time, rendition.last + 1)
            if lane.put_off is not None:
                # As the stream's own are: in their order, and none before its segment begins.
                offset = lane.put_off.shown(shown) - time
                if time >= lane.put_off.over:
                    lane.put_off = None
            self._learn(rendition, rendition.push(epoch, time, picture, offset, keyframe=packet.keyframe, mark=mark))

    def _likely_rates(self) -> tuple[float, ...]:
        """The stream's own, or (of a rendition with fewer pictures) half of it."""
        return self.leader.frame_rate, self.leader.frame_rate / 2

    def _set_frame(self, frame: int) -> None:
        super()._set_frame(frame)
        self._frame = frame or self._frame

    def _catch_up(self, lane: Lane, mark: Mark) -> None:
        """Say of each segment between the last one and ``mark`` that there is nothing of it."""
        window, rendition = lane.rendition.window, lane.rendition
        missing = mark.sequence - window.next_sequence
        marks = [known for known in self.leader.timetable.marks if window.next_sequence <= known.sequence <= mark.sequence]
        if not window.segments or missing >= KEPT or len(marks) != missing + 1:
            window.restart(mark.sequence)
            return
        scale = rendition.init.timescale
        for gap, following in pairwise(marks):
            end = following.time if not following.fresh else gap.time + round(self.settings.segment_duration * TICKS)
            window.skip(
                Segment(
                    kind=window.kind,
                    sequence=gap.sequence,
                    init=rendition.init,
                    epoch=gap.epoch,
                    time=rescale(gap.time, TICKS, scale),
                    discontinuities=gap.epoch.number - window.segments[-1].epoch.number,
                    new_init=window.segments[-1].init is not rendition.init,
                    duration=rescale(max(end - gap.time, 1), TICKS, scale),
                )
            )

    def _leave(self, lane: Lane, end: int = 0) -> None:
        """The segment that the track is in ends, at ``end`` (ticks) if that is later than its last sample's end."""
        lane.mark = None
        lane.rendition.finish(rescale(end, TICKS, lane.rendition.init.timescale))

    def _rest(self) -> None:
        for lane in self._lanes.values():
            self._leave(lane)

    # -- looking --------------------------------------------------------------------------------------------------------

    @property
    def started(self) -> bool:
        """Whether there is anything to play."""
        return bool(self.windows) and all(window.started for window in self.windows)
