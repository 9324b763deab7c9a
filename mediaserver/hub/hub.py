"""The hub: which names are live, who publishes them, and who waits for one to come."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from mediaserver.errors import NameTaken, Refused
from mediaserver.events import PublishEnded, PublisherLeft, PublishStarted
from mediaserver.hub.entrance import Entrance
from mediaserver.hub.gop import GopCache
from mediaserver.hub.meter import Meter
from mediaserver.hub.session import Session
from mediaserver.hub.stream import LiveStream, StreamState
from mediaserver.ports import EventSink, PublishGrant, rendition_name
from protocols.media import Metadata, Packet, Track

log = logging.getLogger(__name__)

TAKEN_OVER = "taken over by another publisher"
#: Milliseconds between the last packet of a publisher and the first of the next one, or of a slate, at least.
FRAME = 33
#: No picture that waits for others is shown later (ms) than so: a broken one would carry everybody's clock away with it.
MOST_OVERHANG = 2_000


def overhang(stream: LiveStream) -> int:
    """How far behind the last packet, in ms, the next picture must be so that it is not shown before one that was there."""
    last = max((packet.dts for packet in stream.gop), default=0)
    return FRAME + min(max((packet.pts - last for packet in stream.gop), default=0), MOST_OVERHANG)


@dataclass(frozen=True, slots=True)
class HubLimits:
    """How long a name outlives its publisher (seconds), who wins a name, what a GOP may weigh, and how many names there are."""

    reconnect_grace: float
    takeover: bool
    gop_max_bytes: int
    gop_max_ms: int
    max_streams: int


class Publisher:
    """The right to write to one LiveStream, until closed. One at a time per name. ``stand_in``: until anybody else comes."""

    def __init__(
        self, hub: "Hub", stream: LiveStream, session: Session, on_kick: Callable[[str], None], *, stand_in: bool = False
    ) -> None:
        self.stream = stream
        self.session = session
        self.on_kick = on_kick
        self.stand_in = stand_in
        self.closed = False
        #: Others stand in for it, and nothing has come of it for long: whoever else comes has its place.
        self.gives_way = False
        #: When it left, Unix time.
        self.left_at = 0.0
        self._hub = hub
        # Bound here, because the hot path calls them 20 000 times a second.
        self.write: Callable[[Packet], None] = stream.write
        self.write_track: Callable[[Track], None] = stream.write_track
        self.write_metadata: Callable[[Metadata], None] = stream.write_metadata

    def close(self, reason: str, silent_for: float = 0.0) -> None:
        """Unpublish. The name lives on for the grace period. ``silent_for``: seconds since its last packet. Harmless twice."""
        if not self.closed:
            self.closed = True
            self._hub.unpublish(self, reason, silent_for)
            self.session.publishing = False  # where others stood in for it, too

    def pause(self, reason: str, silent_for: float) -> None:
        """Let others stand in, as nothing has come for so many seconds. Its session stays a publisher's."""
        self._hub.unpublish(self, reason, silent_for)
        self.session.publishing = True

    def go_on(self) -> None:
        """Publish again after a ``pause``. Raises Refused when the name is another's by now, or the stream is over."""
        self._hub.go_on(self)


class Hub:
    """All LiveStreams of this process, by name."""

    def __init__(self, limits: HubLimits, sink: EventSink) -> None:
        self.limits = limits
        self.streams: dict[str, LiveStream] = {}
        self.publishers: dict[str, Publisher] = {}
        self._sink = sink
        # Those for whom others stand in yet, though they are there; there is none without a stand-in.
        self._newcomers: dict[str, Entrance] = {}
        self._away: dict[str, tuple[asyncio.TimerHandle, Publisher]] = {}
        self._waiters: dict[str, set[asyncio.Future[LiveStream]]] = {}
        self._on_publish: list[Callable[[LiveStream], object]] = []
        self._on_lost: list[Callable[[LiveStream], object]] = []
        self._stopping = ""

    def find(self, name: str) -> LiveStream | None:
        """The stream of that name if it is live or within its grace period."""
        return self.streams.get(name)

    def on_publish(self, callback: Callable[[LiveStream], object]) -> None:
        """Call ``callback`` with every stream that begins (not with one whose publisher returns)."""
        self._on_publish.append(callback)

    def on_lost(self, callback: Callable[[LiveStream], object]) -> None:
        """Call ``callback`` with every stream whose publisher has just left, before players are told: it may ``stand_in``."""
        self._on_lost.append(callback)

    async def wait_for(self, name: str, seconds: float) -> LiveStream | None:
        """The stream of that name, waiting up to so many seconds for it to begin."""
        stream = self.find(name)
        if stream is not None or seconds <= 0:
            return stream
        future = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(name, set()).add(future)
        try:
            begun: LiveStream = await asyncio.wait_for(future, seconds)
        except TimeoutError:
            return None
        else:
            # It may be over again before we were called: whoever subscribed then would never hear of its end.
            return begun if begun.state is not StreamState.ENDED else None
        finally:
            waiting = self._waiters.get(name)
            if waiting is not None:
                waiting.discard(future)
                if not waiting:
                    del self._waiters[name]

    def publish(self, grant: PublishGrant, session: Session, on_kick: Callable[[str], None]) -> Publisher:
        """Begin to publish ``grant.name``, or return to it within the grace period (as the first grant said). Where somebody
        stands in, that one goes on until there is something that a player can begin with.

        ``on_kick`` is called with a reason if another publisher takes the name over or the stream is ended from
        outside. Raises NameTaken, or Refused when there are too many streams, or none any more.
        """
        if self._stopping:
            raise Refused(self._stopping)
        name = grant.name
        present = self.publishers.get(name)
        stream = self.streams.get(name)
        if stream is not None and stream.source is not None:
            raise NameTaken(f"{name} is a rendition of {stream.source.name}")
        if present is not None:
            if present.stand_in:
                return self._let_wait(present.stream, session, on_kick)
            if not self.limits.takeover:
                raise NameTaken(f"{name} is being published already")
            # Players go on even where nobody would be waited for.
            self._step_down(present, TAKEN_OVER)
            present.stream.move_to(StreamState.AWAY)
        if stream is None and sum(other.source is None for other in self.streams.values()) >= self.limits.max_streams:
            raise Refused("too many streams")
        resumed = stream is not None
        if stream is None:
            stream = self.streams[name] = self._new_stream(grant)
        else:
            self._resume(stream)
        publisher = self._admit(Publisher(self, stream, session, on_kick))
        if present is not None:
            present.on_kick(TAKEN_OVER)
        try:
            self._announce(stream, session, resumed=resumed)
        except BaseException:
            # Whoever was told fails: nobody holds the publisher then, and the name must not stay taken.
            publisher.close("failed to begin")
            raise
        return publisher

    def _let_wait(self, stream: LiveStream, session: Session, on_kick: Callable[[str], None]) -> Publisher:
        """A publisher for whom another stands in until it has something to begin with."""
        name, waiting = stream.name, self._newcomers.get(stream.name)
        if waiting is not None:
            if not self.limits.takeover and not waiting.publisher.gives_way:
                raise NameTaken(f"{name} is being published already")
            del self._newcomers[name]
            waiting.end(TAKEN_OVER)
        publisher = Publisher(self, stream, session, on_kick)
        session.name, session.publishing = name, True
        self._newcomers[name] = Entrance(publisher, {})
        return publisher

    def newcomer(self, name: str) -> Publisher | None:
        """Who publishes ``name`` but for whom another stands in until it has something to begin with."""
        waiting = self._newcomers.get(name)
        return None if waiting is None else waiting.publisher

    def stand_in(self, stream: LiveStream, session: Session, on_kick: Callable[[str], None]) -> Publisher:
        """Write to ``stream``, whose publisher has just left (see ``on_lost``), until it is back or another one comes.

        Players take it for the same stream.
        """
        self._resume(stream)
        publisher = self._admit(Publisher(self, stream, session, on_kick, stand_in=True))
        self._announce(stream, session, resumed=True)
        return publisher

    def go_on(self, publisher: Publisher) -> None:
        """``publisher`` is back, see there; or it is a newcomer that begins."""
        stream = publisher.stream
        present, waiting = self.publishers.get(stream.name), self._newcomers.get(stream.name)
        if publisher.closed or self.streams.get(stream.name) is not stream:
            raise Refused("the stream is over")
        other = waiting if waiting is not None and waiting.publisher is not publisher else None
        if (present is not None and not present.stand_in) or (other is not None and not other.publisher.gives_way):
            raise NameTaken(f"{stream.name} is being published already")
        self._newcomers.pop(stream.name, None)
        if other is not None:
            other.end(TAKEN_OVER)
        if present is not None:
            self._step_down(present, TAKEN_OVER)
        self._resume(stream)
        self._admit(publisher)
        if present is not None:
            present.on_kick(TAKEN_OVER)
        self._announce(stream, publisher.session, resumed=True)

    def _admit(self, publisher: Publisher) -> Publisher:
        session = publisher.session
        session.name, session.publishing = publisher.stream.name, True
        self.publishers[session.name] = publisher
        publisher.stream.published_by = session.id
        return publisher

    def add_rendition(self, source: LiveStream, rung: str) -> LiveStream | None:
        """A stream that plays as a rendition of ``source``, with its clock and its states, until that ends or it is removed.
        None where the name is taken, or ``source`` is over."""
        name = rendition_name(source.name, rung)
        if name in self.streams or source.state is StreamState.ENDED:
            return None
        stream = self._new_stream(PublishGrant(name))
        stream.source, stream.state = source, source.state
        self.streams[name] = source.renditions[rung] = stream
        self._wake(stream)
        return stream

    def remove_rendition(self, stream: LiveStream) -> None:
        """``stream`` is made no more. Harmless twice."""
        source = stream.source
        if source is not None and self.streams.get(stream.name) is stream:
            del self.streams[stream.name]
            source.renditions = {rung: other for rung, other in source.renditions.items() if other is not stream}
            if stream.state is StreamState.LIVE:
                stream.move_to(StreamState.AWAY)
            stream.move_to(StreamState.ENDED)

    def _new_stream(self, grant: PublishGrant) -> LiveStream:
        gop = GopCache(self.limits.gop_max_bytes, self.limits.gop_max_ms)
        return LiveStream(grant.name, gop, time.time(), grant)

    def _announce(self, stream: LiveStream, session: Session, *, resumed: bool) -> None:
        """Tell of a publisher that begins; of a stream that begins, those who wait for it too."""
        self._sink.emit(
            PublishStarted(
                name=stream.name,
                session_id=session.id,
                at=time.time() if resumed else stream.since,
                wire=session.wire,
                address=session.address,
                encoder=session.agent,
                resumed=resumed,
            )
        )
        if not resumed:
            for callback in self._on_publish:
                callback(stream)
            self._wake(stream)

    def _wake(self, stream: LiveStream) -> None:
        """Tell those who wait for a stream of its name."""
        for future in self._waiters.pop(stream.name, set()):
            if not future.done():
                future.set_result(stream)

    def unpublish(self, publisher: Publisher, reason: str, silent_for: float = 0.0) -> None:
        """The publisher's end. Unless somebody stands in, the stream is AWAY for the grace period, then ENDED."""
        stream = publisher.stream
        waiting = self._newcomers.get(stream.name)
        if waiting is not None and waiting.publisher is publisher:
            del self._newcomers[stream.name]
            waiting.close()
            return
        if self.publishers.get(stream.name) is not publisher:
            return
        self._step_down(publisher, reason)
        stream.left_at -= silent_for
        if stream.tracks and not publisher.stand_in:
            for callback in self._on_lost:
                callback(stream)
        if waiting is not None:
            waiting.enter()
        if stream.name not in self.publishers:
            self._send_away(publisher, reason)

    def _send_away(self, publisher: Publisher, reason: str) -> None:
        """Nobody publishes any more: the grace period begins."""
        name = publisher.stream.name
        publisher.stream.move_to(StreamState.AWAY)
        # A name under which nothing came has nothing to wait for.
        if self.limits.reconnect_grace > 0 and publisher.stream.tracks:
            timer = asyncio.get_running_loop().call_later(self.limits.reconnect_grace, self._end, publisher, reason)
            self._away[name] = timer, publisher
        else:
            self._end(publisher, reason)

    def end(self, name: str, reason: str) -> None:
        """End the stream now, without a grace period; its publisher is kicked. Harmless if there is none."""
        publisher, waiting = self.publishers.get(name), self._newcomers.pop(name, None)
        if waiting is not None:
            waiting.end(reason)
        if publisher is not None:
            self._step_down(publisher, reason)
            self._send_away(publisher, reason)
            publisher.on_kick(reason)
        if name in self._away:
            timer, publisher = self._away[name]
            timer.cancel()
            self._end(publisher, reason)

    def end_all(self, reason: str) -> None:
        """The server stops: every publisher is kicked, every stream ends now, and none begins."""
        self._stopping = reason
        for name, stream in tuple(self.streams.items()):
            try:
                self.end(name, reason)
            except Exception:  # a bug with one stream keeps none of the others
                log.exception("stream_failed", extra={"facts": stream.facts()})

    def sample(self, now: float) -> None:
        """Measure how fast each stream comes in. To be called every second."""
        for publisher in self.publishers.values():
            publisher.stream.meter.sample(now, publisher.session.bytes_in, publisher.stream.frames)
            for rendition in publisher.stream.renditions.values():
                rendition.meter.sample(now, rendition.bytes_before, rendition.frames)

    def _step_down(self, publisher: Publisher, reason: str) -> None:
        stream, session = publisher.stream, publisher.session
        del self.publishers[stream.name]
        session.publishing = False
        stream.bytes_before += session.bytes_in - session.bytes_counted
        session.bytes_counted = session.bytes_in
        stream.meter = Meter()
        stream.left_at = time.monotonic()
        publisher.left_at = time.time()
        self._sink.emit(PublisherLeft(name=stream.name, session_id=session.id, at=publisher.left_at, reason=reason))

    def _resume(self, stream: LiveStream) -> None:
        if stream.name in self._away:
            timer, _ = self._away.pop(stream.name)
            timer.cancel()
        # At a takeover nobody has been away, nor where a slate comes or goes.
        gap = max(int((time.monotonic() - stream.left_at) * 1000), overhang(stream))
        if stream.state is StreamState.AWAY:
            stream.move_to(StreamState.LIVE)
        for each in (stream, *stream.renditions.values()):
            each.gop.clear()
        stream.begin()
        # Players' clocks went on while nobody published: so does the stream's.
        stream.timeline.resume(gap)

    def _end(self, publisher: Publisher, reason: str) -> None:
        stream = publisher.stream
        self._away.pop(stream.name, None)
        del self.streams[stream.name]
        for rendition in stream.renditions.values():
            del self.streams[rendition.name]
        stream.move_to(StreamState.ENDED)
        self._sink.emit(
            PublishEnded(
                name=stream.name,
                session_id=publisher.session.id,
                at=time.time(),
                reason=reason,
                bytes_in=stream.bytes_before,
                seconds=publisher.left_at - stream.since,
            )
        )
