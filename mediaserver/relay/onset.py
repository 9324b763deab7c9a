"""The beginning and the end of a stream, as a Relay waits for them."""

import asyncio
from collections.abc import Callable

from mediaserver.hub.stream import LiveStream
from protocols.media import MediaKind, Metadata, Packet, Track

#: Milliseconds of sound after which no picture is waited for.
SOUND_ALONE = 1000


class Onset:
    """A Subscriber: ``ready`` is set once there is something that a decoder can begin with, ``ended`` called at the end."""

    def __init__(self, stream: LiveStream, ended: Callable[[], None]) -> None:
        self.ready = asyncio.Event()
        self._stream = stream
        self._ended = ended
        self._first: int | None = None
        stream.subscribe(self)

    def close(self) -> None:
        """Listen no more."""
        self._stream.unsubscribe(self)

    def on_packet(self, packet: Packet) -> None:
        if self.ready.is_set():
            return
        if packet.kind is MediaKind.VIDEO:
            if packet.keyframe:
                self.ready.set()
            return
        self._first = packet.dts if self._first is None else self._first
        if MediaKind.VIDEO not in self._stream.tracks and packet.dts - self._first >= SOUND_ALONE:
            self.ready.set()

    def on_track(self, track: Track) -> None: ...

    def on_metadata(self, metadata: Metadata) -> None: ...

    def on_away(self) -> None: ...

    def on_end(self) -> None:
        self._ended()
