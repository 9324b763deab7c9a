"""What players of a rendition get while its stream's picture is stood in for (see ``standin``): its own last keyframe again,
segment by segment with the stream's. Else they would stop, while those of the stream itself play on.
"""

from mediaserver.packaging.follower import Follower
from mediaserver.packaging.presentation import picture_data
from mediaserver.packaging.rendition import Rendition
from mediaserver.packaging.silence import is_repeatable
from mediaserver.packaging.standin import MAX_PICTURE
from mediaserver.packaging.timetable import TICKS, Mark
from protocols.media import MediaKind, Packet
from protocols.timebase import rescale

#: A picture is stood in for when it is so far behind the stream (seconds): by then all has come that an encoder held back.
PATIENCE = 4.0


class Understudy:
    """Of one Follower. It plays from when the stream's picture is stood in for until that is back."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._timetable = follower.leader.timetable
        self._keyframe: Packet | None = None
        self._spare = b""

    def look(self) -> None:
        """Remember the last keyframe; begin if it is time. To be called every second."""
        first = next(iter(self._follower.stream.gop), None)
        if first is not None and first.kind is MediaKind.VIDEO and first.keyframe:
            self._keyframe = first
        picture = self._picture()
        if picture is None or self._spare or self._keyframe is None or not self._is_wanted():
            return
        late = self._timetable.reached - rescale(picture.last, picture.init.timescale, TICKS)
        data = picture_data(picture, self._keyframe)
        if late >= PATIENCE * TICKS and data and len(data) <= MAX_PICTURE and is_repeatable(picture.init.track, data):
            self._spare = data
            self._follower.step_aside()
            self._play()

    def close(self) -> None:
        """Stand in no more. Harmless twice."""
        self._spare = b""
        self._timetable.forget(self._play)

    def _picture(self) -> Rendition | None:
        """The track to stand in for, if there is something of it."""
        picture = self._follower.renditions.get(MediaKind.VIDEO)
        return None if self._follower.ended or self._follower.gone or picture is None or picture.last < 0 else picture

    def _is_wanted(self) -> bool:
        """Whether the stream's own picture is stood in for."""
        leading = self._follower.leader.renditions.get(MediaKind.VIDEO)
        return leading is not None and leading.stood_in

    def _play(self) -> None:
        """Come as far as the stream has, and again whenever that goes on, until a segment begins with its picture again."""
        picture, marks = self._picture(), self._timetable.marks
        if picture is None or not self._spare or not marks:
            self.close()
            return
        for mark in [mark for mark in marks if mark.sequence >= picture.next_sequence]:
            self._fill(picture, mark, mark.time - 1)
            time = rescale(mark.time, TICKS, picture.init.timescale)
            if mark.fresh or not self._is_wanted():
                picture.finish(0 if mark.fresh else time)
            if mark.sequence != picture.next_sequence or not self._is_wanted():
                self.close()  # it has lost more of the stream than can be told, or it is over
                return
            self._push(picture, mark, time, begins=True)
        self._fill(picture, marks[-1], self._timetable.reached)
        self._timetable.wait(self._play)

    def _fill(self, picture: Rendition, mark: Mark, until: int) -> None:
        """The picture again in each part up to ``until`` (ticks), if there is a segment that has begun."""
        step = max(picture.segmenter.part_limit, picture.segmenter.frame, 1)
        while not picture.fresh and picture.last + step <= rescale(until, TICKS, picture.init.timescale):
            self._push(picture, mark, picture.last + step)

    def _push(self, picture: Rendition, mark: Mark, time: int, *, begins: bool = False) -> None:
        """The picture at ``time``, shown as much later as those of the stream at ``mark``, with which its segment ``begins``."""
        offset = rescale(mark.shown - mark.time, TICKS, picture.init.timescale)
        time = max(time, picture.last + 1)
        picture.push(mark.epoch, time, self._spare, offset, keyframe=True, mark=mark if begins else None)
