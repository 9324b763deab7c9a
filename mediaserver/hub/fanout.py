"""Fan-out: one stream in one wire format to many players. Serialized once, sent many times.

Players in steady state share every byte, so a group gathers the wire form of what is pending, joins it once and hands
the same object to every player. Only a player whose transport asked to pause leaves this fast road; it comes back at a
keyframe. A group exists while it has players: a stream without players builds no wire form.
"""

import asyncio
import enum
import os
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Protocol

from mediaserver.hub.beat import Beat
from mediaserver.hub.session import Session
from mediaserver.hub.stream import LiveStream
from protocols.media import MediaKind, Metadata, Packet, Track

#: Players written to between two looks at the clock.
PLAYERS_PER_STEP = 64
#: What a player may have waiting in this process beyond its start-up burst, in bytes, before it is told to skip.
HIGH_WATER = 2 * 1024 * 1024


class WireFormat(Protocol):
    """How one protocol writes a stream. Pure; one object serves all streams."""

    def start(self, tracks: Sequence[Track], metadata: Metadata | None, timestamp: int) -> list[bytes]:
        """What stands before the first packet: description and sequence headers, at ``timestamp`` (ms)."""

    def packet(self, packet: Packet) -> Sequence[bytes]:
        """The pieces of one packet, the body itself among them uncopied."""

    def track(self, track: Track, timestamp: int) -> Sequence[bytes]:
        """A sequence header in mid-stream."""

    def metadata(self, metadata: Metadata, timestamp: int) -> Sequence[bytes]:
        """A description in mid-stream."""

    def frame(self, data: bytes) -> bytes:
        """What wraps one write (a WebSocket frame header); the identity for most."""


class PlayerState(enum.Enum):
    """JOINING: waits for a first keyframe. LIVE: gets everything. LAGGING: its transport is full, it is sent nothing.
    SKIPPING: its transport has room again, it waits for a keyframe. PAUSED: at its own wish. LEFT: gone."""

    JOINING = "joining"
    LIVE = "live"
    LAGGING = "lagging"
    SKIPPING = "skipping"
    PAUSED = "paused"
    LEFT = "left"


class FanoutPlayer:
    """One player's connection as the fan-out sees it.

    ``pause_writing`` and ``resume_writing`` are to be called by the protocol that owns the transport. ``on_end`` is
    called once when the stream ends under the player.
    """

    __slots__ = ("_direct", "_fd", "_missed_from", "full_since", "group", "on_end", "session", "state", "transport")

    def __init__(self, transport: asyncio.Transport, session: Session, on_end: Callable[[], None]) -> None:
        self.transport = transport
        self.session = session
        self.on_end = on_end
        self.state = PlayerState.JOINING
        self.full_since = 0.0
        self.group: FanoutGroup | None = None
        self._missed_from = 0
        # A plain TCP socket with nothing queued can be written to at once, without the transport's detour.
        self._direct = transport.get_extra_info("ssl_object") is None
        self._fd: int = transport.get_extra_info("socket").fileno()

    def send(self, data: bytes) -> None:
        """Write ``data``; what the socket does not take at once waits in the transport, by reference."""
        transport = self.transport
        if transport.is_closing():
            return
        self.session.bytes_out += len(data)
        if self._direct and not transport.get_write_buffer_size():
            try:
                sent = os.write(self._fd, data)
            except BlockingIOError:
                sent = 0
            except OSError:
                # Gone: the transport learns it from its own read or write and tells the protocol.
                transport.abort()
                return
            if sent == len(data):
                return
            transport.write(memoryview(data)[sent:] if sent else data)
        else:
            transport.write(data)

    def pause_writing(self) -> None:
        """The transport holds more than it should: leave the fast road."""
        if self.group is not None:
            self.group.lag(self)

    def resume_writing(self) -> None:
        """The transport is empty enough: come back at the next keyframe."""
        if self.state is PlayerState.LAGGING:
            self.state = PlayerState.SKIPPING

    def missed(self, packets_before: int, packets_now: int) -> None:
        """Count the packets that this player was not sent."""
        self.session.dropped_packets += packets_now - packets_before


class FanoutGroup:
    """The players of one stream in one wire format: a Subscriber of the stream and a BeatWriter."""

    def __init__(self, stream: LiveStream, wire: WireFormat, beat: Beat) -> None:
        self.stream = stream
        self.wire = wire
        self.beat = beat
        self.live: dict[FanoutPlayer, None] = {}
        self.aside: dict[FanoutPlayer, None] = {}
        self.packets = 0
        self._pending: list[bytes] = []
        self._sending: tuple[bytes, tuple[FanoutPlayer, ...], int] | None = None
        self._sync = -1
        self._sync_dts = 0
        self._dts = 0
        self._burst: bytes | None = None
        self._subscribed = False

    # -- players -------------------------------------------------------------------------------------------------

    def join(self, player: FanoutPlayer) -> None:
        """``player`` gets the picture at once from the GOP cache, then everything."""
        if not self._subscribed:
            self._subscribed = True
            self.stream.subscribe(self, replay=False)
        player.group = self
        self.beat.add_weight(1)
        self._admit(player)

    def leave(self, player: FanoutPlayer) -> None:
        """``player`` is gone. Harmless twice."""
        if player.state is PlayerState.LEFT:
            return
        player.state = PlayerState.LEFT
        self.live.pop(player, None)
        self.aside.pop(player, None)
        self.beat.add_weight(-1)
        if not self.live and not self.aside and self._subscribed:
            self._subscribed = False
            self._pending.clear()
            self.stream.unsubscribe(self)

    def pause(self, player: FanoutPlayer, paused: bool) -> None:
        """Hold ``player`` at its own wish, or let it go on from the GOP cache."""
        if paused and player.state is not PlayerState.LEFT:
            self.live.pop(player, None)
            self.aside[player] = None
            player.state = PlayerState.PAUSED
        elif not paused and player.state is PlayerState.PAUSED:
            del self.aside[player]
            self._admit(player)

    def lag(self, player: FanoutPlayer) -> None:
        """``player`` cannot take more: set it aside until it can, and then until a keyframe."""
        if player.state is PlayerState.LIVE:
            del self.live[player]
            self.aside[player] = None
            player.state = PlayerState.LAGGING
            player.full_since = monotonic()
            player._missed_from = self.packets

    def sweep(self, now: float, patience: float) -> list[FanoutPlayer]:
        """The players that have been full for longer than ``patience`` seconds, to be cut off by their owner."""
        return [p for p in self.aside if p.state is PlayerState.LAGGING and now - p.full_since > patience]

    def _admit(self, player: FanoutPlayer) -> None:
        # What is pending is in the GOP cache too: send it to the others first, so that nobody gets it twice.
        for _ in self.flush():
            pass
        if not len(self.stream.gop):
            # Nothing to show yet. Headers now, so that the player can set up; packets from the next keyframe.
            player.send(self.wire.frame(b"".join(self._preamble(self._dts))))
            player.state = PlayerState.JOINING
            self.aside[player] = None
            return
        if self._burst is None:
            self._burst = self.wire.frame(b"".join(self._start_pieces()))
        burst = self._burst
        player.transport.set_write_buffer_limits(high=HIGH_WATER + len(burst))
        player.state = PlayerState.LIVE
        self.live[player] = None
        player.send(burst)

    def _preamble(self, timestamp: int) -> list[bytes]:
        return self.wire.start(tuple(self.stream.tracks.values()), self.stream.metadata, timestamp)

    def _start_pieces(self) -> list[bytes]:
        packets = tuple(self.stream.gop)
        pieces = self._preamble(packets[0].dts)
        for packet in packets:
            pieces += self.wire.packet(packet)
        return pieces

    # -- the stream's side (Subscriber) -----------------------------------------------------------------------------

    def on_packet(self, packet: Packet) -> None:
        pending = self._pending
        if not pending:
            self._burst = None
            self.beat.mark(self)
        self._dts = packet.dts
        self.packets += 1
        if packet.keyframe and (packet.kind is MediaKind.VIDEO or MediaKind.VIDEO not in self.stream.tracks):
            self._sync = len(pending)
            self._sync_dts = packet.dts
        pending += self.wire.packet(packet)

    def on_track(self, track: Track) -> None:
        self._gather(self.wire.track(track, self._dts))

    def on_metadata(self, metadata: Metadata) -> None:
        self._gather(self.wire.metadata(metadata, self._dts))

    def on_away(self) -> None:
        """Players keep their connection and wait: nothing to write."""

    def on_end(self) -> None:
        for _ in self.flush():
            pass
        self._subscribed = False
        for player in (*self.live, *self.aside):
            self.leave(player)
            player.on_end()

    def _gather(self, pieces: Sequence[bytes]) -> None:
        if not self._pending:
            self._burst = None
            self.beat.mark(self)
        self._pending += pieces

    # -- the beat's side (BeatWriter) -------------------------------------------------------------------------------

    def flush(self) -> Iterator[None]:
        """Join what is pending once and write it to everybody.

        A flush may rest between two steps while others run; whoever flushes next first finishes what is unfinished, so
        that no player gets newer bytes before older ones.
        """
        while self._sending is not None or self._pending:
            if self._sending is None:
                players = tuple(self.live)
                self._sending = self._gathered(), players, 0
            data, players, at = self._sending
            upto = at + PLAYERS_PER_STEP
            self._sending = (data, players, upto) if upto < len(players) else None
            for player in players[at:upto]:
                if player.state is PlayerState.LIVE:
                    player.send(data)
            yield

    def _gathered(self) -> bytes:
        pending, self._pending = self._pending, []
        sync, self._sync = self._sync, -1
        data = self.wire.frame(b"".join(pending))
        if self.aside and sync >= 0:
            self._rejoin(pending[sync:])
        return data

    def _rejoin(self, pieces: list[bytes]) -> None:
        """Take in those who wait for a keyframe: they start with the headers and the keyframe in this flush."""
        waiting = [p for p in self.aside if p.state in (PlayerState.SKIPPING, PlayerState.JOINING)]
        if not waiting:
            return
        start = self.wire.frame(b"".join(self._preamble(self._sync_dts) + pieces))
        for player in waiting:
            if player.state is PlayerState.SKIPPING:
                player.missed(player._missed_from, self.packets)
            del self.aside[player]
            player.state = PlayerState.LIVE
            self.live[player] = None
            player.send(start)


class Fanout:
    """All fan-out groups: the one place where a player of any wire format joins a stream."""

    def __init__(self, beat: Beat, patience: float) -> None:
        self._beat = beat
        self._patience = patience
        self._groups: dict[tuple[LiveStream, WireFormat], FanoutGroup] = {}

    def join(self, stream: LiveStream, wire: WireFormat, player: FanoutPlayer) -> None:
        """``player`` plays ``stream`` in ``wire`` from now on. Its session's name becomes the stream's."""
        group = self._groups.get((stream, wire))
        if group is None:
            group = self._groups[stream, wire] = FanoutGroup(stream, wire, self._beat)
        player.session.name = stream.name
        group.join(player)

    def leave(self, player: FanoutPlayer) -> None:
        """``player`` is gone. Harmless twice, and for one that never joined."""
        group = player.group
        if group is not None:
            group.leave(player)
            if not group.live and not group.aside:
                self._groups.pop((group.stream, group.wire), None)

    def sweep(self, now: float) -> None:
        """Cut off the players that took nothing for longer than the configured patience."""
        for group in tuple(self._groups.values()):
            for player in group.sweep(now, self._patience):
                player.transport.abort()
            if not group.live and not group.aside:
                # Its stream ended and took the players along.
                del self._groups[group.stream, group.wire]
