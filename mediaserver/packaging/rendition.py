"""One track on its way into a window: samples are gathered to parts, and parts to segments."""

from collections import deque
from collections.abc import Callable

from mediaserver.packaging.segment import Epoch, InitSegment, Segment
from mediaserver.packaging.segmenter import Cut, Segmenter
from mediaserver.packaging.timetable import Mark, PutOff
from mediaserver.packaging.window import Window
from protocols.mp4.fragment import Sample, fragment
from protocols.timebase import rescale


class Rendition:
    """Builds the fragments of one track. Times are decode times in the init segment's timescale.

    A sample is held until the next one comes, because only then its duration is known.
    ``on_segment`` is called with the Mark of each segment that begins, its times in the track's timescale.
    """

    def __init__(
        self, window: Window, init: InitSegment, segmenter: Segmenter, on_segment: Callable[[Mark], None] | None = None
    ) -> None:
        self.window = window
        self.init = init
        self.segmenter = segmenter
        self.boundaries: deque[int] = deque(maxlen=16)
        self.last = -1
        self.fresh = True
        #: Whether somebody else speaks for the track since it has fallen silent, and what with (see ``standin``).
        self.stood_in = False
        self.spare: tuple[bytes, int] | None = None
        #: The epoch of the last packet that was its own.
        self.spoke_in: Epoch | None = None
        #: Pictures that belong before this time refer to what was lost while it was silent.
        self.shown_from = 0
        self.parts = 0
        self._on_segment = on_segment
        self._samples: list[Sample] = []
        self._part_time = 0
        self._held: tuple[int, bytes, int, bool] | None = None
        self._mark: Mark | None = None

    @property
    def next_sequence(self) -> int:
        """The number of the first segment that has not begun; one may have begun without a part so far."""
        return self.window.next_sequence + (not self.fresh and self.window.growing is None)

    def push(
        self,
        epoch: Epoch,
        time: int,
        data: bytes,
        offset: int,
        *,
        keyframe: bool,
        mark: Mark | None = None,
        put_off: PutOff | None = None,
    ) -> int:
        """One more access unit, later than the one before. The duration of that one, 0 if there was none.

        ``mark`` is the segment that begins with it, where that is not for this rendition to say; ``put_off`` why it is later than
        it should be.
        """
        held = self._held
        self._held = (time, data, offset, keyframe)
        self.last = time
        self.fresh = False
        if held is None:
            self._part_time = time
            self._start(epoch, mark, fresh=True, put_off=put_off)
            return 0
        duration = time - held[0]
        boundary = mark is not None or self._is_boundary(time, keyframe=keyframe)
        if self._append(held, duration, boundary=boundary):
            self._start(epoch, mark, fresh=False)
        return duration

    def become(self, init: InitSegment, segmenter: Segmenter) -> None:
        """Go on with other parameters. What was there has been finished."""
        if self.last >= 0:
            self.last = rescale(self.last, self.init.timescale, init.timescale)
        self.init, self.segmenter = init, segmenter

    def close(self) -> None:
        """Tell nobody of segments any more."""
        self._on_segment = None

    def _start(self, epoch: Epoch, mark: Mark | None, *, fresh: bool, put_off: PutOff | None = None) -> None:
        """A segment begins with the sample that is held."""
        if self._held is None:
            return
        time, _, offset, keyframe = self._held
        if epoch.begin is None:
            epoch.begin = time / self.init.timescale
        self._mark = mark or Mark(time, time + offset, self.window.next_sequence, epoch, keyframe, fresh, put_off)
        if self._on_segment is not None:
            self._on_segment(self._mark)

    def _is_boundary(self, time: int, *, keyframe: bool) -> bool:
        """Whether a segment may begin with the sample at ``time``."""
        if not self.segmenter.follow:
            return keyframe
        boundaries = self.boundaries
        reached = False
        # Within half a frame a sample belongs to the segment that most of it is in.
        while boundaries and boundaries[0] <= time + self.segmenter.frame // 2:
            boundaries.popleft()
            reached = True
        return reached

    def _append(self, held: tuple[int, bytes, int, bool], duration: int, *, boundary: bool) -> bool:
        """The sample's duration is known. Whether the segment ends behind it."""
        time, data, offset, keyframe = held
        step = self.segmenter.step(duration, len(data), boundary=boundary)
        if step.part_before:
            self._end_part(time)
        self._samples.append(Sample(data, duration, offset, keyframe))
        if step.after is Cut.NONE:
            if step.part_before:
                self.window.changed()
            return False
        self._end_part(time + duration)
        if step.after is Cut.SEGMENT:
            self.window.complete()
        self.window.changed()
        return step.after is Cut.SEGMENT

    def _end_part(self, end: int) -> None:
        samples = self._samples
        window = self.window
        if window.growing is None:
            window.begin(self._new_segment())
        self.parts += 1
        body = fragment(self.parts, self.init.track, self._part_time, samples)
        window.add(body, end - self._part_time, independent=samples[0].keyframe, frames=len(samples))
        self._samples = []
        self._part_time = end

    def _new_segment(self) -> Segment:
        mark = self._mark
        assert mark is not None  # noqa: S101  set with the first sample of every segment
        previous = self.window.segments[-1] if self.window.segments else None
        return Segment(
            kind=self.window.kind,
            sequence=mark.sequence,
            init=self.init,
            epoch=mark.epoch,
            time=self._part_time,
            discontinuities=0 if previous is None else mark.epoch.number - previous.epoch.number,
            new_init=previous is None or previous.init is not self.init,
        )

    def finish(self, end: int = 0) -> None:
        """Nothing follows without a break: what is held goes out, the segment ends here, or at ``end`` if that is later.
        Harmless twice."""
        held, self._held = self._held, None
        if held is not None:
            frame = max(self.segmenter.frame, end - held[0], 1)
            if self._samples and self.segmenter.step(frame, len(held[1]), boundary=False).part_before:
                self._end_part(held[0])
            self._samples.append(Sample(held[1], frame, held[2], held[3]))
            self.last = held[0] + frame
            self._end_part(self.last)
        if self.window.growing is not None:
            self.window.complete()
        self.segmenter.reset()
        self.boundaries.clear()
        self.fresh = True
        self.window.changed()
