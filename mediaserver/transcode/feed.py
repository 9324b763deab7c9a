"""What goes from a stream into the process that transcodes it: as much as that keeps up with; and whether that still speaks."""

from dataclasses import replace
from typing import Protocol

from mediaserver.transcode.load import Load
from mediaserver.transcode.plan import SOURCE_LANE
from mediaserver.worker.frames import Frame, PacketFrame
from protocols.media import Packet

#: Seconds in which the process must say something while something waits for it; four times as many until it has seen the first
#: picture: to decode that, it may have to wake up hardware.
STALL = 15.0
#: It says something of every picture or so, and of every second of sound: what it was given so shortly (seconds) after its last
#: word may be too little to say something of.
BETWEEN_WORDS = 1.5


class Takes(Protocol):
    """A ``Worker``, as far as it matters here."""

    def send(self, frame: Frame) -> bool: ...


class Feed:
    """Of one stream, for one process after the other. All times in seconds of a monotonic clock."""

    def __init__(self, now: float) -> None:
        self.load = Load(now)
        self._sent = self._done = 0  # the last dts that went to the process, and that it has taken
        self._heard = self._fed = now
        self._shown = -1  # the latest pts that went to it since
        self._waits_for_key = True
        # The next keyframe, or piece of sound, begins a new time.
        self._breaks = self._sound_breaks = False

    def begin(self, now: float) -> None:
        """There is a process, which knows nothing yet."""
        self.load.begin(now)
        self._heard = self._fed = now
        self._waits_for_key = True

    def interrupt(self) -> None:
        """The process is gone: what the next one makes begins a new time."""
        self._breaks = self._sound_breaks = True

    def give_sound(self, packet: Packet, worker: Takes, now: float) -> None:
        """One more piece of sound."""
        self._fed = now
        self._sound_breaks |= packet.discontinuity
        if self._sound_breaks:
            packet = replace(packet, discontinuity=True)
        self._sound_breaks &= not worker.send(PacketFrame(SOURCE_LANE, packet))

    def give_picture(self, packet: Packet, worker: Takes, now: float, *, first: bool) -> None:
        """One more picture, if it keeps up. ``first``: it has seen none so far."""
        if packet.discontinuity:
            self._breaks = self._waits_for_key = True
        if self._waits_for_key and not packet.keyframe:
            return
        if self._breaks:
            packet = replace(packet, discontinuity=True)
        if self._breaks or first:
            self._sent = self._done = packet.dts  # what it has not seen yet is no lag
        self._fed = now
        # By what went to it, not by the clock: while pictures are skipped it catches up.
        skipped = not first and self.load.skips(now, self._sent - self._done, keyframe=packet.keyframe)
        # B-frames that are shown before a picture that it has are given all the same: none is to be missing in between.
        skipped = skipped and (self._waits_for_key or packet.pts > self._shown)
        if skipped or not worker.send(PacketFrame(SOURCE_LANE, packet)):
            self._waits_for_key = True
            return
        self._shown = packet.pts if packet.keyframe else max(self._shown, packet.pts)
        self._sent = packet.dts
        self._breaks = self._waits_for_key = False

    def on_word(self, now: float) -> None:
        """The process said something."""
        self._heard = now

    def on_progress(self, dts: int) -> None:
        """It has come to the picture at ``dts`` (ms)."""
        self._done = dts

    def hangs(self, now: float, *, looking: bool) -> bool:
        """Whether it says nothing, though it should. ``looking``: it has not seen the first picture yet."""
        return self._fed - self._heard > BETWEEN_WORDS and now - self._heard > (4 * STALL if looking else STALL)
