"""What a LiveStream pushes to. Houses implement this port; the hub knows none of them by name."""

from typing import Protocol

from protocols.media import Metadata, Packet, Track


class Subscriber(Protocol):
    """Receives one LiveStream, in order, on the event loop. No method may block, await or raise.

    On subscribing, the stream replays its present: ``on_track`` for every track, ``on_metadata`` if any, then the GOP
    cache's packets through ``on_packet`` (unless told not to), and goes on live without a gap.
    """

    def on_track(self, track: Track) -> None:
        """The parameters of ``track.kind`` are these from here on (also when they change in mid-stream)."""

    def on_metadata(self, metadata: Metadata) -> None:
        """The publisher described itself anew."""

    def on_packet(self, packet: Packet) -> None:
        """One more access unit."""

    def on_away(self) -> None:
        """The publisher is gone; the grace period runs. Packets may come again, the first marked ``discontinuity``."""

    def on_end(self) -> None:
        """The stream is over. Nothing follows; the subscriber is no longer subscribed."""
