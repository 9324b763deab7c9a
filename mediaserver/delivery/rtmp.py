"""Playing over RTMP: the wire format that every player of a stream shares, and the life of one player."""

from collections.abc import Callable, Iterable

from mediaserver.hub.fanout import Fanout, Word
from mediaserver.hub.player import FanoutPlayer
from mediaserver.hub.stream import LiveStream
from mediaserver.transport.lost import notice_loss
from mediaserver.transport.rtmp import RtmpConnection
from protocols.flv import AUDIO, DATA, VIDEO
from protocols.media import MediaKind, Metadata, Packet
from protocols.rtmp.chunk import media_chunk_header, split_message
from protocols.rtmp.endpoint import CHUNK_SIZE
from protocols.rtmp.events import PlayRequested

#: The message stream that every player is sent: the first that createStream gives, so that the bytes are the same for all.
MEDIA_STREAM = 1
_VIDEO = MediaKind.VIDEO


class RtmpWire:
    """Messages with absolute timestamps on fixed chunk streams: the same bytes for every player (WireFormat)."""

    def pieces(self, words: Iterable[Word], timestamp: int) -> list[bytes]:
        pieces: list[bytes] = []
        for word in words:
            if isinstance(word, Packet):
                body = word.body
                timestamp = word.dts & 0xFFFFFFFF
                type_id = VIDEO if word.kind is _VIDEO else AUDIO
                if len(body) <= CHUNK_SIZE:
                    pieces += (media_chunk_header(type_id, timestamp, len(body)), body)
                else:
                    pieces += split_message(type_id, timestamp, body, CHUNK_SIZE)
            elif isinstance(word, Metadata):
                # FFmpeg makes a subtitle stream of a description that does not stand at 0.
                pieces += split_message(DATA, 0, word.body, CHUNK_SIZE)
            elif word.body:
                type_id = VIDEO if word.kind is _VIDEO else AUDIO
                pieces += split_message(type_id, timestamp & 0xFFFFFFFF, word.body, CHUNK_SIZE)
        return pieces

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
        notice_loss(self._connection.transport.get_extra_info("socket"), self._fanout.patience)
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
