"""Playing over RTMP: the wire format that every player of a stream shares, and the life of one player."""

from collections.abc import Callable, Sequence

from mediaserver.hub.fanout import Fanout
from mediaserver.hub.player import FanoutPlayer
from mediaserver.hub.stream import LiveStream
from mediaserver.transport.rtmp import RtmpConnection
from protocols.flv import AUDIO, DATA, VIDEO
from protocols.media import MediaKind, Metadata, Packet, Track
from protocols.rtmp.chunk import media_chunk_header, split_message
from protocols.rtmp.endpoint import CHUNK_SIZE
from protocols.rtmp.events import PlayRequested

#: The message stream that every player is sent: the first that createStream gives, so that the bytes are the same for all.
MEDIA_STREAM = 1


class RtmpWire:
    """Messages with absolute timestamps on fixed chunk streams: the same bytes for every player (WireFormat)."""

    def start(self, tracks: Sequence[Track], metadata: Metadata | None, timestamp: int) -> list[bytes]:
        pieces: list[bytes] = []
        if metadata is not None:
            pieces += self.metadata(metadata)
        for track in tracks:
            pieces += self.track(track, timestamp)
        return pieces

    def packet(self, packet: Packet) -> Sequence[bytes]:
        body = packet.body
        type_id = VIDEO if packet.kind is MediaKind.VIDEO else AUDIO
        if len(body) <= CHUNK_SIZE:
            return media_chunk_header(type_id, packet.dts & 0xFFFFFFFF, len(body)), body
        return split_message(type_id, packet.dts & 0xFFFFFFFF, body, CHUNK_SIZE)

    def track(self, track: Track, timestamp: int) -> Sequence[bytes]:
        if not track.body:
            return ()
        type_id = VIDEO if track.kind is MediaKind.VIDEO else AUDIO
        return split_message(type_id, timestamp & 0xFFFFFFFF, track.body, CHUNK_SIZE)

    def metadata(self, metadata: Metadata) -> Sequence[bytes]:
        # FFmpeg makes a subtitle stream of a description that does not stand at 0.
        return split_message(DATA, 0, metadata.body, CHUNK_SIZE)

    def frame(self, length: int) -> tuple[bytes, bytes]:  # noqa: ARG002 - a message needs nothing around it
        return b"", b""


RTMP_WIRE = RtmpWire()


class RtmpPlayback:
    """One player on one connection: joined to the fan-out until it stops, is cut off, or the stream ends."""

    def __init__(self, connection: RtmpConnection, request: PlayRequested, fanout: Fanout, on_end: Callable[[], None]) -> None:
        self._request = request
        self.player = FanoutPlayer(connection.transport, connection.session, self._end, connection.full_since)
        self._connection = connection
        self._fanout = fanout
        self._on_end = on_end

    def start(self, stream: LiveStream) -> bool:
        """Tell the player that it plays, and let the packets flow. False if it has meanwhile changed its mind."""
        if not self._connection.protocol.accept_play(self._request):
            return False
        self._connection.flush()
        self._fanout.join(stream, RTMP_WIRE, self.player)
        return True

    def pause(self, paused: bool) -> None:
        """At the player's wish: hold the packets, or go on from the GOP cache."""
        self._fanout.pause(self.player, paused)

    def stop(self) -> None:
        """The player is gone, or plays something else. Harmless twice."""
        self._fanout.leave(self.player)

    def _end(self) -> None:
        self._connection.protocol.end_play(self._request.stream_id, "the stream has ended")
        self._connection.flush()
        self._on_end()
