"""A publisher of whom nothing comes: somebody stands in for it, and it goes on when something comes after all."""

import enum

from mediaserver.errors import Refused
from mediaserver.hub.hub import Publisher
from protocols.media import MediaKind, Metadata, Packet, Track


class InterruptionState(enum.Enum):
    """SILENT: another stands in. BACK: the publisher goes on. GONE: it will not, as the name is another's or nobody's."""

    SILENT = "silent"
    BACK = "back"
    GONE = "gone"


#: What may follow what; an absent key is the error.
TRANSITIONS: dict[InterruptionState, frozenset[InterruptionState]] = {
    InterruptionState.SILENT: frozenset({InterruptionState.BACK, InterruptionState.GONE}),
    InterruptionState.BACK: frozenset({InterruptionState.GONE}),
}


class Interruption:
    """Begins when it is made. What ``publisher`` is given to write meanwhile is kept back, until a decoder can begin with it.

    Whoever owns the publisher notices nothing: it writes to the same object, and closes that one.
    """

    def __init__(self, publisher: Publisher, reason: str, silent_for: float) -> None:
        self.publisher = publisher
        self.state = InterruptionState.SILENT
        # Who stands in declares others.
        self._tracks = dict(publisher.stream.tracks)
        self._metadata: Metadata | None = None
        publisher.write, publisher.write_track, publisher.write_metadata = self._write, self._write_track, self._write_metadata
        publisher.pause(reason, silent_for)

    def end(self, reason: str) -> None:
        """Send the publisher away: the name is not its own any more. Harmless when it is back, or has gone by itself."""
        if self.state is InterruptionState.SILENT:
            self._send_away(reason)

    def _send_away(self, reason: str) -> None:
        self._become(InterruptionState.GONE)
        if not self.publisher.closed:  # its session may publish something else by now
            self.publisher.session.publishing = False
            self.publisher.on_kick(reason)

    def _become(self, state: InterruptionState) -> None:
        """The one place where the state changes."""
        if state not in TRANSITIONS.get(self.state, ()):
            raise ValueError(f"an interruption that is {self.state.value} cannot become {state.value}")
        self.state = state

    # -- in place of the publisher's own ------------------------------------------------------------------------------------

    def _write_track(self, track: Track) -> None:
        if self.state is InterruptionState.SILENT:
            self._tracks[track.kind] = track
        elif self.state is InterruptionState.BACK:
            self.publisher.stream.write_track(track)

    def _write_metadata(self, metadata: Metadata) -> None:
        if self.state is InterruptionState.SILENT:
            self._metadata = metadata
        elif self.state is InterruptionState.BACK:
            self.publisher.stream.write_metadata(metadata)

    def _write(self, packet: Packet) -> None:
        if self.state is InterruptionState.SILENT and self._begins(packet):
            self._go_on()
        if self.state is InterruptionState.BACK:  # or still, for one who keeps hold of us
            self.publisher.stream.write(packet)

    def _begins(self, packet: Packet) -> bool:
        return packet.keyframe and (packet.kind is MediaKind.VIDEO or MediaKind.VIDEO not in self._tracks)

    def _go_on(self) -> None:
        publisher, stream = self.publisher, self.publisher.stream
        self._become(InterruptionState.BACK)  # before who stands in leaves: it must not be sent away for that
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
