"""Publishing over RTMP, and the one port that serves both: what a connection's events mean to the engine."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from mediaserver.delivery.rtmp import MEDIA_STREAM, RtmpPlayback
from mediaserver.errors import Refused
from mediaserver.events import PublishRefused
from mediaserver.hub.fanout import Fanout
from mediaserver.hub.hub import Hub, Publisher
from mediaserver.hub.player import FanoutPlayer
from mediaserver.hub.stream import StreamState
from mediaserver.ports import Authorizer, EventSink, PlayRequest, PublishRequest
from mediaserver.transport.rtmp import Role, RtmpConnection
from protocols.flv import TagReader, read_metadata
from protocols.media import Packet, Track
from protocols.rtmp.events import (
    ConnectRequested,
    DataReceived,
    Event,
    MediaReceived,
    PauseRequested,
    PlayRequested,
    PublishRequested,
    StreamClosed,
)
from protocols.rtmp.session import StatusCode

log = logging.getLogger(__name__)

#: Events that may wait behind a question to the authorizer.
MAX_WAITING = 1000


@dataclass(frozen=True, slots=True)
class RtmpServices:
    """What every connection shares."""

    hub: Hub
    fanout: Fanout
    authorizer: Authorizer
    sink: EventSink
    spawn: Callable[[Coroutine[None, None, None]], "asyncio.Task[None]"]
    app: str
    authorize_timeout: float
    wait_for_publisher: float

    def endpoint(self, connection: RtmpConnection) -> "RtmpEndpoint":
        """The handler of one connection."""
        return RtmpEndpoint(connection, self)


class RtmpEndpoint:
    """One connection's side of the conversation (an RtmpHandler): publishes at most one stream, or plays at most one."""

    __slots__ = (
        "_agent",
        "_app",
        "_connection",
        "_playback",
        "_publisher",
        "_queue",
        "_reader",
        "_services",
        "_stream_id",
        "_task",
    )

    def __init__(self, connection: RtmpConnection, services: RtmpServices) -> None:
        self._connection = connection
        self._services = services
        self._app = ""
        self._agent = ""
        self._publisher: Publisher | None = None
        self._stream_id = 0
        self._reader: TagReader | None = None
        self._playback: RtmpPlayback | None = None
        # Events that arrived behind a question that is still out.
        self._queue: deque[Event] = deque()
        self._task: asyncio.Task[None] | None = None

    def on_events(self, events: list[Event]) -> None:
        if self._task is not None:
            self._queue.extend(events)
            if len(self._queue) > MAX_WAITING:
                self._connection.turn_away("too many commands at once")
            return
        publisher, reader = self._publisher, self._reader
        if publisher is None or reader is None:
            self._drain(deque(events))
            return
        # The hot path: everything a publisher sends between two beats.
        # It is left when an event takes the publisher away.
        read, write = reader.read, publisher.write
        for index, event in enumerate(events):
            if type(event) is not MediaReceived:
                self._drain(deque(events[index:]))
                return
            type_id, _, timestamp, body = event
            item = read(type_id, timestamp, body)
            if isinstance(item, Packet):
                write(item)
            elif item is not None:
                self._declare(publisher, reader, item, event)

    @property
    def watched(self) -> bool:
        return self._publisher is None or bool(self._publisher.stream.subscribers)

    @property
    def player(self) -> FanoutPlayer | None:
        return None if self._playback is None else self._playback.player

    def kick(self, reason: str) -> None:
        """Send the peer away at the engine's wish, and end what it publishes."""
        if self._publisher is not None:
            self._services.hub.end(self._publisher.stream.name, reason)
        elif self._playback is not None:
            self._connection.protocol.end_play(MEDIA_STREAM, reason)
            self._stop_playing(reason)
        self._connection.close(reason)

    def on_closed(self, reason: str) -> None:
        if self._task is not None:
            self._task.cancel()
        self._unpublish(reason)
        self._stop_playing(reason)

    def pause_writing(self) -> None:
        if self._playback is not None:
            self._playback.player.pause_writing()

    def resume_writing(self) -> None:
        if self._playback is not None:
            self._playback.player.resume_writing()

    # -- one event at a time ----------------------------------------------------------------------------------------

    def _drain(self, events: deque[Event]) -> None:
        """Handle events in order until one needs an answer from outside; the rest waits behind it."""
        while events:
            event = events.popleft()
            match event:
                case MediaReceived():
                    self._on_media(event)
                case PublishRequested():
                    self._ask(self._publish(event), events)
                    return
                case PlayRequested():
                    self._ask(self._play(event), events)
                    return
                case _:
                    self._on_command(event)

    def _on_media(self, event: MediaReceived) -> None:
        if self._publisher is None or self._reader is None:
            return
        item = self._reader.read(event.type_id, event.timestamp, event.body)
        if isinstance(item, Packet):
            self._publisher.write(item)
        elif item is not None:
            self._declare(self._publisher, self._reader, item, event)

    @staticmethod
    def _declare(publisher: Publisher, reader: TagReader, track: Track, event: MediaReceived) -> None:
        publisher.write_track(track)
        if not track.body:
            # A codec without a sequence header: the tag that told of the track is a packet too.
            packet = reader.read(event.type_id, event.timestamp, event.body)
            if isinstance(packet, Packet):
                publisher.write(packet)

    def _on_command(self, event: Event) -> None:
        match event:
            case ConnectRequested():
                self._connect(event)
            case DataReceived() if self._publisher is not None:
                metadata = read_metadata(event.body)
                if metadata is not None:
                    self._publisher.write_metadata(metadata)
            case PauseRequested() if self._playback is not None:
                self._playback.pause(event.paused)
            case StreamClosed():
                self._unpublish("unpublished by the encoder")
                self._stop_playing("stopped by the player")

    def _connect(self, event: ConnectRequested) -> None:
        if event.app.strip("/") != self._services.app:
            self._connection.protocol.refuse_connect(
                f"there is no application {event.app[:64]!r} here, only {self._services.app!r}"
            )
            # Not what it asked for: people type their stream keys there.
            self._connection.turn_away("unknown application", told=True)
            return
        self._app = event.app
        self._agent = self._connection.session.agent = event.encoder[:64]
        self._connection.protocol.accept_connect()

    def _ask(self, question: Coroutine[None, None, None], rest: deque[Event]) -> None:
        self._queue = rest
        self._connection.hold(True)
        self._task = self._services.spawn(self._answer(question))

    async def _answer(self, question: Coroutine[None, None, None]) -> None:
        try:
            await question
        except Exception:
            # A bug, or an authorizer that broke its word: this connection pays, and nobody waits for an answer.
            log.exception("connection_failed", extra={"facts": {"session_id": self._connection.session.id}})
            self._connection.close("internal error")
        finally:
            self._task = None
        self._connection.flush()
        rest, self._queue = self._queue, deque()
        self._connection.hold(False)
        self._drain(rest)
        self._connection.flush()

    def _require_idle(self, *, playing_on: int = 0) -> None:
        """One connection publishes one stream or plays one; playing something else instead is allowed."""
        if self._publisher is not None or (self._playback is not None and not playing_on):
            raise Refused("this connection is in use already")
        if playing_on not in (0, MEDIA_STREAM):
            raise Refused("a connection plays on its first message stream")

    # -- publishing -------------------------------------------------------------------------------------------------

    async def _publish(self, event: PublishRequested) -> None:
        connection, services = self._connection, self._services
        session = connection.session
        request = PublishRequest(
            session_id=session.id,
            wire=session.wire,
            address=session.address,
            app=self._app,
            key=event.key,
            query=event.query,
            encoder=self._agent,
        )
        name = ""
        try:
            self._require_idle()
            async with asyncio.timeout(services.authorize_timeout):
                grant = await services.authorizer.may_publish(request)
            if connection.closing:
                return
            name = grant.name
            publisher = services.hub.publish(grant, session, self._kick)
        except Refused as refusal:
            self._refuse_publish(event, refusal.reason, name)
        except TimeoutError:
            self._refuse_publish(event, "the server could not decide in time", name)
        else:
            self._publisher = publisher
            self._stream_id = event.stream_id
            self._reader = TagReader()
            if connection.protocol.accept_publish(event):
                connection.become(Role.PUBLISHER)
            else:
                self._unpublish("the encoder changed its mind")

    def _refuse_publish(self, event: PublishRequested, reason: str, name: str) -> None:
        session = self._connection.session
        self._services.sink.emit(
            PublishRefused(name=name, session_id=session.id, at=time.time(), address=session.address, reason=reason)
        )
        # Not BadName, which OBS's librtmp takes no notice of.
        self._connection.protocol.refuse_publish(event, StatusCode.PUBLISH_REJECTED, reason)
        self._stop_playing(f"refused: {reason}")  # no media may come behind the last words
        self._connection.close(f"refused: {reason}", told=True)

    def _kick(self, reason: str) -> None:
        """The hub took the name away."""
        self._publisher = None
        self._connection.session.name = ""
        self._connection.become(Role.UNDECIDED)
        # An encoder that is told no more than that it is rejected does not come back, whatever it has been asked before.
        code = StatusCode.UNPUBLISH_SUCCESS if self._connection.asked_back else StatusCode.PUBLISH_REJECTED
        self._connection.protocol.end_publish(self._stream_id, code, reason)
        self._connection.close(reason, told=True)

    def _unpublish(self, reason: str) -> None:
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            self._connection.become(Role.UNDECIDED)
            publisher.close(reason)
            self._connection.session.name = ""

    # -- playing ----------------------------------------------------------------------------------------------------

    async def _play(self, event: PlayRequested) -> None:
        connection, services = self._connection, self._services
        session = connection.session
        request = PlayRequest(
            session_id=session.id,
            wire=session.wire,
            address=session.address,
            name=event.name,
            query=event.query,
            agent=self._agent,
        )
        try:
            self._require_idle(playing_on=event.stream_id)
            async with asyncio.timeout(services.authorize_timeout):
                grant = await services.authorizer.may_play(request)
        except Refused as refusal:
            self._refuse_play(event, StatusCode.PLAY_FAILED, refusal.reason)
            return
        except TimeoutError:
            self._refuse_play(event, StatusCode.PLAY_FAILED, "the server could not decide in time")
            return
        self._stop_playing("plays something else")
        if services.wait_for_publisher:
            # Read on meanwhile: a player that goes away does not wait.
            connection.become(Role.WAITING)
            connection.hold(False)
        stream = await services.hub.wait_for(grant.name, services.wait_for_publisher)
        if connection.closing:
            return
        if stream is None or stream.state is StreamState.ENDED:
            # The name is the player's to read only: people paste the address there that they publish to, key and all.
            self._refuse_play(event, StatusCode.PLAY_NOT_FOUND, f"{grant.name} is not live", "no stream of this name is live")
            return
        connection.become(Role.PLAYER)
        self._playback = playback = RtmpPlayback(connection, event, services.fanout, self._stream_over)
        if playback.start(stream):
            services.sink.emit(playback.player.started())
        else:
            self._playback = None
            connection.become(Role.UNDECIDED)

    def _refuse_play(self, event: PlayRequested, code: StatusCode, reason: str, noted: str = "") -> None:
        """Tell the player ``reason``, and everybody else ``noted`` where that differs."""
        self._connection.protocol.refuse_play(event, code, reason)
        noted = f"play refused: {noted or reason}"
        self._stop_playing(noted)
        self._connection.turn_away(noted, told=True)

    def _stream_over(self) -> None:
        self._stop_playing("the stream has ended")
        self._connection.close("the stream has ended")

    def _stop_playing(self, reason: str) -> None:
        playback, self._playback = self._playback, None
        if playback is None:
            return
        playback.stop()
        self._services.sink.emit(playback.player.ended(reason))
        self._connection.session.name = ""
        self._connection.become(Role.UNDECIDED)
