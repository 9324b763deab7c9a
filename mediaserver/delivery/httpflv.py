"""Playing FLV over HTTP and over WebSocket: the wire formats that all players of a stream share, and one player's life.

HTTP/1.1 players get chunks (RFC 9112, 7.1): ffmpeg takes a body that merely ends with its connection for a broken one, and
so does a proxy. One chunk serves all players, so the framing costs nothing per player. HTTP/1.0 gets the plain body.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Final

from mediaserver.delivery import websocket
from mediaserver.delivery.counters import Counters
from mediaserver.delivery.request import MediaRequest, Method
from mediaserver.delivery.response import Cors, Response, render
from mediaserver.delivery.websocket import CloseCode, FrameReader, Opcode, WebSocketError
from mediaserver.hub.fanout import Fanout, WireFormat, Word
from mediaserver.hub.player import FanoutPlayer
from mediaserver.hub.session import Session
from mediaserver.hub.stream import LiveStream
from mediaserver.ports import EventSink
from mediaserver.transport.lost import notice_loss
from protocols import flv
from protocols.media import MediaKind, Metadata, Packet, Track

OnLost = Callable[[Exception | None], None]

#: What a player may send us while it plays, in bytes; it has nothing to say.
MAX_CHATTER: Final = 64 * 1024
#: The same for as many seconds behind a WebSocket, where pings and pongs are due as long as it plays.
CHATTER_TIME: Final = 60.0

_VIDEO: Final = MediaKind.VIDEO


class FlvWire:
    """FLV tags on the stream's clock: the same bytes for every player (WireFormat). The file header is the player's own."""

    def pieces(self, words: Iterable[Word], timestamp: int) -> list[bytes]:
        pieces: list[bytes] = []
        for word in words:
            if isinstance(word, Packet):
                body = word.body
                timestamp = word.dts & 0xFFFFFFFF
                type_id = flv.VIDEO if word.kind is _VIDEO else flv.AUDIO
                size = len(body)
                pieces += (flv.tag_header(type_id, timestamp, size), body, (size + flv.TAG_HEADER_SIZE).to_bytes(4, "big"))
            elif isinstance(word, Metadata):
                # FFmpeg makes a subtitle stream of a description that does not stand at 0.
                pieces.append(flv.write_tag(flv.DATA, 0, word.body))
            elif word.body:
                type_id = flv.VIDEO if word.kind is _VIDEO else flv.AUDIO
                pieces.append(flv.write_tag(type_id, timestamp & 0xFFFFFFFF, word.body))
        return pieces

    def frame(self, length: int) -> tuple[bytes, bytes]:  # noqa: ARG002 - plain FLV needs none
        return b"", b""


class ChunkedFlvWire(FlvWire):
    """The same in chunks, one for each write."""

    def frame(self, length: int) -> tuple[bytes, bytes]:
        return b"%x\r\n" % length, b"\r\n"


class WsFlvWire(FlvWire):
    """The same in binary WebSocket messages, one for each write."""

    def frame(self, length: int) -> tuple[bytes, bytes]:
        return websocket.frame_header(Opcode.BINARY, length), b""


FLV_WIRE: Final = FlvWire()
CHUNKED_FLV_WIRE: Final = ChunkedFlvWire()
WS_FLV_WIRE: Final = WsFlvWire()


class FlvPlayer(asyncio.Protocol):
    """A connection that plays: the fan-out writes to it; it is read only to learn that the peer is gone."""

    __slots__ = ("_closing_since", "_heard", "_on_lost", "_players", "_reason", "_transport", "player", "session")

    wire: WireFormat = FLV_WIRE

    def __init__(self, players: "FlvPlayers", session: Session, transport: asyncio.Transport, on_lost: OnLost | None) -> None:
        self.session = session
        self.player = FanoutPlayer(transport, session, self._end)
        self._players = players
        self._transport = transport
        self._on_lost = on_lost
        self._heard = 0
        self._closing_since: float | None = None
        self._reason = "closed by the player"

    def data_received(self, data: bytes) -> None:
        self._is_quiet(data)

    def pause_writing(self) -> None:
        self.player.pause_writing()

    def resume_writing(self) -> None:
        self.player.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self.player.lost(exc)
        self._players.leave(self, self._reason)
        if self._on_lost is not None:
            self._on_lost(exc)

    def begin(self, tracks: Sequence[Track]) -> bytes:
        """What stands before everything that players share: the FLV file header."""
        kinds = {track.kind for track in tracks} or set(MediaKind)
        header = flv.file_header(MediaKind.AUDIO in kinds, MediaKind.VIDEO in kinds)
        before, behind = self.wire.frame(len(header))
        return before + header + behind

    def close(self, reason: str) -> None:
        """Close once what is written is taken. Harmless twice."""
        if self._closing_since is None:
            self._reason = reason
            self._closing_since = self._players.clock()
            self._players.stop(self)  # no media may come behind the last words
            self.farewell()
            self._transport.close()

    def farewell(self) -> None:
        """The last words: none, the connection's end is the body's."""

    def sweep(self, now: float, patience: float) -> None:
        """Cut off a peer that does not even take the end."""
        if self._closing_since is not None and now - self._closing_since >= patience:
            self._transport.abort()

    def _is_quiet(self, data: bytes) -> bool:
        """Count what the peer says. It is cut off, and the answer no, if that is too much."""
        self._heard += len(data)
        if self._heard > MAX_CHATTER:
            self._reason = "sends instead of listening"
            self._transport.abort()
        return self._heard <= MAX_CHATTER

    def _end(self) -> None:
        self.close("the stream has ended")


class ChunkedFlvPlayer(FlvPlayer):
    """The same by HTTP/1.1, where the end of the media is told from the loss of the connection."""

    __slots__ = ()

    wire: WireFormat = CHUNKED_FLV_WIRE

    def farewell(self) -> None:
        self._transport.write(b"0\r\n\r\n")


class WsFlvPlayer(FlvPlayer):
    """The same behind a WebSocket: pings are answered, a goodbye is returned."""

    __slots__ = ("_forgiven", "_reader")

    wire: WireFormat = WS_FLV_WIRE

    def __init__(self, players: "FlvPlayers", session: Session, transport: asyncio.Transport, on_lost: OnLost | None) -> None:
        super().__init__(players, session, transport, on_lost)
        self._reader = FrameReader()
        self._forgiven = players.clock()

    def data_received(self, data: bytes) -> None:
        if not self._is_quiet(data) or self._closing_since is not None:
            return
        try:
            for opcode, payload in self._reader.receive(data):
                if opcode is Opcode.PING and not self._transport.get_write_buffer_size():
                    # A peer that does not read its pongs gets no more of them.
                    self.player.say(websocket.frame(Opcode.PONG, payload))
                elif opcode is Opcode.CLOSE:
                    self._leave(websocket.close_code(payload), "closed by the player")
                    return
        except WebSocketError as error:
            self._leave(error.code, str(error))

    def farewell(self) -> None:
        self._transport.write(websocket.close_frame(CloseCode.NORMAL))

    def sweep(self, now: float, patience: float) -> None:
        super().sweep(now, patience)
        if now - self._forgiven >= CHATTER_TIME:
            self._forgiven = now
            self._heard = 0

    def _leave(self, code: int, reason: str) -> None:
        self._reason = reason
        self._closing_since = self._players.clock()
        self._players.stop(self)
        self._transport.write(websocket.close_frame(code))
        self._transport.close()


class FlvPlayers:
    """All players of FLV: what an answer to them says, who they are, and their end."""

    def __init__(
        self,
        fanout: Fanout,
        sink: EventSink,
        counters: Counters,
        patience: float,
        on_left: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self.clock = clock
        self._on_left = on_left
        self._fanout = fanout
        self._sink = sink
        self._counters = counters
        self._patience = patience
        self._players: dict[str, FlvPlayer] = {}

    def __len__(self) -> int:
        return len(self._players)

    def sessions(self) -> list[Session]:
        """Who plays now."""
        return [player.session for player in self._players.values()]

    def kick(self, session_id: str, reason: str) -> bool:
        """Close the player of that session. False if there is none."""
        player = self._players.get(session_id)
        if player is not None:
            player.close(reason)
        return player is not None

    def check(self, request: MediaRequest, cors: Cors) -> Response | None:
        """The response to a request that gets no media: HEAD, or a WebSocket handshake that is none."""
        if request.websocket is not None:
            return websocket.check(request, cors)
        if request.method is Method.HEAD:
            return self._answer(request, cors)
        return None

    def head(self, request: MediaRequest, date: str, cors: Cors) -> bytes:
        """The head of the answer that begins to play. The connection ends with the media."""
        if request.websocket is not None:
            return render(websocket.accept(request), date, keep_alive=True)
        return render(self._answer(request, cors), date, keep_alive=False, chunked=request.chunked)

    def _answer(self, request: MediaRequest, cors: Cors) -> Response:
        headers = (("Content-Type", "video/x-flv"), ("Cache-Control", "no-store"), ("X-Accel-Buffering", "no"))
        return Response(HTTPStatus.OK, headers + cors.vary(gzip=False) + cors.headers(request.origin), length=None)

    def join(
        self,
        stream: LiveStream,
        session: Session,
        request: MediaRequest,
        transport: asyncio.Transport,
        head: bytes,
        on_lost: OnLost | None,
    ) -> None:
        """Turn ``transport`` into a player of ``stream``, whose answer begins with ``head``."""
        make = WsFlvPlayer if request.websocket is not None else ChunkedFlvPlayer if request.chunked else FlvPlayer
        player = make(self, session, transport, on_lost)
        transport.set_protocol(player)
        notice_loss(transport.get_extra_info("socket"), self._fanout.patience)
        self._players[session.id] = player
        self._counters.requests["flv" if request.websocket is None else "ws-flv"] += 1
        player.player.say(head + player.begin(tuple(stream.tracks.values())))
        self._fanout.join(stream, player.wire, player.player)
        self._sink.emit(player.player.started())

    def stop(self, player: FlvPlayer) -> None:
        """Send ``player`` nothing more. Harmless twice."""
        self._fanout.leave(player.player)

    def leave(self, player: FlvPlayer, reason: str) -> None:
        """``player`` is gone."""
        self.stop(player)
        session = player.session
        if self._players.pop(session.id, None) is None:
            return
        self._on_left()
        self._counters.bytes_out += session.bytes_out
        self._sink.emit(player.player.ended(reason))

    def close(self, reason: str) -> None:
        """Send everybody away."""
        for player in tuple(self._players.values()):
            player.close(reason)

    def sweep(self, now: float) -> None:
        """Apply the deadlines (those of slow players are the fan-out's)."""
        for player in tuple(self._players.values()):
            player.sweep(now, self._patience)
