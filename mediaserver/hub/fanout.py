"""Fan-out: one stream in one wire format to many players. Serialized once, sent many times.

Players in steady state share every byte, so a group gathers the wire form of what is pending, joins it once and hands
the same object to every player. Only a player whose transport asked to pause leaves this fast road; it comes back at a
keyframe. A group exists while it has players: a stream without players builds no wire form.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from mediaserver.hub.beat import Beat, Pace
from mediaserver.hub.player import TOOK_NOTHING, FanoutPlayer, PlayerState
from mediaserver.hub.row import Row, send
from mediaserver.hub.stream import LiveStream
from protocols.media import MediaKind, Metadata, Packet, Track

#: Players written to between two looks at the clock.
PLAYERS_PER_STEP = 64
#: The longest distance of two pictures (ms) for which sound waits.
LONGEST_FRAME = 100
#: A window that waits for one more picture allows for it to come so much later than its time.
JITTER = 1.15
#: Without a picture for so long (ms), sound alone is something to begin with.
NO_VIDEO = 3_000

#: What a stream pushes to its subscribers, and what is written to players in the same order.
Word = Packet | Track | Metadata

_VIDEO = MediaKind.VIDEO
#: The states in which a player misses what the others are sent.
_MISSING = (PlayerState.LAGGING, PlayerState.SKIPPING)


class WireFormat(Protocol):
    """How one protocol writes a stream. Pure; one object serves all streams."""

    def pieces(self, words: Iterable[Word], timestamp: int) -> list[bytes]:
        """The wire form of ``words`` in their order, bodies among it uncopied.

        A Track stands at the timestamp of the Packet before it, and at ``timestamp`` (ms) before the first.
        """

    def frame(self, length: int) -> tuple[bytes, bytes]:
        """What stands before and behind ``length`` bytes that are written together (a WebSocket frame's header, say)."""


@dataclass(slots=True)
class _Flush:
    """One write to the players of a row, which may rest: ``row.players[:at]`` have it."""

    data: bytes
    packets: int
    row: Row
    at: int = 0


class FanoutGroup:
    """The players of one stream in one wire format: a Subscriber of the stream and a BeatWriter.

    ``live`` players get everything; those ``aside`` wait for something: see PlayerState.
    """

    def __init__(self, stream: LiveStream, wire: WireFormat, beat: Beat) -> None:
        self.stream = stream
        self.wire = wire
        self.beat = beat
        self.live: dict[FanoutPlayer, None] = {}
        self.aside: dict[FanoutPlayer, None] = {}
        self._row: Row | None = None
        self._subscribed = False
        # What was written to live players in all, a flush that rests included; and the packets among what is pending.
        self._packets = 0
        self._bytes = 0
        self._gathering = 0
        # What is pending, the timestamp that it follows, where the last point to begin at stands in it, and when the oldest
        # must go out. It becomes bytes when it is flushed: many packets in a row cost less than each at its time.
        self._pending: list[Word] = []
        self._after = 0
        self._sync = -1
        self._sync_dts = 0
        self._until = 0.0
        self._sending: _Flush | None = None
        self._burst: list[bytes] | None = None
        self._dts = 0
        self._video_dts: int | None = None
        self._frame = 0

    # -- players -------------------------------------------------------------------------------------------------

    def join(self, player: FanoutPlayer) -> None:
        """``player`` gets the picture at once from the GOP cache, then everything."""
        if not self._subscribed:
            self._subscribed = True
            self.stream.subscribe(self, replay=False)
        player.on_full = self.lag
        self.beat.add_players(1)
        self._admit(player)

    def leave(self, player: FanoutPlayer) -> None:
        """``player`` is gone. Harmless twice."""
        if player.state is PlayerState.LEFT:
            return
        self._set_aside(player, PlayerState.LEFT)
        del self.aside[player]
        self.beat.add_players(-1)
        if not self.live and not self.aside and self._subscribed:
            self._subscribed = False
            self._pending.clear()
            self._gathering = 0
            self.stream.unsubscribe(self)

    def pause(self, player: FanoutPlayer, paused: bool) -> None:
        """Hold ``player`` at its own wish, or let it go on."""
        if paused and player.state is not PlayerState.LEFT:
            self._set_aside(player, PlayerState.PAUSED)
        elif not paused and player.state is PlayerState.PAUSED:
            if monotonic() - player.burst_at < 1.0 and not player.full:
                # Who asks again and again waits for a keyframe like everybody.
                player.state = PlayerState.SKIPPING
                player.missing_from = self._packets
            else:
                del self.aside[player]
                self._admit(player)

    def lag(self, player: FanoutPlayer) -> None:
        """``player`` cannot take more: set it aside until it can, and then until a keyframe."""
        if player.state is PlayerState.LIVE:
            self._set_aside(player, PlayerState.LAGGING)

    def rearrange(self) -> None:
        """A live player has something queued, or no more."""
        self._row = None

    def settle(self) -> None:
        """Write down what each player was sent, and what not: not once per player and flush, but when asked."""
        waiting = frozenset(self._waiting())
        for player in self.live:
            self._account(player, waiting)
        for player in self.aside:
            if player.state in _MISSING:
                self._miss(player, self._packets)

    def _account(self, player: FanoutPlayer, waiting: Collection[FanoutPlayer]) -> int:
        """Write down what ``player`` was sent; the packets that were written to live players in all, as far as it has them."""
        total, packets = self._written(player, waiting)
        self.stream.sent_packets += player.account(total, packets)
        return packets

    def _miss(self, player: FanoutPlayer, until: int) -> None:
        """``player`` gets none of the packets before that one that it has not got yet."""
        player.session.dropped_packets += until - player.missing_from
        self.stream.dropped_packets += until - player.missing_from
        player.missing_from = until

    def _waiting(self) -> Collection[FanoutPlayer]:
        """Whom the flush that rests has not reached."""
        flush = self._sending
        return flush.row.players[flush.at :] if flush is not None else ()

    def _written(self, player: FanoutPlayer, waiting: Collection[FanoutPlayer]) -> tuple[int, int]:
        """The bytes and packets that were written to live players in all, as far as ``player`` has them."""
        flush = self._sending
        if flush is None or player not in waiting:
            return self._bytes, self._packets
        return self._bytes - len(flush.data), self._packets - flush.packets

    def _set_aside(self, player: FanoutPlayer, state: PlayerState) -> None:
        if player in self.live:
            del self.live[player]
            self._row = None
            player.missing_from = self._account(player, self._waiting())
        elif player.state in _MISSING:
            self._miss(player, self._packets)
        self.aside[player] = None
        player.state = state

    def _set_live(self, player: FanoutPlayer, pieces: Sequence[bytes], begin: int) -> None:
        """``player`` has got ``pieces``, and of the packets that are written to live players all from number ``begin`` on."""
        player.state = PlayerState.LIVE
        player.accounted, player.accounted_packets = self._bytes, begin
        self.live[player] = None
        self._row = None
        player.send_start(pieces)

    def _admit(self, player: FanoutPlayer) -> None:
        gop = self.stream.gop
        if player.full or self._sending is not None:
            # It cannot take more; or a flush rests, and brings what the GOP cache holds too.
            self.aside[player] = None
            player.state = PlayerState.JOINING
            return
        if len(gop) > self._gathering:
            # The GOP cache but for what is pending, which the next flush brings to this player too. Not simply so many less:
            # some of that may have been forgotten there.
            if self._burst is None:
                pending = set(map(id, self._pending))
                packets = [packet for packet in gop if id(packet) not in pending]
                self._burst = self._framed((*self._preamble(), *packets), packets[0].dts)
            self._set_live(player, self._burst, self._packets)
            return
        # Nothing to show yet, or all of it is pending. Headers now, so that the player can set up; then the next keyframe.
        self.aside[player] = None
        player.state = PlayerState.JOINING
        player.send_start(self._framed(self._preamble(), self._dts))

    def _preamble(self) -> list[Word]:
        """What stands before the first packet: description and sequence headers."""
        metadata = self.stream.metadata
        return [*((metadata,) if metadata is not None else ()), *self.stream.tracks.values()]

    def _framed(self, words: Iterable[Word], timestamp: int) -> list[bytes]:
        """``words`` as one write. Bodies stay the stream's own, so that players who stall share them."""
        pieces = self.wire.pieces(words, timestamp)
        head, tail = self.wire.frame(sum(map(len, pieces)))
        # asyncio's own transports never get done with a last piece that is empty (CPython 3.13.0).
        return [piece for piece in (head, *pieces, tail) if piece] if pieces else []

    # -- the stream's side (Subscriber) -----------------------------------------------------------------------------

    def on_packet(self, packet: Packet) -> None:
        pending = self._pending
        if not pending:
            self._open_window(packet.kind)
        dts = self._dts = packet.dts
        self._gathering += 1
        if packet.kind is _VIDEO:
            self._frame = 0 if self._video_dts is None else dts - self._video_dts
            self._video_dts = dts
            if packet.keyframe:
                self._sync, self._sync_dts, self._burst = len(pending), dts, None
            if self.beat.pace is Pace.WINDOWS:
                self._close_window()
        elif self._sync < 0 and (self._video_dts is None or dts - self._video_dts >= NO_VIDEO) and self._no_video(dts):
            self._sync, self._sync_dts = len(pending), dts
        pending.append(packet)

    def _no_video(self, dts: int) -> bool:
        """Whether there are no pictures to begin with (any more)."""
        if _VIDEO not in self.stream.tracks:
            return True
        if self._video_dts is None:
            self._video_dts = dts
        return dts - self._video_dts >= NO_VIDEO

    def on_track(self, track: Track) -> None:
        if track.body:
            self._gather(track)

    def on_metadata(self, metadata: Metadata) -> None:
        self._gather(metadata)

    def on_away(self) -> None:
        """Players keep their connection and wait: nothing to write."""

    def on_end(self) -> None:
        try:
            for _ in self.flush():
                pass
        finally:
            self._subscribed = False
            for player in (*self.live, *self.aside):
                self.leave(player)
                try:
                    player.on_end()
                except Exception as error:  # noqa: BLE001 - its last words fail: it logs that
                    player.give_up(error)

    def _gather(self, word: Word) -> None:
        if not self._pending:
            self._open_window(None)
            self._after = self._dts
        self._burst = None
        self._pending.append(word)

    def _open_window(self, kind: MediaKind | None) -> None:
        """Something is pending from now on. Sound waits for the picture that belongs to it, and with it."""
        self._until = 0.0
        waits = kind is MediaKind.AUDIO and 0 < self._frame <= LONGEST_FRAME
        self.beat.mark(self, self._frame * JITTER / 1000 if waits else 0.0)

    def _close_window(self) -> None:
        """A picture has come. If the next one would come too late for the oldest that is pending, none is waited for."""
        now = monotonic()
        if not self._until:
            self._until = now + self.beat.window
        if now + self._frame * JITTER / 1000 > self._until:
            self.beat.hurry(self)

    # -- the beat's side (BeatWriter) -------------------------------------------------------------------------------

    def flush(self) -> Iterator[None]:
        """Join what is pending now and write it to everybody. What comes while this rests waits for the next flush.

        Whoever flushes next first finishes what is unfinished, so that no player gets newer bytes before older ones.
        """
        yield from self._send()
        if self._pending:
            if self._row is None:
                self._row = Row(self.live)
            self._sending = self._gathered(self._row)
            yield from self._send()

    def _send(self) -> Iterator[None]:
        while (flush := self._sending) is not None:
            row, data, at = flush.row, flush.data, flush.at
            flush.at += PLAYERS_PER_STEP
            if flush.at >= len(row.players):
                self._sending = None
            if row is self._row:
                row.write(data, at, flush.at)
            else:
                send(row.players[at : flush.at], data)
            yield

    def _gathered(self, row: Row) -> _Flush:
        """What is pending, in bytes for ``row``. Who waits for a keyframe is taken in, and has what is sent with it."""
        pending, self._pending = self._pending, []
        sync, self._sync = self._sync, -1
        packets, self._gathering = self._gathering, 0
        self._burst = None
        pieces = self.wire.pieces(pending, self._after)
        head, tail = self.wire.frame(sum(map(len, pieces)))
        data = b"".join((head, *pieces, tail)) if head or tail else b"".join(pieces)
        self._bytes += len(data)
        self._packets += packets
        if self.aside and sync >= 0:
            self._rejoin(pending[sync:])
        return _Flush(data, packets, row)

    def _rejoin(self, words: list[Word]) -> None:
        """Take in those who wait for a keyframe: they start with the headers and the keyframe in this flush."""
        waiting = [p for p in self.aside if p.state in (PlayerState.SKIPPING, PlayerState.JOINING) and not p.full]
        if not waiting:
            return
        missed = self._packets - sum(isinstance(word, Packet) for word in words)
        start = [b"".join(self._framed(self._preamble() + words, self._sync_dts))]
        for player in waiting:
            if player.state is PlayerState.SKIPPING:
                self._miss(player, missed)
            del self.aside[player]
            try:
                self._set_live(player, start, missed)
            except Exception as error:  # noqa: BLE001 - it logs it; the others wait for this flush
                player.give_up(error)


class Fanout:
    """All fan-out groups: the one place where a player of any wire format joins a stream."""

    def __init__(self, beat: Beat, patience: float) -> None:
        self._beat = beat
        #: Seconds that a player may take nothing.
        self.patience = patience
        #: Players that were cut off because they took nothing, by us or by the kernel.
        self.cut_off = 0
        self._groups: dict[tuple[LiveStream, WireFormat], FanoutGroup] = {}

    def join(self, stream: LiveStream, wire: WireFormat, player: FanoutPlayer) -> None:
        """``player`` plays ``stream`` in ``wire`` from now on. Its session's name becomes the stream's."""
        player.session.name = stream.name
        group = self._groups.get((stream, wire))
        if group is None:
            group = self._groups[stream, wire] = FanoutGroup(stream, wire, self._beat)
        player.group = group
        group.join(player)

    def leave(self, player: FanoutPlayer) -> None:
        """``player`` is gone. Harmless twice, and for one that never joined."""
        group = player.group
        if group is not None:
            if player.verdict == TOOK_NOTHING and player.state is not PlayerState.LEFT:
                self.cut_off += 1
            group.leave(player)
            self._forget_empty(group)

    def pause(self, player: FanoutPlayer, paused: bool) -> None:
        """Hold ``player`` at its own wish, or let it go on. Without effect on one that does not play."""
        if player.group is not None:
            player.group.pause(player, paused)

    def settle(self) -> None:
        """Bring ``bytes_out`` of every player's session up to date."""
        for group in self._groups.values():
            group.settle()

    def sweep(self, now: float) -> None:
        """Cut off the players that are full and take nothing for longer than the configured patience, whatever they wait for."""
        for group in tuple(self._groups.values()):
            for player in (*group.live, *group.aside):
                if player.stalls(now, self.patience):
                    player.cut_off()
            self._forget_empty(group)

    def _forget_empty(self, group: FanoutGroup) -> None:
        key = group.stream, group.wire
        if not group.live and not group.aside and self._groups.get(key) is group:
            del self._groups[key]
