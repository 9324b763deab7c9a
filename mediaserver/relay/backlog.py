"""What waits for one target: bounded in bytes and in time, dropped up to a keyframe, on a clock that never goes back."""

from collections import deque
from collections.abc import Iterator

from protocols.media import MediaKind, Metadata, Packet, Track

Word = Packet | Track | Metadata

_VIDEO = MediaKind.VIDEO


class Backlog:
    """A queue of a stream's words. What does not fit is dropped, and it goes on at a keyframe.

    ``max_ms`` bounds how far behind the newest packet the oldest lies. What was there at ``begin`` is exempt: a GOP that is
    replayed is old, not late. ``nbytes`` are those of all that waits.
    """

    __slots__ = ("_flowing", "_fresh", "_newest", "_skipping", "_video", "_words", "dropped", "max_bytes", "max_ms", "nbytes")

    def __init__(self, max_bytes: int, max_ms: int) -> None:
        self.max_bytes = max_bytes
        self.max_ms = max_ms
        self.nbytes = 0
        self.dropped = 0
        self._words: deque[Word] = deque()
        self._video = False
        self._skipping, self._flowing = True, False  # waits for a keyframe; has had one
        self._fresh: int | None = None  # the first dts that counts as late
        self._newest = 0

    def __len__(self) -> int:
        return len(self._words)

    def declare(self, word: Track | Metadata) -> None:
        """Decoder parameters or a description: never dropped, but for newer ones."""
        if isinstance(word, Track) and word.kind is _VIDEO:
            self._video = True
        # One that says the same thing anew, with no packet in between, takes the place of the one before.
        at = next((at for at, other in _trailing(self._words) if _subject(other) == _subject(word)), None)
        if at is not None:
            self.nbytes -= len(self._words[at].body)
            del self._words[at]
        self._words.append(word)
        self.nbytes += len(word.body)
        if self._fresh is not None and self.nbytes > self.max_bytes:
            self._make_room(self._newest)

    def append(self, packet: Packet) -> None:
        """One packet more, if it can be decoded with what is there."""
        if self._skipping:
            if not self._begins(packet):
                self.dropped += self._flowing
                return
            self._skipping, self._flowing = False, True
        self._words.append(packet)
        self.nbytes += len(packet.body)
        self._newest = max(self._newest, packet.dts)
        if self._fresh is not None and (self.nbytes > self.max_bytes or packet.dts - self._oldest(packet) > self.max_ms):
            self._make_room(packet.dts)

    def begun(self) -> None:
        """The replay is over: what comes now is live."""
        packets = [word.dts for word in self._words if isinstance(word, Packet)]
        self._fresh = max(packets, default=0)
        if self.nbytes > self.max_bytes:
            self._make_room(self._fresh)

    def take(self) -> Word:
        """The next word. Raises IndexError."""
        word = self._words.popleft()
        self.nbytes -= len(word.body)
        return word

    def _begins(self, packet: Packet) -> bool:
        """Whether a decoder can begin here: at a picture's keyframe, or anywhere in sound that has no pictures."""
        return packet.keyframe and (packet.kind is _VIDEO or not self._video)

    def _oldest(self, newest: Packet) -> int:
        oldest = next((word.dts for word in self._words if isinstance(word, Packet)), newest.dts)
        return oldest if self._fresh is None else max(oldest, self._fresh)

    def _make_room(self, now: int) -> None:
        """Drop up to the first keyframe behind which half of what is allowed remains; without one, all."""
        declared: dict[object, Track | Metadata] = {}
        while self._words:
            word = self._words[0]
            fits = self.nbytes <= self.max_bytes // 2
            if isinstance(word, Packet) and self._begins(word) and fits and now - word.dts <= self.max_ms // 2:
                break
            if isinstance(word, Packet):
                self.dropped += 1
            else:
                declared[_subject(word)] = word
            self.take()
        else:
            self._skipping = True
        self._words.extendleft(reversed(declared.values()))
        self.nbytes += sum(len(word.body) for word in declared.values())


def _subject(word: Track | Metadata) -> object:
    """What ``word`` is about: a newer one about the same makes it void."""
    return word.kind if isinstance(word, Track) else Metadata


def _trailing(words: deque[Word]) -> Iterator[tuple[int, Track | Metadata]]:
    """The words behind the last packet, the newest first, with their places."""
    for at in range(len(words) - 1, -1, -1):
        word = words[at]
        if isinstance(word, Packet):
            return
        yield at, word


class RelayClock:
    """A stream's clock as a target sees it: from 0 on, and always forward within a kind, whatever is sent once more.

    A GOP that is replayed after a loss was partly sent before; its pictures follow at steps of a millisecond until the clock
    has caught up with what the target has seen.
    """

    __slots__ = ("_last", "_zero")

    def __init__(self) -> None:
        self._zero: int | None = None
        self._last = dict.fromkeys(MediaKind, -1)

    def place(self, packet: Packet) -> int:
        """Milliseconds for ``packet``."""
        if self._zero is None:
            self._zero = packet.dts
        at = max(packet.dts - self._zero, self._last[packet.kind] + 1, 0)
        self._last[packet.kind] = at
        return at

    @property
    def now(self) -> int:
        """Where a sequence header stands: with what came last."""
        return max(*self._last.values(), 0)
