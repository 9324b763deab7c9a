"""A transcoder's process: a thread a rung, each of which scales what the next larger one has scaled, and encodes it."""

import os
import queue
import threading
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import av
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from mediaserver.encoders import picture_format
from mediaserver.transcode.decoding import Picture
from mediaserver.transcode.encoding import Coded, Encoder, EncoderFailed, open_encoder
from mediaserver.transcode.plan import Lane, Plan
from mediaserver.worker.frames import Frame, Note, PacketFrame, TrackFrame
from protocols import flv
from protocols.media import MediaKind, Packet, Track

#: Pictures that wait for a rung: enough to let a keyframe take its time, few enough to hold no memory.
_WAITING = 6
#: Pictures, at most, that an encoder may have taken in without a packet for them.
_HELD_BACK = 128

Send = Callable[[Frame], None]


class RateCap:
    """Which pictures go on where there are more a second than may be. Keyframes always do, or rungs would not be aligned."""

    def __init__(self, frame_rate: float) -> None:
        self._interval = 1000 / frame_rate if frame_rate else 0.0
        self._due = float("-inf")

    def takes(self, pts: int, *, key: bool) -> bool:
        """Whether the picture at ``pts`` (ms) goes on."""
        # Stamps are whole milliseconds, so that a picture may seem early by one.
        if not key and pts + 1 < self._due:
            return False
        late = pts - self._due
        self._due = pts + self._interval if key or late >= self._interval else self._due + self._interval
        return True


class LaneEncoder:
    """One rung. ``after`` is the last dts that the rung had (ms), or -1; ``fresh``: its first packet begins a new time."""

    def __init__(self, lane: Lane, send: Send, after: int, *, fresh: bool) -> None:
        self.lane = lane
        self.last = after
        self._send = send
        self._fresh = fresh
        self._scaler = VideoReformatter()
        self._cap = RateCap(lane.frame_rate)
        self._name = lane.encoder
        self._encoder: Encoder | None = None
        self._config = b""
        # What went into the encoder and has not come out: another one can take over with it.
        self._inside: deque[tuple[av.VideoFrame, bool]] = deque(maxlen=_HELD_BACK)
        self._shown = -1  # the latest pts that came out
        self._given_up = False

    def scale(self, picture: Picture) -> Picture:
        """``picture`` as this rung has it."""
        lane, frame = self.lane, picture.frame
        wanted = picture_format(self._name)
        if (frame.width, frame.height, frame.format.name) == (lane.width, lane.height, wanted):
            return picture
        # RGB's matrix is none that 4:2:0 may have (H.264, E.2.1).
        matrix, levels = (Colorspace.ITU709, ColorRange.MPEG) if frame.format.is_rgb else (None, None)
        frame = self._scaler.reformat(
            frame,
            lane.width,
            lane.height,
            wanted,
            dst_colorspace=matrix,
            dst_color_range=levels,
            interpolation=Interpolation.BICUBIC,
            threads=1,
        )
        frame.pts = picture.pts
        return Picture(frame, picture.pts, picture.key)

    def take(self, picture: Picture) -> None:
        """Encode ``picture``, which is scaled, unless it is one too many a second."""
        if not self._given_up and self._cap.takes(picture.pts, key=picture.key):
            self._inside.append((picture.frame, picture.key))
            self._encode(picture.frame, key=picture.key)

    def drain(self) -> None:
        """Let out what is still inside."""
        if self._encoder is None:
            return
        try:
            self._emit(self._encoder.drain())
        except EncoderFailed:
            return  # it fails the next time too, and then there is time to say so
        self._encoder = None

    def _encode(self, frame: av.VideoFrame, *, key: bool) -> None:
        try:
            if self._encoder is None:
                self._encoder = open_encoder(self._name, self.lane, frame)
                key = True
            coded = self._encoder.encode(frame, key=key)
        except EncoderFailed as error:
            self._fall_back(str(error))
            return
        self._emit(coded)

    def _fall_back(self, reason: str) -> None:
        """Let the other encoder do what this one did not; without one, do without the rung."""
        failed, fallback = self._name, self.lane.fallback if self._name != self.lane.fallback else ""
        self._encoder, self._given_up = None, not fallback
        self._send(Note({"failed": self.lane.rung, "encoder": failed, "reason": reason, "fallback": fallback}))
        # Pictures that were passed over for a later one already would run backwards.
        left = [(frame, key) for frame, key in self._inside if (frame.pts or 0) > self._shown]
        self._inside.clear()
        if not fallback:
            return
        self._name = fallback
        for frame, key in left:
            self._inside.append((frame, key))
            self._encode(frame, key=key)
            if self._given_up:
                return

    def _emit(self, coded: list[Coded]) -> None:
        lane = self.lane
        for each in coded:
            self._shown = max(self._shown, each.pts)
            if self._inside:
                self._inside.popleft()
            encoder = self._encoder
            if encoder is not None and encoder.config != self._config:
                self._config = encoder.config
                body = flv.video_sequence_header(lane.codec, self._config)
                self._send(TrackFrame(lane.number, Track(lane.codec, self._config, body)))
            # The first pictures of an encoder that reorders have a dts before the source's first, which may be 0.
            self.last = dts = max(each.dts, self.last + 1)
            body = flv.video_frame(lane.codec, each.keyframe, each.pts - dts, each.data)
            offset = len(body) - len(each.data)
            packet = Packet(MediaKind.VIDEO, dts, each.keyframe, body, offset, each.pts - dts, self._fresh)
            self._fresh = False
            self._send(PacketFrame(lane.number, packet))


class LaneGroup:
    """Rungs that are encoded one after the other, the larger first. ``smaller`` goes on with what the last of them has scaled."""

    def __init__(self, lanes: Sequence[LaneEncoder], smaller: "LaneThread | None") -> None:
        self.lanes = lanes
        self._smaller = smaller

    def put(self, picture: Picture) -> None:
        """One more picture for every rung."""
        scaled = []
        for lane in self.lanes:
            picture = lane.scale(picture)
            scaled.append(picture)
        if self._smaller is not None:
            self._smaller.put(picture)
        for lane, own in zip(self.lanes, scaled, strict=True):
            lane.take(own)

    def close(self) -> None:
        """Let the encoders come to their ends, in this group and the next."""
        if self._smaller is not None:
            self._smaller.put(None)
        for lane in self.lanes:
            lane.drain()
        if self._smaller is not None:
            self._smaller.join()


class LaneThread(threading.Thread):
    """A group in a thread of its own."""

    def __init__(self, group: LaneGroup) -> None:
        super().__init__(name=group.lanes[0].lane.rung, daemon=True)
        self._group = group
        self._queue: queue.Queue[Picture | None] = queue.Queue(_WAITING)
        self.start()

    def put(self, picture: Picture | None) -> None:
        """One more picture, or the end. Waits while too many wait already."""
        self._queue.put(picture)

    def run(self) -> None:
        try:
            while (picture := self._queue.get()) is not None:
                self._group.put(picture)
            self._group.close()
        except BrokenPipeError:
            os._exit(0)  # the server is gone
        except BaseException:  # noqa: BLE001 - half a ladder is worth less than a process that is started anew
            traceback.print_exc()
            os._exit(1)


class Lanes:
    """All rungs of a plan, from the first picture on until closed. ``after`` has the last dts of each rung, by name.

    What one core does in time is done in the thread that decodes, because handing pictures from core to core costs a tenth more;
    beyond that there are more threads.
    """

    def __init__(self, plan: Plan, send: Send, after: Mapping[str, int], *, fresh: bool) -> None:
        self.plan = plan
        self._lanes: list[LaneEncoder] = []
        self._first: LaneGroup | LaneThread | None = None
        groups = grouped(plan.lanes)
        smaller: LaneThread | None = None
        for group in reversed(groups):
            lanes = [LaneEncoder(lane, send, after.get(lane.rung, -1), fresh=fresh) for lane in group]
            self._lanes += lanes
            made = LaneGroup(lanes, smaller)
            smaller = LaneThread(made) if len(groups) > 1 else None
            self._first = smaller or made

    def put(self, picture: Picture) -> None:
        """One more picture for every rung. Waits while they are busy."""
        if self._first is not None:
            self._first.put(picture)

    def close(self) -> dict[str, int]:
        """Let the encoders come to their ends. The last dts of each rung."""
        if isinstance(self._first, LaneThread):
            self._first.put(None)
            self._first.join()
        elif self._first is not None:
            self._first.close()
        return {lane.lane.rung: lane.last for lane in self._lanes}


def grouped(lanes: Sequence[Lane]) -> list[list[Lane]]:
    """``lanes`` in groups of neighbours, none of which is more than one core's work if it has more than one lane."""
    groups: list[list[Lane]] = []
    work = 0.0
    for lane in lanes:
        if not groups or work + lane.work > 1.0:
            groups.append([])
            work = 0.0
        groups[-1].append(lane)
        work += lane.work
    return groups
