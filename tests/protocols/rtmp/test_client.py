"""The client's session, against our server's session and against servers that behave otherwise."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.rtmp import amf0
from protocols.rtmp.chunk import split_message
from protocols.rtmp.chunk_reader import ChunkReader
from protocols.rtmp.client import ClientSession
from protocols.rtmp.command import Command, read_command
from protocols.rtmp.endpoint import CHUNK_SIZE
from protocols.rtmp.enhanced import server_capabilities
from protocols.rtmp.events import (
    CommandFailed,
    Connected,
    ConnectRequested,
    DataReceived,
    Event,
    MediaReceived,
    PauseRequested,
    PlayRequested,
    PongReceived,
    PublishRequested,
    ReconnectRequested,
    StatusReceived,
    StreamClosed,
    StreamCreated,
    StreamEnded,
)
from protocols.rtmp.handshake import SCHEMES, ServerHandshake
from protocols.rtmp.limits import SessionLimits
from protocols.rtmp.session import ServerSession, StatusCode
from protocols.rtmp.states import SessionState, StreamState


def accept(server: ServerSession, event: Event) -> None:
    match event:
        case ConnectRequested():
            server.accept_connect()
        case PublishRequested():
            server.accept_publish(event)
        case PlayRequested():
            server.accept_play(event)


class Pair:
    """A client and a server that exchange bytes until both have said all."""

    def __init__(self, answer: Callable[[ServerSession, Event], None] = accept, **options: object) -> None:
        self.client = ClientSession("live", "rtmp://h/live", **options)  # type: ignore[arg-type]
        self.server = ServerSession()
        self.answer = answer
        self.heard: list[Event] = []  # by the server
        self.told: list[Event] = []  # to the client

    def run(self) -> "Pair":
        while (up := self.client.data_to_send()) or (down := self.server.data_to_send()):
            if up:
                events = self.server.receive_data(up)
                self.heard += events
                for event in events:
                    self.answer(self.server, event)
            else:
                self.told += self.client.receive_data(down)
        return self


@pytest.mark.parametrize("scheme", [None, *SCHEMES])
@pytest.mark.parametrize("before", [True, False])
def test_publish(scheme, before):
    pair = Pair(scheme=scheme)
    pair.client.start()
    if before:
        pair.client.publish("key?token=x")
        pair.run()
    else:
        pair.run()
        pair.client.publish("key?token=x")
        pair.run()
    assert pair.client.stream_state is StreamState.PUBLISHING
    assert [type(event) for event in pair.told] == [Connected, StreamCreated, StatusReceived]
    assert pair.told[-1] == StatusReceived(1, "status", "NetStream.Publish.Start", "Publishing started.")
    assert pair.heard[-1] == PublishRequested(1, "key", "token=x", "live", 1)
    body = bytes(range(256)) * 1000
    pair.client.send_media(9, 0xFFFFFFF0, body)
    pair.client.send_media(8, 5, b"a")
    pair.client.send_data(6, b"meta")
    pair.client.close()
    pair.heard.clear()
    pair.run()
    assert pair.heard == [
        MediaReceived(9, 1, 0xFFFFFFF0, body),
        MediaReceived(8, 1, 5, b"a"),
        DataReceived(1, 6, b"meta"),
        StreamClosed(1),
    ]
    assert pair.client.state is SessionState.CLOSED


def test_play():
    pair = Pair()
    pair.client.start()
    pair.client.play("name?token=x")
    pair.run()
    assert pair.client.stream_state is StreamState.PLAYING
    assert pair.heard[-1] == PlayRequested(1, "name", "token=x", -2.0, 1)
    pair.told.clear()
    sent = [(18, 0, b"meta"), (9, 0, b"h" * 10), (9, 40, b"v" * 70000), (8, 41, b"a")]
    pair.told += pair.client.receive_data(b"".join(p for each in sent for p in split_message(*each, CHUNK_SIZE)))
    assert pair.told == [DataReceived(1, 0, b"meta")] + [MediaReceived(each[0], 1, *each[1:]) for each in sent[1:]]
    pair.client.pause(paused=True)
    pair.run()
    assert pair.heard[-1] == PauseRequested(1, True)
    pair.told.clear()
    pair.server.end_play(1, "Over.")
    pair.run()
    assert pair.told == [
        StreamEnded(1),
        StatusReceived(1, "status", "NetStream.Play.UnpublishNotify", "Over."),
        StatusReceived(1, "status", "NetStream.Play.Stop", "Over."),
    ]
    pair.client.close()
    pair.run()
    assert pair.server.state is SessionState.CONNECTED


def test_server_sees_what_the_client_can_do():
    pair = Pair(properties=server_capabilities(), encoder="test/1")
    pair.client.start()
    pair.run()
    (request,) = pair.heard
    (connected,) = pair.told
    assert isinstance(request, ConnectRequested)
    assert isinstance(connected, Connected)
    assert request.encoder == "test/1"
    assert request.capabilities == connected.capabilities == pair.server.capabilities
    assert connected.properties["code"] == "NetConnection.Connect.Success"
    pair.told.clear()
    pair.server.request_reconnect("rtmp://other/live", "Bye.")
    pair.server.request_reconnect("", "Bye.")
    pair.run()
    assert pair.told == [ReconnectRequested("rtmp://other/live", "Bye."), ReconnectRequested("", "Bye.")]


def test_refused_publish_and_a_kick():
    def refuse(server: ServerSession, event: Event) -> None:
        if isinstance(event, PublishRequested):
            server.refuse_publish(event, StatusCode.PUBLISH_REJECTED, "No.")
        else:
            accept(server, event)

    pair = Pair(refuse)
    pair.client.start()
    pair.client.publish("key")
    pair.run()
    assert pair.told[-1] == StatusReceived(1, "error", "NetStream.Publish.Rejected", "No.")
    assert pair.client.stream_state is StreamState.CREATED
    with pytest.raises(LocalProtocolError, match="media"):
        pair.client.send_media(9, 0, b"v")
    with pytest.raises(LocalProtocolError, match="pause"):
        pair.client.pause(paused=True)
    pair = Pair()
    pair.client.start()
    pair.client.publish("key")
    pair.run()
    pair.server.end_publish(1, StatusCode.UNPUBLISH_SUCCESS, "Over.")
    pair.run()
    assert pair.client.stream_state is StreamState.CREATED


def test_refused_connect():
    pair = Pair(lambda server, _: server.refuse_connect("No such app.") and None)
    pair.client.start()
    pair.run()
    assert pair.told == [CommandFailed("connect", "NetConnection.Connect.InvalidApp", "No such app.")]
    assert pair.client.state is SessionState.CLOSED
    assert pair.client.receive_data(b"more") == []


def test_close_before_anything():
    client = ClientSession("live", "")
    client.close()
    assert client.data_to_send() == b""


def test_one_stream_a_connection():
    client = ClientSession("live", "")
    client.publish("a")
    with pytest.raises(LocalProtocolError):
        client.play("b")


def test_pings_both_ways():
    pair = Pair()
    pair.client.start()
    pair.run()
    pair.client.ping(7)
    pair.server.ping(8)
    pair.run()
    assert PongReceived(7) in pair.told
    assert PongReceived(8) in pair.heard


class Script:
    """A server that says what the test says; ``calls`` is what the client said."""

    def __init__(self, *, publish: bool = True) -> None:
        self.client = ClientSession("live", "rtmp://h/live")
        self.client.start()
        if publish:
            self.client.publish("key")
        else:
            self.client.play("name")
        self.reader = ChunkReader(SessionLimits())
        handshake = ServerHandshake()
        handshake.receive(self.client.data_to_send())
        self.client.receive_data(handshake.reply)
        self.calls: list[Command] = []
        self.listen(handshake.receive(self.client.data_to_send()))

    def listen(self, data: bytes) -> None:
        self.calls += [read_command(each.body) for each in self.reader.receive(data) if each.type_id == 20]

    def say(self, name: str, transaction: float, *values: object, stream_id: int = 0) -> list[Event]:
        body = amf0.encode(name, transaction, *values)
        events = self.client.receive_data(b"".join(split_message(20, 0, body, 128, stream_id)))
        self.listen(self.client.data_to_send())
        return events

    def names(self) -> list[tuple[str, float]]:
        return [(call.name, call.transaction) for call in self.calls]


def test_what_a_publisher_says_in_which_order():
    script = Script()
    assert script.calls == [
        Command("connect", 1.0, [
            {"app": "live", "tcUrl": "rtmp://h/live", "type": "nonprivate", "flashVer": "FMLE/3.0 (compatible; mediaserver)"}
        ])
    ]  # fmt: skip
    script.say("_result", 1, None, {"code": "x"})
    assert script.names()[1:] == [("releaseStream", 2), ("FCPublish", 3), ("createStream", 4)]
    assert script.say("_error", 2, None, {"code": "NetConnection.Call.Failed"}) == []
    assert script.say("onFCPublish", 0, None, {}) == []
    assert script.say("_result", 4, None, 5.0) == [StreamCreated(5)]
    assert script.calls[-1] == Command("publish", 0.0, [None, "key", "live"])
    assert script.say("_result", 4, None, 6.0) == []
    assert script.client.stream_id == 5


def test_what_a_player_says():
    script = Script(publish=False)
    script.say("_result", 1)
    script.say("_result", 2, None, 1.0)
    assert script.names()[1:] == [("createStream", 2), ("play", 0)]
    assert script.say("onStatus", 0, None, {"level": "error", "code": "NetStream.Play.StreamNotFound"}, stream_id=1) == [
        StatusReceived(1, "error", "NetStream.Play.StreamNotFound", "")
    ]
    assert script.client.stream_state is StreamState.CREATED


def test_create_stream_fails():
    script = Script()
    script.say("_result", 1)
    assert script.say("_error", 4, None, {"code": "c", "description": "d"}) == [CommandFailed("createStream", "c", "d")]


@pytest.mark.parametrize("answer", [(), (None,), (None, "1"), (None, -1.0)])
def test_create_stream_without_an_id(answer):
    script = Script()
    script.say("_result", 1)
    with pytest.raises(RemoteProtocolError, match="message stream id"):
        script.say("_result", 4, *answer)


def test_status_before_there_is_a_stream():
    script = Script()
    expected = [StatusReceived(0, "error", "NetConnection.Connect.Rejected", "")]
    assert script.say("onStatus", 0, None, {"level": "error", "code": "NetConnection.Connect.Rejected"}) == expected


def test_media_that_nobody_asked_for_is_dropped():
    script = Script()
    assert script.client.receive_data(b"".join(split_message(9, 0, b"v", 128, 1))) == []


@given(
    st.lists(
        st.one_of(
            st.builds(
                lambda name, transaction, values, stream_id: b"".join(
                    split_message(20, 0, amf0.encode(name, transaction, *values), 128, stream_id)
                ),
                st.sampled_from(["_result", "_error", "onStatus", "close", "publish"]),
                st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, float("nan")]),
                st.lists(st.one_of(st.none(), st.floats(), st.just({"code": StatusCode.PUBLISH_START}), st.just({"code": 1.0}))),
                st.integers(0, 2),
            ),
            st.binary(max_size=30),
        ),
        max_size=8,
    )
)
def test_any_bytes_of_a_server_give_events_or_a_remote_error(pieces):
    client = Script().client
    try:
        for piece in pieces:
            client.receive_data(piece)
    except RemoteProtocolError:
        assert client.state is SessionState.CLOSED
