"""How long what was answered stays the answer, so that nobody need ask again who asks for the same."""

from mediaserver.hub.stream import LiveStream, StreamState
from protocols.media import Metadata, Packet, Track


class Lease:
    """Whether asking again would give the very same answers. Once it does not hold, it never will."""

    __slots__ = ("holds",)

    def __init__(self, *, holds: bool) -> None:
        self.holds = holds


#: For answers of which nobody says when they change.
NEVER = Lease(holds=False)


class Watch:
    """A hub Subscriber of a stream and its renditions, of each after the one that packages it. What they say ends its lease, for
    nothing that is packaged changes otherwise, save in a sweep."""

    def __init__(self) -> None:
        self._lease = NEVER

    def lease(self) -> Lease:
        """One that holds until something changes. Whoever has it asks no more."""
        if not self._lease.holds:
            self._lease = Lease(holds=True)
        return self._lease

    @property
    def leased(self) -> bool:
        """Whether anybody may have a lease that holds."""
        return self._lease.holds

    def end(self) -> None:
        """Something has changed."""
        if self._lease.holds:
            self._lease.holds = False

    def follow(self, stream: LiveStream) -> None:
        """Hear that one too, unless it is over. Harmless twice."""
        if stream.state is not StreamState.ENDED and self not in stream.subscribers:
            stream.subscribe(self, replay=False)

    # -- the Subscriber's port ------------------------------------------------------------------------------------------

    def on_track(self, track: Track) -> None:  # noqa: ARG002 - whatever it says
        self.end()

    def on_metadata(self, metadata: Metadata) -> None:  # noqa: ARG002 - whatever it says
        self.end()

    def on_packet(self, packet: Packet) -> None:  # noqa: ARG002 - whatever it says
        self.end()

    def on_away(self) -> None:
        self.end()

    def on_end(self) -> None:
        self.end()
