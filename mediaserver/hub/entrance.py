"""A publisher for whom another stands in: it goes on when it has something that a player can begin with."""

import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mediaserver.errors import Refused
from mediaserver.hub.stream import LONGEST_WAIT
from protocols.media import MediaKind, Metadata, Packet, Track

if TYPE_CHECKING:
    from mediaserver.hub.hub import Publisher

#: Milliseconds of sound without a word of pictures after which none are waited for.
VIDEO_MAY_COME = 1_000
_MASK = (1 << 32) - 1


class EntranceState(enum.Enum):
    """WAITING: another stands in. OPEN: the publisher writes to its stream. CLOSED: it never will (again), as the name is
    another's or nobody's."""

    WAITING = "waiting"
    OPEN = "open"
    CLOSED = "closed"


#: What may follow what; an absent key is the error.
TRANSITIONS: dict[EntranceState, frozenset[EntranceState]] = {
    EntranceState.WAITING: frozenset({EntranceState.OPEN, EntranceState.CLOSED}),
    EntranceState.OPEN: frozenset({EntranceState.CLOSED}),
}


def _ignore(_: object) -> None:
    """What becomes of all that a publisher writes whose name is not its own."""


class Entrance:
    """Begins when it is made. What ``publisher`` is given to write is kept back: tracks until it goes on, packets for good.

    Whoever owns the publisher notices nothing: it writes to the same object, and closes that one. ``tracks``: what is known of
    it already.
    """

    def __init__(self, publisher: "Publisher", tracks: Mapping[MediaKind, Track]) -> None:
        self.publisher = publisher
        self.state = EntranceState.WAITING
        self._tracks = dict(tracks)
        self._metadata: Metadata | None = None
        self._pictures = MediaKind.VIDEO in publisher.stream.tracks  # are what the stream was so far
        self._first: tuple[MediaKind, int] | None = None  # of the packets that were kept back: what it was, and its dts
        publisher.write, publisher.write_track, publisher.write_metadata = self._write, self._write_track, self._write_metadata

    def enter(self) -> None:
        """Let the publisher go on now, whatever it has: nobody stands in any more. Not for one that does, or is sent away."""
        publisher, stream = self.publisher, self.publisher.stream
        self._become(EntranceState.OPEN)  # before who stands in leaves: it must not be sent away for that
        try:
            publisher.go_on()
        except Refused as refusal:
            self._send_away(refusal.reason)
            return
        publisher.write, publisher.write_track, publisher.write_metadata = stream.write, stream.write_track, stream.write_metadata
        for track in self._tracks.values():
            stream.write_track(track)
        if self._metadata is not None:
            stream.write_metadata(self._metadata)

    def end(self, reason: str) -> None:
        """Send the publisher away: the name is not its own any more. Harmless when it is back, or has gone by itself."""
        if self.state is EntranceState.WAITING:
            self._send_away(reason)

    def close(self) -> None:
        """The publisher has gone by itself. Harmless when it is back, or was sent away."""
        if self.state is EntranceState.WAITING:
            self._become(EntranceState.CLOSED)

    def _send_away(self, reason: str) -> None:
        self._become(EntranceState.CLOSED)
        if not self.publisher.closed:  # its session may publish something else by now
            self.publisher.session.publishing = False
            self.publisher.on_kick(reason)

    def _become(self, state: EntranceState) -> None:
        """The one place where the state changes."""
        if state not in TRANSITIONS.get(self.state, ()):
            raise ValueError(f"an entrance that is {self.state.value} cannot become {state.value}")
        self.state = state
        if state is EntranceState.CLOSED:
            # A publisher and its entrance hold one another, until the collector comes.
            publisher = self.publisher
            publisher.write = publisher.write_track = publisher.write_metadata = _ignore

    # -- in place of the publisher's own ------------------------------------------------------------------------------------

    def _write_track(self, track: Track) -> None:
        if self.state is EntranceState.WAITING:
            self._tracks[track.kind] = track
        elif self.state is EntranceState.OPEN:
            self.publisher.stream.write_track(track)

    def _write_metadata(self, metadata: Metadata) -> None:
        if self.state is EntranceState.WAITING:
            self._metadata = metadata
        elif self.state is EntranceState.OPEN:
            self.publisher.stream.write_metadata(metadata)

    def _write(self, packet: Packet) -> None:
        if self.state is EntranceState.WAITING:
            self._look(packet)
        if self.state is EntranceState.OPEN:  # or still, for one who keeps hold of us
            self.publisher.stream.write(packet)

    def _look(self, packet: Packet) -> None:
        """Go on with ``packet`` if a player can begin with it, or if it is time."""
        kind, dts = self._first = self._first or (packet.kind, packet.dts)
        # Sound and pictures may have clocks of their own, and one that goes back a little has gone by no time.
        step = (packet.dts - dts) & _MASK
        waited = step if packet.kind is kind and step <= _MASK >> 1 else 0
        if MediaKind.VIDEO in self._tracks:
            begins = packet.keyframe and packet.kind is MediaKind.VIDEO
        else:
            # Encoders may speak of their pictures after the first sound.
            begins = not self._pictures or waited >= VIDEO_MAY_COME
        if begins:
            self.enter()
        elif waited >= LONGEST_WAIT:
            self.enter()
            self.publisher.stream.begin(awaits_keyframe=False)
