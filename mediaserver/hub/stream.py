"""LiveStream: a name that is being published now, and everybody who receives it."""

import enum
import logging
from functools import lru_cache

from mediaserver.hub.gop import GopCache
from mediaserver.hub.meter import Meter
from mediaserver.hub.session import Session
from mediaserver.hub.subscriber import Subscriber
from mediaserver.ports import PublishGrant, Wire
from mediaserver.snapshot import StreamSnapshot, TrackSnapshot
from protocols import codec
from protocols.errors import ProtocolError
from protocols.media import MediaKind, Metadata, Packet, Track
from protocols.timebase import Timeline

log = logging.getLogger(__name__)

#: Milliseconds after which no keyframe is waited for any more: there are encoders that never set another one.
LONGEST_WAIT = 30_000
_VIDEO = MediaKind.VIDEO


class StreamState(enum.Enum):
    """LIVE: somebody publishes. AWAY: the publisher left, the grace period runs. ENDED: over for good."""

    LIVE = "live"
    AWAY = "away"
    ENDED = "ended"


#: What may follow what; an absent key is the error.
TRANSITIONS: dict[StreamState, frozenset[StreamState]] = {
    StreamState.LIVE: frozenset({StreamState.AWAY, StreamState.ENDED}),
    StreamState.AWAY: frozenset({StreamState.LIVE, StreamState.ENDED}),
}


class LiveStream:
    """One name being published. Written to by its Publisher, read by its Subscribers, all on one event loop."""

    def __init__(self, name: str, gop: GopCache, since: float, grant: PublishGrant | None = None) -> None:
        self.name = name
        self.grant = grant if grant is not None else PublishGrant(name)
        # What is made of it, by rung; and what it is made of, if it is a rendition itself.
        self.renditions: dict[str, LiveStream] = {}
        self.source: LiveStream | None = None
        # A rendition that comes later than its source: its last packets do too, and only then it is away or over.
        self.trails = False
        self.since = since
        #: The session of its publisher, or of the last one.
        self.published_by = ""
        self.gop = gop
        self.state = StreamState.LIVE
        self.tracks: dict[MediaKind, Track] = {}
        self.metadata: Metadata | None = None
        self.timeline = Timeline()
        #: The publisher is new: until its first keyframe, its pictures lean on what nobody has.
        self.awaits_keyframe = True
        self._first_left_out: int | None = None  # the dts of the first of those, and whether one of them was a new beginning
        self._break_left_out = False
        self.subscribers: tuple[Subscriber, ...] = ()
        self.meter = Meter()
        self.frames = 0
        self.left_at = 0.0
        # What former publishers of it sent; the present one's is in its session.
        self.bytes_before = 0
        self.discontinuities = 0
        # To its players with a connection, those who have left included: what they were sent, and what was withheld from them.
        self.sent_packets = 0
        self.dropped_packets = 0

    # -- receiving ------------------------------------------------------------------------------------------------

    def subscribe(self, subscriber: Subscriber, *, replay: bool = True, whole: bool = False) -> None:
        """Replay the present to ``subscriber`` (see the port), then push everything that follows. ``whole``: of a rendition, from
        the last keyframe on that its source has too."""
        self.subscribers = (*self.subscribers, subscriber)
        if not replay:
            return
        for track in self.tracks.values():
            subscriber.on_track(track)
        if self.metadata is not None:
            subscriber.on_metadata(self.metadata)
        for packet in self.gop.whole() if whole else self.gop:
            subscriber.on_packet(packet)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Push nothing more. Harmless twice."""
        self.subscribers = tuple(s for s in self.subscribers if s is not subscriber)

    # -- publishing (the Publisher's side) ---------------------------------------------------------------------------

    def write(self, packet: Packet) -> None:
        """Pass one packet on. Its ``dts`` arrives as the encoder's 32-bit clock and leaves on the stream's own."""
        timeline = self.timeline
        packet.dts = timeline.place(packet.kind, packet.dts)
        if timeline.discontinuity:
            packet.discontinuity = True
            self.discontinuities += 1
        if packet.kind is _VIDEO:
            self.frames += 1
            if self.awaits_keyframe and self._leaves_out(packet):
                return
        self.gop.append(packet)
        for subscriber in self.subscribers:
            subscriber.on_packet(packet)

    def _leaves_out(self, packet: Packet) -> bool:
        """Whether a picture is for nobody, since a new publisher has sent no keyframe so far. What was new with it is so with the
        first one that is for all."""
        if self._first_left_out is None:
            self._first_left_out = packet.dts
        if not packet.keyframe and packet.dts - self._first_left_out < LONGEST_WAIT:
            self._break_left_out |= packet.discontinuity
            return True
        packet.discontinuity |= self._break_left_out
        self.begin(awaits_keyframe=False)
        return False

    def begin(self, *, awaits_keyframe: bool = True) -> None:
        """A publisher begins, or goes on."""
        self.awaits_keyframe, self._first_left_out, self._break_left_out = awaits_keyframe, None, False

    def pass_on(self, packet: Packet) -> None:
        """Pass on a packet that is on the stream's own clock already: a rendition's, which runs on its source's."""
        self.bytes_before += len(packet.body)
        own = False
        if packet.kind is _VIDEO:
            self.frames += 1
            if packet.keyframe and self.source is not None:
                own = not self.source.gop.had_keyframe(packet.pts)
        self.gop.append(packet, own=own)
        for subscriber in self.subscribers:
            subscriber.on_packet(packet)

    def write_track(self, track: Track) -> None:
        """Declare a track, or change its parameters; the same again is nothing new."""
        if self.tracks.get(track.kind) == track:
            return
        if track.kind in self.tracks:
            self.gop.forget(track.kind)
        self.tracks[track.kind] = track
        for subscriber in self.subscribers:
            subscriber.on_track(track)

    def write_metadata(self, metadata: Metadata) -> None:
        """Pass a description on."""
        self.metadata = metadata
        for subscriber in self.subscribers:
            subscriber.on_metadata(metadata)

    def move_to(self, state: StreamState) -> None:
        """The one place where the state changes; tells the subscribers."""
        if state not in TRANSITIONS.get(self.state, ()):
            raise ValueError(f"a stream that is {self.state.value} cannot become {state.value}")
        self.state = state
        for rendition in self.renditions.values():
            if not rendition.trails or state is StreamState.LIVE:
                rendition.follow()
        subscribers = self.subscribers
        if state is StreamState.ENDED:
            self.subscribers = ()
        for subscriber in subscribers:
            try:
                if state is StreamState.AWAY:
                    subscriber.on_away()
                elif state is StreamState.ENDED:
                    subscriber.on_end()
            except Exception:  # a bug in one room: the others, and the stream itself, would never end
                log.exception("subscriber_failed", extra={"facts": self.facts()})
        if state is StreamState.ENDED:
            # A stream and its renditions hold one another, until the collector comes.
            self.gop.clear()

    def follow(self) -> None:
        """A rendition becomes what its source is. For whoever makes one that ``trails``: when its last packet is out."""
        if self.source is not None and self.state not in (self.source.state, StreamState.ENDED):
            self.move_to(self.source.state)

    # -- looking ---------------------------------------------------------------------------------------------------

    def facts(self) -> dict[str, object]:
        """What a line in the log about it begins with: whose stream it is. A rendition is its source's."""
        return {"name": self.name, "session_id": (self.source or self).published_by}

    def snapshot(self, publisher: Session | None, sessions: list[Session]) -> StreamSnapshot:
        """The stream as plain values; ``sessions`` are those that play it."""
        players: dict[Wire, int] = {}
        for session in sessions:
            players[session.wire] = players.get(session.wire, 0) + 1
        return StreamSnapshot(
            name=self.name,
            publishing=self.state is StreamState.LIVE,
            since=self.since,
            bitrate=self.meter.bitrate,
            frame_rate=self.meter.frame_rate,
            bytes_in=self.bytes_before + (publisher.bytes_in - publisher.bytes_counted if publisher is not None else 0),
            tracks=tuple(describe(track) for track in self.tracks.values()),
            players=players,
            dropped_packets=self.dropped_packets,
            discontinuities=self.discontinuities,
            source="" if self.source is None else self.source.name,
            sent_packets=self.sent_packets,
            frames=self.frames,
        )


@lru_cache(maxsize=512)
def describe(track: Track) -> TrackSnapshot:
    """What can be said of ``track``; only its codec where its parameters cannot be parsed."""
    try:
        parameters = codec.parameters(track)
    except ProtocolError:
        return TrackSnapshot(codec=track.codec)
    if isinstance(parameters, codec.VideoParameters):
        return TrackSnapshot(codec=track.codec, width=parameters.width, height=parameters.height)
    return TrackSnapshot(codec=track.codec, sample_rate=parameters.sample_rate, channels=parameters.channels)
