"""``/live/NAME/thumbnail.jpg``: the last keyframe of what is live, as a JPEG image, decoded when somebody asks."""

import asyncio
import enum
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Protocol

from mediaserver.hub.stream import LiveStream
from mediaserver.packaging.answer import Answer, Missing, Ready, TooFar, Wait
from mediaserver.packaging.stills import ORDER_PATIENCE, Stills, UndecodableError, WorkerLostError
from mediaserver.packaging.window import Signal
from protocols.media import MediaKind, Metadata, Packet, Track

log = logging.getLogger(__name__)

RESOURCE = "thumbnail.jpg"
#: The widths that are made, in pixels; ``?width=`` is met by the next larger one. Heights follow from the picture.
WIDTHS = (160, 320, 640, 1280)
#: Without ``?width=``.
DEFAULT_WIDTH = 640

#: Seconds between two decodes of one stream at the least; for as long a cache may keep the image.
LEAST_INTERVAL = 1.0
#: Seconds that a request is held: for a keyframe, for its turn, for the image.
PATIENCE = ORDER_PATIENCE + 1.0
#: Seconds without a request after which a stream's images are forgotten, and the worker is ended.
IDLE = 60.0
#: A stream whose keyframes took the worker down so often gets no images for so many seconds.
MAX_FAULTS, PENALTY = 2, 60.0
#: Streams whose images are kept, and the bytes of all images together.
MAX_STREAMS = 1000
MAX_BYTES = 32 << 20


class Streams(Protocol):
    """Where to find what is live: the hub."""

    def find(self, name: str) -> LiveStream | None: ...


class _Phase(enum.Enum):
    """RESTING: nothing is under way. EXPECTING: somebody waits for a keyframe. ORDERED: the worker has it, or will."""

    RESTING = "resting"
    EXPECTING = "expecting"
    ORDERED = "ordered"


_TRANSITIONS = {
    _Phase.RESTING: frozenset({_Phase.EXPECTING, _Phase.ORDERED}),
    _Phase.EXPECTING: frozenset({_Phase.RESTING, _Phase.ORDERED}),
    _Phase.ORDERED: frozenset({_Phase.RESTING}),
}

#: What tells the keyframes of one stream apart: its time, which never goes back, and its size.
_Key = tuple[int, int]


class _Entry:
    """A stream that was asked for. A Subscriber of it while EXPECTING, and only then."""

    def __init__(self, stream: LiveStream) -> None:
        self.stream = stream
        self.phase = _Phase.RESTING
        self.signal = Signal()
        self.asked = 0.0
        # When each width was asked for last: those that are in use are made together, of one decode.
        self.widths: dict[int, float] = {}
        self.images: dict[int, Ready] = {}
        self.shown: _Key | None = None
        self.failed: _Key | None = None
        self.ordered_at = 0.0
        self.made_at = 0.0
        # Kept from the moment that it is waited for until it is made: it may leave the GOP cache before.
        self.keyframe: Packet | None = None
        self.faults = 0
        self.rests_until = 0.0

    @property
    def nbytes(self) -> int:
        return sum(len(image.body) for image in self.images.values())

    def move_to(self, phase: _Phase) -> None:
        """The one place where the phase changes. RESTING wakes who waits: they ask again."""
        if phase not in _TRANSITIONS[self.phase]:
            raise ValueError(f"{self.phase.value} cannot become {phase.value}")
        if self.phase is _Phase.EXPECTING:
            self.stream.unsubscribe(self)
        elif self.phase is _Phase.ORDERED:
            self.keyframe = None
        self.phase = phase
        if phase is _Phase.EXPECTING:
            self.stream.subscribe(self, replay=False)
        elif phase is _Phase.RESTING:
            self.signal.fire()

    # -- Subscriber -----------------------------------------------------------------------------------------------------

    def on_packet(self, packet: Packet) -> None:
        if packet.keyframe and packet.kind is MediaKind.VIDEO:
            self.keyframe = packet
            self.move_to(_Phase.RESTING)

    def on_end(self) -> None:
        self.move_to(_Phase.RESTING)

    def on_track(self, track: Track) -> None: ...

    def on_metadata(self, metadata: Metadata) -> None: ...

    def on_away(self) -> None: ...


class Thumbnails:
    """The images of all streams, and the one worker that makes them: it starts with the first request and ends when
    nobody asks. ``now`` is any steady clock's."""

    def __init__(
        self,
        streams: Streams,
        spawn: Callable[[Coroutine[None, None, None]], "asyncio.Task[None]"],
        stills: Callable[[], Stills] = Stills,
    ) -> None:
        self._streams = streams
        self._spawn = spawn
        self._new_worker = stills
        self._worker: Stills | None = None
        self._task: asyncio.Task[None] | None = None
        self._entries: dict[str, _Entry] = {}
        # Whose turn it is; each entry at most once.
        self._queue: deque[_Entry] = deque()
        self._ordered_at = 0.0
        self._closed = False

    # -- questions ------------------------------------------------------------------------------------------------------

    def answer(self, name: str, resource: str, query: Mapping[str, str], now: float) -> Answer:
        """What to say to a request for ``/live/{name}/{resource}``. What is not live, or shows nothing, leaves no state."""
        stream = self._streams.find(name)
        if resource != RESOURCE or stream is None or self._closed or MediaKind.VIDEO not in stream.tracks:
            return Missing()
        width = read_width(query)
        if width is None:
            return TooFar("width is a number of pixels, such as 320")
        entry = self._entry(stream, now)
        if entry is None:
            # Nobody is turned away for good: there may be room when he asks again.
            return Wait(Signal(), PATIENCE)
        entry.asked = entry.widths[width] = now
        return self._image(entry, width, now)

    def _image(self, entry: _Entry, width: int, now: float) -> Answer:
        image, keyframe = entry.images.get(width), last_keyframe(entry.stream) or entry.keyframe
        if keyframe is None:
            # The stream has only begun, or outgrew its GOP cache.
            if entry.phase is _Phase.RESTING:
                entry.move_to(_Phase.EXPECTING)
            return image or Wait(entry.signal, PATIENCE)
        key = _key(keyframe)
        if image is not None and (key == entry.shown or now - entry.made_at < LEAST_INTERVAL):
            return image
        if entry.phase is not _Phase.ORDERED:
            soon = entry.failed is not None and now - entry.ordered_at < LEAST_INTERVAL
            if soon or key == entry.failed or now < entry.rests_until:
                return image or Missing()
            self._order(entry, keyframe, now)
        return Wait(entry.signal, PATIENCE, None if image is None else lambda: image)

    def _entry(self, stream: LiveStream, now: float) -> _Entry | None:
        entry = self._entries.get(stream.name)
        if entry is not None and entry.stream is stream:
            return entry
        self._forget(stream.name)
        if len(self._entries) >= MAX_STREAMS:
            idle = [name for name, known in self._entries.items() if known.phase is _Phase.RESTING]
            if not idle:
                return None
            self._forget(min(idle, key=lambda name: self._entries[name].asked))
        entry = self._entries[stream.name] = _Entry(stream)
        # The first order of a stream never comes too soon.
        entry.made_at = entry.ordered_at = now - LEAST_INTERVAL
        return entry

    # -- making ---------------------------------------------------------------------------------------------------------

    def _order(self, entry: _Entry, keyframe: Packet, now: float) -> None:
        entry.move_to(_Phase.ORDERED)
        entry.ordered_at = self._ordered_at = now
        entry.keyframe = keyframe
        self._queue.append(entry)
        if self._task is None:
            self._task = self._spawn(self._work())

    async def _work(self) -> None:
        """One order after another, until there are none."""
        try:
            while self._queue:
                entry = self._queue.popleft()
                try:
                    # Who asked may have left before his turn came.
                    if len(entry.signal):
                        await self._make(entry)
                finally:
                    entry.move_to(_Phase.RESTING)
        finally:
            self._task = None

    async def _make(self, entry: _Entry) -> None:
        stream = entry.stream
        track, keyframe = stream.tracks.get(MediaKind.VIDEO), last_keyframe(stream) or entry.keyframe
        if track is None or keyframe is None:
            return
        key, ordered_at = _key(keyframe), entry.ordered_at
        widths = [width for width, asked in entry.widths.items() if entry.asked - asked < IDLE]
        facts = {**stream.facts(), "codec": track.codec.value}
        try:
            worker = await self._running()
            images = await worker.make(track, keyframe, widths)
        except UndecodableError as error:
            entry.failed = key
            log.info("keyframe_not_decoded", extra={"facts": {**facts, "reason": str(error)}})
        except (WorkerLostError, OSError) as error:
            entry.faults += 1
            if entry.faults >= MAX_FAULTS:
                entry.failed, entry.faults, entry.rests_until = key, 0, ordered_at + PENALTY
            log.warning("stills_worker_lost", extra={"facts": {**facts, "reason": str(error)}})
        else:
            entry.shown, entry.made_at, entry.failed, entry.faults = key, ordered_at, None, 0
            entry.images = {width: Ready(image, "image/jpeg", LEAST_INTERVAL) for width, image in images.items()}
            self._fit()

    async def _running(self) -> Stills:
        """The worker; started, if there is none."""
        worker = self._worker
        if worker is None or worker.gone:
            # Ours before it is there: a server that stops does not wait for that.
            worker = self._worker = self._new_worker()
            try:
                await worker.start()
            except (OSError, WorkerLostError):
                self._worker = None
                raise
        if self._closed:
            await worker.close()
            raise WorkerLostError("the server is stopping")
        return worker

    def _fit(self) -> None:
        """Forget images until the rest fits, the oldest first."""
        total = sum(entry.nbytes for entry in self._entries.values())
        for entry in sorted(self._entries.values(), key=lambda entry: entry.made_at) if total > MAX_BYTES else ():
            total -= entry.nbytes
            entry.images = {}
            if total <= MAX_BYTES:
                break

    # -- life -----------------------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Forget what nobody asks for and what is over; end a worker that has had nothing to do. Every second or so."""
        for name, entry in list(self._entries.items()):
            if now - entry.asked > IDLE or self._streams.find(name) is not entry.stream:
                self._forget(name)
        if self._worker is not None and self._task is None and now - self._ordered_at > IDLE:
            worker, self._worker = self._worker, None
            self._spawn(worker.close())

    async def close(self) -> None:
        """End the worker; nothing is answered any more."""
        self._closed = True
        task = self._task
        if self._worker is not None:
            await self._worker.close()
        if task is not None:
            await asyncio.wait((task,))

    def _forget(self, name: str) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None and entry.phase is _Phase.EXPECTING:
            entry.move_to(_Phase.RESTING)

    def __len__(self) -> int:
        return len(self._entries)


def read_width(query: Mapping[str, str]) -> int | None:
    """The width of ``WIDTHS`` that ``?width=`` asks for; None if that is no number of pixels."""
    asked = query.get("width", str(DEFAULT_WIDTH))
    if not (asked.isascii() and asked.isdecimal() and len(asked) <= 5 and int(asked)):
        return None
    return next((width for width in WIDTHS if width >= int(asked)), WIDTHS[-1])


def last_keyframe(stream: LiveStream) -> Packet | None:
    """The keyframe that the GOP cache begins with, if there is one."""
    first = next(iter(stream.gop), None)
    return first if first is not None and first.keyframe and first.kind is MediaKind.VIDEO else None


def _key(keyframe: Packet) -> _Key:
    return keyframe.dts, len(keyframe.body)
