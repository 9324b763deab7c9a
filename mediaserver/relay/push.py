"""One connection to a target: it says who it is, is let in, and is sent a stream until one of the two has enough."""

import asyncio
import enum
from collections.abc import Sequence
from dataclasses import dataclass

from mediaserver.hub.stream import LiveStream, describe
from mediaserver.relay.acceptance import Acceptance, description, header_body, packet_body
from mediaserver.relay.address import RelayAddress
from mediaserver.relay.backlog import Backlog, RelayClock, Word
from mediaserver.transport.rtmp_client import BUFFER_BYTES, ClientConnection, Tls, Unreachable
from mediaserver.transport.targets import Target
from protocols.flv import AUDIO, VIDEO
from protocols.media import Codec, MediaKind, Metadata, Packet, Track
from protocols.rtmp.client import ClientSession
from protocols.rtmp.command import StatusCode
from protocols.rtmp.endpoint import WINDOW
from protocols.rtmp.enhanced import Capability, server_capabilities
from protocols.rtmp.events import CommandFailed, Connected, Event, ReconnectRequested, StatusReceived
from protocols.rtmp.message import SET_DATA_FRAME
from protocols.rtmp.states import StreamState

#: Bytes encoded in one turn of the loop: a GOP of megabytes that is replayed must not hold up the others.
TURN = 256 * 1024
#: Seconds after which the kernel gives up a connection that does not move. Much longer than ours: see ``Push.stalled``.
LIMBO = 300.0
#: The code for a name that somebody else publishes under now; a lost connection of our own may be that somebody. Some say it of
#: names that they do not like, and then use one of these words.
NAME_TAKEN = "NetStream.Publish.BadName"
_OCCUPIED = ("already", "in use", "is taken", "busy")
_DISLIKED = ("invalid", "unknown", "not found", "not exist", "denied", "unauthori", "forbidden", "expired", "not allowed")
#: Seconds within which a target that has taken the key and says no has looked at it again: nginx-rtmp says yes before it asks
#: its rules.
SECOND_THOUGHTS = 3.0
#: Seconds after which a target that has let us in, and has taken media until now, means it. Bytes alone are no sign: a kernel
#: takes them for a program that is about to close. Sooner, only the program's own word counts (RTMP's Acknowledgement).
TRIAL = 1.0
#: Seconds between two looks, beyond which this process was not there to see what the target took.
STANDSTILL = 2.0


class Outcome(enum.Enum):
    """How a connection ended, or why there was none.

    UNREACHABLE: nobody answered. LOST: it broke, or was closed. DISMISSED: closed by the target in place of an answer to the
    key, or right behind it, before it had taken media. TAKEN: somebody publishes there already. REFUSED: a no that is meant.
    UNFIT: the target does not take such a stream. MOVED: it is up, and the target asks to reconnect.
    """

    UNREACHABLE = "unreachable"
    LOST = "lost"
    DISMISSED = "dismissed"
    TAKEN = "taken"
    REFUSED = "refused"
    UNFIT = "unfit"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class Ending:
    """An Outcome, and the reason in words. ``tc_url``: where to go on, if the target moved; may be secret."""

    outcome: Outcome
    reason: str
    tc_url: str = ""


class Setback(Exception):
    """A connection that did not come about, or was lost while it was waited for."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.reason)
        self.ending = ending


class Push:
    """A Subscriber of the stream once ``publish`` is through, and the handler of its connection's events.

    ``flowing`` says that media goes out. ``stalled``: it was given up because the target took nothing; the connection still
    stands, as whoever is out of reach could not be told of its end.
    """

    def __init__(self, address: RelayAddress, stream: LiveStream, clock: RelayClock, backlog: Backlog) -> None:
        self.address = address
        self.backlog = backlog
        self.flowing = False
        self.acknowledged = False
        self.stalled = False
        self._stream = stream
        self._clock = clock
        session = ClientSession(
            address.app,
            address.tc_url,
            properties={**server_capabilities(), "capsEx": float(Capability.RECONNECT)},
        )
        self.session = session
        self.connection = ClientConnection(session, self, LIMBO)
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._answer: asyncio.Future[None] = loop.create_future()
        self._ending: asyncio.Future[Ending] = loop.create_future()
        self._next: Ending | None = None  # what happened after the target had asked to reconnect, before anybody heard of that
        self._acceptance = Acceptance(frozenset(), announced=False)
        self._presenting = False
        self._codecs: dict[MediaKind, Codec] = {}
        self._flush: asyncio.Handle | None = None
        self._began = 0, 0  # bytes sent, and bytes that the peer's kernel had acknowledged, when the target said go
        self._flows_since = 0.0
        self._trial: asyncio.TimerHandle | None = None
        self._tried = False  # see TRIAL
        self._moved = 0, 0.0  # what had been acknowledged at the last look, and since when
        self._looked = 0.0

    # -- opening ----------------------------------------------------------------------------------------------------

    async def reach(
        self,
        targets: Sequence[Target],
        *,
        reach_timeout: float,
        answer_timeout: float,
        tls: Tls | None,
        stay: bool = True,
    ) -> None:
        """Connect, and shake hands; and leave, if not to ``stay``. Raises Setback."""
        opening = self.connection.open(targets, reach_timeout=reach_timeout, answer_timeout=answer_timeout, tls=tls, stay=stay)
        try:
            await opening
        except Unreachable as error:
            raise Setback(Ending(Outcome.UNREACHABLE if error.silent else Outcome.LOST, error.reason)) from None

    async def introduce(self) -> None:
        """Wait for the target to accept connect; then it is known what it takes. Raises Setback."""
        await self._wait()
        self._check()

    async def publish(self) -> None:
        """Present the key, and let the stream flow once the target says go. Raises Setback."""
        self._check()
        self._answer = self._loop.create_future()
        self._presenting = True
        self.session.publish(self.address.key)
        self.connection.flush()
        await self._wait()
        self._presenting = False
        taken = self.connection.taken()
        self._began = self.connection.bytes_out, taken.acknowledged
        self._flows_since = self._loop.time()
        self._moved = taken.acknowledged, self._flows_since
        self._looked = self._flows_since
        self._trial = self._loop.call_later(TRIAL, self._try_out)
        self._begin()

    async def _wait(self) -> None:
        await asyncio.wait((self._answer, self._ending), return_when=asyncio.FIRST_COMPLETED)
        if self._ending.done():
            raise Setback(self._ending.result())

    def _check(self) -> None:
        if objection := self._acceptance.objection(self._stream.tracks.values()):
            raise Setback(Ending(Outcome.UNFIT, objection))

    def _begin(self) -> None:
        """The present of the stream: description, headers, and what there is since the last keyframe. Then what comes."""
        stream, backlog = self._stream, self.backlog
        self.flowing = True
        stream.subscribe(self, replay=False)
        backlog.declare(stream.metadata or self._description())
        for track in stream.tracks.values():
            backlog.declare(track)
        for packet in stream.gop:
            backlog.append(packet)
        backlog.begun()
        self._mark()

    def _description(self) -> Metadata:
        tracks = self._stream.tracks
        shown = describe(tracks[MediaKind.VIDEO]) if MediaKind.VIDEO in tracks else None
        return Metadata(description(tracks.values(), (shown.width, shown.height) if shown else (0, 0)))

    # -- the stream's side (Subscriber) ------------------------------------------------------------------------------

    def on_track(self, track: Track) -> None:
        if objection := self._acceptance.objection((track,)):
            self._end(Ending(Outcome.UNFIT, objection))
            return
        self.backlog.declare(track)
        self._mark()

    def on_metadata(self, metadata: Metadata) -> None:
        self.backlog.declare(metadata)
        self._mark()

    def on_packet(self, packet: Packet) -> None:
        self.backlog.append(packet)
        if self._flush is None:
            self._mark()

    def on_away(self) -> None:
        """The connection is kept for the grace period."""

    def on_end(self) -> None:
        """Whoever runs this hears it too, and closes."""

    # -- writing ------------------------------------------------------------------------------------------------------

    def _mark(self) -> None:
        """Write what this turn of the loop brings, together."""
        if self._flush is None and self.connection.writable:
            self._flush = self._loop.call_soon(self._write)

    def _write(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        connection, backlog, budget = self.connection, self.backlog, TURN
        while connection.writable and backlog and budget > 0:
            before = connection.bytes_out
            # As much as the transport may hold at a time, so that it can say when it is full: what is written cannot be dropped.
            waiting = backlog.nbytes
            while backlog and waiting - backlog.nbytes < BUFFER_BYTES:
                self._encode(backlog.take())
            connection.flush()
            budget -= connection.bytes_out - before
        if backlog:
            self._mark()

    def _encode(self, word: Word) -> None:
        session = self.session
        if isinstance(word, Packet):
            codec = self._codecs.get(word.kind)
            if codec is not None:
                type_id = VIDEO if word.kind is MediaKind.VIDEO else AUDIO
                session.send_media(type_id, self._clock.place(word) & 0xFFFFFFFF, packet_body(codec, word))
        elif isinstance(word, Track):
            self._codecs[word.kind] = word.codec
            if body := header_body(word):
                type_id = VIDEO if word.kind is MediaKind.VIDEO else AUDIO
                session.send_media(type_id, self._clock.now & 0xFFFFFFFF, body)
        else:
            # FFmpeg makes a subtitle stream of a description that does not stand at 0.
            session.send_data(0, SET_DATA_FRAME + word.body)

    # -- the connection's side (ClientHandler) -----------------------------------------------------------------------

    def on_events(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case Connected(capabilities=capabilities) if not self._presenting:
                    self._acceptance = Acceptance.of(self.address.host, capabilities)
                    self._answered()
                case CommandFailed(name=name, code=code, description=text):
                    self._end(Ending(Outcome.REFUSED, f"the target refused to {name}: {self._said(code, text)}"))
                case StatusReceived(code=StatusCode.PUBLISH_START):
                    if self._presenting and self.session.stream_state is StreamState.PUBLISHING:
                        self._answered()
                case StatusReceived(level="error", code=code, description=text):
                    self._refuse(code, text)
                case StatusReceived(code=StatusCode.UNPUBLISH_SUCCESS) if self.flowing:
                    self._end(Ending(Outcome.LOST, "the target ended the stream"))
                case ReconnectRequested(tc_url=tc_url, description=text) if self.flowing:
                    reason = f"the target asks to reconnect{': ' * bool(text)}{self.address.redact(text)}"
                    self._end(Ending(Outcome.MOVED, reason, tc_url))

    def on_writable(self) -> None:
        if self.flowing:
            self._mark()

    def on_lost(self, reason: str) -> None:
        if self._presenting:
            self._end(Ending(Outcome.DISMISSED, f"{reason} when it was given the key"))
        elif self._second_thoughts and not self._accepted:
            self._end(Ending(Outcome.DISMISSED, f"{reason} right after it had taken the key"))
        else:
            self._end(Ending(Outcome.LOST, reason))

    def _answered(self) -> None:
        if not self._answer.done():
            self._answer.set_result(None)

    def _refuse(self, code: str, text: str) -> None:
        reason = f"the target {'ended the stream' if self.flowing else 'refused the key'}: {self._said(code, text)}"
        if self.flowing:
            self._end(Ending(Outcome.DISMISSED if self._second_thoughts else Outcome.LOST, reason))
        else:
            self._end(Ending(Outcome.TAKEN if _is_taken(code, text.lower()) else Outcome.REFUSED, reason))

    @property
    def _second_thoughts(self) -> bool:
        return self.flowing and self._loop.time() - self._flows_since < SECOND_THOUGHTS

    @property
    def _accepted(self) -> bool:
        """Whether the target has taken media, as far as can be told."""
        return self._tried or self._said_to_have_taken

    @property
    def _said_to_have_taken(self) -> bool:
        """Whether it has acknowledged bytes that were sent after it said go; many never do."""
        return 0 < (self.session.acknowledged - self._began[0]) & 0xFFFFFFFF < 1 << 31

    def _try_out(self) -> None:
        """Ask again later where it has taken nothing yet: it may be us who were held up."""
        self._tried = self.connection.taken().acknowledged > self._began[1]
        if not self._tried:
            self._trial = self._loop.call_later(TRIAL, self._try_out)

    def _said(self, code: str, text: str) -> str:
        return self.address.redact(" ".join(filter(None, (text, f"({code})" if code else "")))) or "without a reason"

    # -- looking and ending -------------------------------------------------------------------------------------------

    async def over(self) -> Ending:
        """Wait for the end, or for the target's wish to reconnect; the connection is still up then, and may be awaited again."""
        ending = await asyncio.shield(self._ending)
        if ending.outcome is Outcome.MOVED:
            self._ending = self._loop.create_future()
            if self._next is not None:
                self._ending.set_result(self._next)
        return ending

    def look(self, now: float, stall_timeout: float) -> None:
        """Once a second: has the peer said that bytes arrived; does it still take any?"""
        stood_still, self._looked = max(0.0, now - self._looked - STANDSTILL), now
        if not self.flowing or self._ending.done():
            return
        taken = self.connection.taken()
        # TCP's word is worth less, as a kernel takes some for a program that hangs: not a whole window.
        if self._said_to_have_taken or taken.acknowledged - self._began[1] >= WINDOW:
            self.acknowledged = True
        if taken.acknowledged != self._moved[0] or not (taken.waiting or self.backlog):
            self._moved = taken.acknowledged, now
            return
        # A machine that stood still takes nothing of that for the target's doing.
        self._moved = self._moved[0], self._moved[1] + stood_still
        if now - self._moved[1] > stall_timeout:
            self.stalled = True
            self._end(Ending(Outcome.LOST, f"the target has taken nothing for {stall_timeout:g} s"))

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait for the target in this process."""
        return self.backlog.nbytes + self.connection.buffered

    def close(self) -> None:
        """End politely: what is ready goes out, then FCUnpublish and deleteStream. Harmless twice."""
        if self.flowing:
            self._write()
        self._halt()
        self._ending.cancel()
        self._answer.cancel()
        self.connection.close()

    def abort(self) -> None:
        """End at once, and let the target know that."""
        self._halt()
        self._ending.cancel()
        self._answer.cancel()
        self.connection.reset()

    def _end(self, ending: Ending) -> None:
        if ending.outcome is not Outcome.MOVED:
            self._halt()
        if not self._ending.done():
            self._ending.set_result(ending)
        elif self._next is None:
            self._next = ending

    def _halt(self) -> None:
        """Nothing more is sent."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        if self._trial is not None:
            self._trial.cancel()
        if self.flowing:
            self.flowing = False
            self._stream.unsubscribe(self)


def _is_taken(code: str, text: str) -> bool:
    """Whether a target that refuses the key, in those words (in small letters), has another publisher for it."""
    if any(word in text for word in _OCCUPIED):
        return True
    return code == NAME_TAKEN and not any(word in text for word in _DISLIKED)
