"""The process that transcodes one stream: decodes once, encodes every rung. Run by ``worker.child``.

It says what it sees with the first picture (a Sight), is told what to make of it (the Plan with the same number), and begins.
A later Plan takes its place at the next keyframe. Told to flush, it gives out every picture that it still holds (and all
``sound``, if that is said), and says so.
"""

from collections import deque
from collections.abc import Iterator, Mapping

import av

from mediaserver.transcode.decoding import Decoder, Picture
from mediaserver.transcode.lanes import Lanes
from mediaserver.transcode.plan import Plan, Sight, read_plan, read_sounds
from mediaserver.transcode.sound import Sound
from mediaserver.worker.child import Pipe, main
from mediaserver.worker.frames import Frame, Note, PacketFrame, TrackFrame
from protocols.media import Codec, MediaKind, Packet, Track

#: Milliseconds of the stream between two reports of how far we are: in pictures, and in sound.
PROGRESS, SOUND_PROGRESS = 100, 1000


class KeyPlaces:
    """Where keyframes go: where the source has them, for its segments and those of its renditions begin there; with an
    ``interval`` (seconds) also where there would be none for longer than that."""

    def __init__(self, interval: float) -> None:
        self._interval = round(interval * 1000)
        self._next = -1

    def at(self, picture: Picture) -> bool:
        """Whether every rung has a keyframe at ``picture``."""
        due = bool(self._interval) and picture.pts >= self._next
        if picture.key or due:
            self._next = picture.pts + self._interval
        return picture.key or due


class Transcoding:
    """One stream in, its rungs out."""

    def __init__(self, settings: Mapping[str, object], pipe: Pipe, frames: Iterator[Frame]) -> None:
        devices = settings.get("devices")
        self._devices = [str(device) for device in devices] if isinstance(devices, list) else []
        self._pipe = pipe
        self._frames = frames
        self._held: deque[Frame] = deque()  # what came while we waited for a plan
        self._sound = Sound(pipe.send)
        self._track: Track | None = None
        self._decoder: Decoder | None = None
        self._sight: Sight | None = None
        self._number = 0
        self._plan: Plan | None = None
        self._lanes: Lanes | None = None
        self._keys = KeyPlaces(0)
        self._after: dict[str, int] = {}
        self._fresh = False
        self._told, self._told_sound = -PROGRESS, -SOUND_PROGRESS

    def run(self) -> None:
        """Until the server closes the socket."""
        while (frame := self._next()) is not None:
            self._take(frame)

    def _next(self) -> Frame | None:
        return self._held.popleft() if self._held else next(self._frames, None)

    def _take(self, frame: Frame) -> None:
        match frame:
            case PacketFrame(_, Packet(kind=MediaKind.VIDEO) as packet):
                self._take_picture(packet)
            case PacketFrame(_, packet):
                self._take_sound(packet)
            case TrackFrame(_, track) if track.kind is MediaKind.VIDEO:
                self._end_decoder()
                if track != self._track:
                    self._sight = None  # who reads our reports has forgotten the last one
                self._track = track
            case TrackFrame(_, track):
                self._sound.on_track(track)
            case Note(values):
                self._take_order(values)

    def _take_order(self, values: Mapping[str, object]) -> None:
        plan, sounds = read_plan(values), read_sounds(values)
        if plan is not None and plan.number == self._number:
            self._plan = plan
        if sounds is not None:
            self._sound.on_plan(sounds, Codec(str(values["audio_codec"])))
        if "flush" in values:
            self._end_decoder()
            self._end_lanes()
            if values.get("sound"):
                self._sound.drain()
            self._pipe.send(Note({"flushed": values["flush"]}))

    def _take_sound(self, packet: Packet) -> None:
        if not 0 <= packet.dts - self._told_sound < SOUND_PROGRESS:
            self._told_sound = packet.dts
            self._pipe.send(Note({"sound_at": packet.dts}))
        self._sound.on_packet(packet)

    def _take_picture(self, packet: Packet) -> None:
        if not 0 <= packet.dts - self._told < PROGRESS:
            self._told = packet.dts
            self._pipe.send(Note({"at": packet.dts}))
        if packet.discontinuity:
            self._end_decoder()
            self._end_lanes()
            self._fresh = True
        if self._decoder is None:
            if self._track is None or not packet.keyframe:
                return
            try:
                self._decoder = Decoder(self._track, self._devices)
            except (av.FFmpegError, ValueError):
                return  # a broken header; a better one may come
        for picture in self._decoder.decode(packet):
            self._encode(picture, self._decoder)

    def _encode(self, picture: Picture, decoder: Decoder) -> None:
        if decoder.sight != self._sight and decoder.sight is not None:
            self._sight = decoder.sight
            self._end_lanes()
            if not self._ask(self._sight):
                return
        if self._plan is None:
            return
        if self._lanes is None:
            self._keys = KeyPlaces(self._plan.keyframe_interval)
        key = self._keys.at(picture)
        if self._lanes is not None and key and self._lanes.plan is not self._plan:
            self._end_lanes()
            self._keys = KeyPlaces(self._plan.keyframe_interval)
            key = self._keys.at(picture)
        if self._lanes is None:
            self._lanes, key = Lanes(self._plan, self._pipe.send, self._after, fresh=self._fresh), True
            self._fresh = False
        self._lanes.put(Picture(picture.frame, picture.pts, key))

    def _ask(self, sight: Sight) -> bool:
        """Say what is seen, and wait for the plan. False if the server closed the socket instead."""
        self._number += 1
        self._plan = None
        self._pipe.send(Note(sight.as_values(self._number)))
        for frame in self._frames:
            plan = read_plan(frame.values) if isinstance(frame, Note) else None
            if plan is not None and plan.number == self._number:
                self._plan = plan
                return True
            self._held.append(frame)
        return False

    def _end_decoder(self) -> None:
        if self._decoder is not None:
            for picture in self._decoder.drain():
                self._encode(picture, self._decoder)
            self._decoder = None

    def _end_lanes(self) -> None:
        if self._lanes is not None:
            self._after |= self._lanes.close()
            self._lanes = None


def work(settings: Mapping[str, object], pipe: Pipe, frames: Iterator[Frame]) -> None:
    """Transcode what comes until the server closes the socket."""
    av.logging.set_level(None)
    Transcoding(settings, pipe, frames).run()


if __name__ == "__main__":
    main(work)
