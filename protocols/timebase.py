"""Clocks: exact conversion between time scales, and a publisher's 32-bit milliseconds on one clock that only runs forward."""

from protocols.media import MediaKind

#: A step forward of more than this, in ms, is a jump, unless the other kind of media confirms that so much time has gone by.
FORWARD_LIMIT = 10_000
#: But not one up to this, in ms, that comes right behind another of at least half its length: pictures so far apart.
REGULAR_LIMIT = 120_000
#: A step back of up to this, in ms, is held at the last timestamp; a longer one is a jump.
BACKWARD_LIMIT = 1_000
#: Packets at one timestamp before we believe that the clock stands still, and run on without it.
SAME_PACKETS = 16
#: Packets held because of a step back (some 5 s of sound) before it counts as a jump.
BACKWARD_PACKETS = 256
#: Between the last packet before a jump and the first after it, or two packets of a clock that stands still, in ms.
FRAME = 33

_HALF, _MASK = 1 << 31, (1 << 32) - 1
_NOWHERE = -(1 << 40)
_VIDEO = MediaKind.VIDEO


def rescale(value: int, from_scale: int, to_scale: int) -> int:
    """``value`` units of 1/from_scale s in units of 1/to_scale s: exact, halves rounded away from zero as av_rescale does."""
    doubled = 2 * value * to_scale
    return (doubled + from_scale) // (2 * from_scale) if value >= 0 else -((from_scale - doubled) // (2 * from_scale))


def _step(previous: int, value: int) -> int:
    """How far the low 32 bits of ``value`` lie from those of ``previous``, the shorter way round."""
    return ((value - previous + _HALF) & _MASK) - _HALF


class _Clock:
    """The raw clock of one kind of media, and where it lies on the stream's."""

    __slots__ = ("epoch", "held", "held_at", "offset", "out", "raw", "seen", "stride", "strode_to")

    def __init__(self) -> None:
        self.raw = _NOWHERE  # the last raw timestamp, or _NOWHERE when the next packet needs a closer look
        self.offset = 0  # from raw to the stream's clock
        self.seen: int | None = None  # the last raw timestamp and …
        self.out = -1  # … the last result, as of note()
        self.epoch = -1
        self.held = 0
        self.held_at: int | None = None
        self.stride = 0  # the last step beyond FORWARD_LIMIT, and where it led
        self.strode_to: int | None = None

    def note(self) -> None:
        # The fast path keeps ``raw`` alone; the rest of the story is written down when somebody asks for it.
        if self.raw != _NOWHERE:
            self.seen = self.raw
            self.out = self.raw + self.offset

    def strides(self, step: int, timestamp: int) -> bool:
        """Whether a step beyond FORWARD_LIMIT is what this kind does: the one before it was like it."""
        regular = self.strode_to == self.seen and step <= min(2 * self.stride, REGULAR_LIMIT)
        self.stride = step if step <= REGULAR_LIMIT else 0
        self.strode_to = timestamp
        return regular


class Timeline:
    """A stream's clock, in ms: survives jumps of the publisher's clock, and the publisher's return.

    Within a kind the result never goes back. A wrap at 2**32 continues. A step back of up to BACKWARD_LIMIT is held at the last
    timestamp until the clock has caught up; after SAME_PACKETS at one timestamp a kind follows the other kind's clock, or runs
    on by FRAME a packet. Anything beyond, or beyond FORWARD_LIMIT ahead (where steps up to REGULAR_LIMIT are not the rule: of
    pictures 15 s apart only the first step is a jump), is a jump: the packet lands FRAME after the latest one
    and an *epoch* begins. The first packet of each kind in an epoch says ``discontinuity``, so that audio and video count the
    same number of them.

    Both kinds share the anchor while their raw clocks are within FORWARD_LIMIT of each other. Where they are further apart, each
    has its own, and the kind that comes later begins where the other is.
    """

    __slots__ = ("_audio", "_epoch", "_landing", "_video", "discontinuity")

    def __init__(self) -> None:
        self.discontinuity = False
        self._video = _Clock()
        self._audio = _Clock()
        self._epoch = 0
        self._landing: int | None = None  # where the first packet of this epoch lands, if resume() said so

    def place(self, kind: MediaKind, timestamp: int) -> int:
        """Where a packet with the raw 32-bit ``timestamp`` lies on the stream's clock; sets ``discontinuity``."""
        clock = self._video if kind is _VIDEO else self._audio
        if 0 < timestamp - clock.raw <= FORWARD_LIMIT:
            clock.raw = timestamp
            self.discontinuity = False
            return timestamp + clock.offset
        return self._look(clock, self._audio if kind is _VIDEO else self._video, timestamp)

    def resume(self, gap: int) -> None:
        """Another publisher goes on: its first packet lands ``gap`` ms after the latest one, whatever its clock says."""
        for clock in (self._video, self._audio):
            clock.note()
            clock.raw, clock.seen = _NOWHERE, None
        latest = max(self._video.out, self._audio.out)
        if latest >= 0:
            self._epoch += 1
            self._landing = latest + gap

    def _look(self, clock: _Clock, other: _Clock, timestamp: int) -> int:
        """The way of a packet that does not simply follow the one before it."""
        clock.note()
        other.note()
        if clock.epoch == self._epoch:
            offset = self._own_offset(clock, other, timestamp)
            offset = self._shared_offset(clock, other, timestamp) if offset is None else offset
        else:
            # The other kind jumped: most likely this one did too, if by less than would show alone.
            offset = self._shared_offset(clock, other, timestamp)
            offset = self._own_offset(clock, other, timestamp) if offset is None else offset
        if offset is None:
            offset = self._jump(clock, other, timestamp)
        self.discontinuity = clock.epoch != self._epoch != 0
        out = max(timestamp + offset, clock.out, 0)
        clock.epoch = self._epoch
        clock.offset = offset
        clock.raw = out - offset
        return out

    def _own_offset(self, clock: _Clock, other: _Clock, timestamp: int) -> int | None:
        """The offset by which this kind's clock goes on, or None if it jumped."""
        if clock.seen is None:
            return None
        step = _step(clock.seen, timestamp)
        out = clock.out + step
        if 0 < step <= FORWARD_LIMIT:
            return out - timestamp
        if step > 0:
            # Sound that was silent for a minute comes back a minute later: no jump if the pictures went on meanwhile.
            confirmed = other.epoch == self._epoch and abs(out - other.out) <= FORWARD_LIMIT
            regular = clock.strides(step, timestamp)
            return out - timestamp if confirmed or regular else None
        return self._hold(clock, other, timestamp, step) if step >= -BACKWARD_LIMIT else None

    def _hold(self, clock: _Clock, other: _Clock, timestamp: int, step: int) -> int:
        """The offset for a step of none, or back: time stands still, but not for ever."""
        if clock.held_at != clock.seen:
            clock.held_at, clock.held = clock.seen, 0
        clock.held += 1
        if step < 0 and clock.held > BACKWARD_PACKETS:
            return self._jump(clock, other, timestamp)
        if step < 0 or clock.held <= SAME_PACKETS:
            return clock.out + step - timestamp
        moving = other.seen is not None and other.held_at != other.seen
        return (max(clock.out, other.out) if moving else clock.out + FRAME) - timestamp

    def _shared_offset(self, clock: _Clock, other: _Clock, timestamp: int) -> int | None:
        """The offset that keeps this kind in step with the other, or None if there is no telling."""
        if other.epoch != self._epoch or other.seen is None:
            return None
        apart = _step(other.seen, timestamp)
        out = other.out + apart
        if abs(apart) > FORWARD_LIMIT or clock.out - out > BACKWARD_LIMIT:
            return None
        return out - timestamp

    def _jump(self, clock: _Clock, other: _Clock, timestamp: int) -> int:
        """The offset for the first packet of a clock that has nothing to do with what came before."""
        latest = max(clock.out, other.out)
        if latest < 0:
            return 0
        if self._landing is not None:
            out, self._landing = self._landing, None
        elif clock.epoch != self._epoch:
            out = latest
        else:
            self._epoch += 1
            other.raw = _NOWHERE
            out = latest + FRAME
        return out - timestamp
