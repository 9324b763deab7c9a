"""The server's session: orders of commands, refusals, flow control, and what it must survive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from protocols.rtmp import amf0
from protocols.rtmp.chunk import split_message
from protocols.rtmp.chunk_reader import ChunkReader
from protocols.rtmp.command import read_command
from protocols.rtmp.endpoint import CHUNK_SIZE, WINDOW
from protocols.rtmp.enhanced import server_capabilities
from protocols.rtmp.events import (
    ConnectRequested,
    DataReceived,
    Event,
    MediaReceived,
    PauseRequested,
    PlayRequested,
    PongReceived,
    PublishRequested,
    StreamClosed,
)
from protocols.rtmp.session import ServerSession, SessionLimits, StatusCode
from protocols.rtmp.states import SessionState

HELLO = b"\x03" + bytes(1536) + bytes(1536)
NAMES = {1: "chunk size", 3: "acknowledgement", 4: "user control", 5: "window", 6: "bandwidth"}


def message(type_id: int, body: bytes, stream_id: int = 0, timestamp: int = 0) -> bytes:
    return b"".join(split_message(type_id, timestamp, body, 128, stream_id))


def command(name: str, transaction: float, *values: object, stream_id: int = 0) -> bytes:
    return message(20, amf0.encode(name, transaction, *values), stream_id)


CONNECT = command("connect", 1, {"app": "live", "tcUrl": "rtmp://h/live", "flashVer": "FMLE/3.0"})
CREATE = command("createStream", 4, None)
PUBLISH = command("publish", 5, None, "key?token=x", "live", stream_id=1)
PLAY = command("play", 5, None, "name", -2000, stream_id=1)


class Peer:
    """A ServerSession with somebody who reads its answers."""

    publication: PublishRequested  # the last of each
    playback: PlayRequested

    def __init__(self, limits: SessionLimits | None = None) -> None:
        self.session = ServerSession(limits) if limits else ServerSession()
        self.reader = ChunkReader(SessionLimits())
        self.events: list[Event] = self.session.receive_data(HELLO)
        assert len(self.session.data_to_send()) == 3073

    def send(self, *pieces: bytes) -> list[Event]:
        events = self.session.receive_data(b"".join(pieces))
        for event in events:
            if isinstance(event, PublishRequested):
                self.publication = event
            elif isinstance(event, PlayRequested):
                self.playback = event
        return events

    def answers(self) -> list[tuple[object, ...]]:
        """("_result", transaction, …) for commands, (name, body) for control messages; chunk sizes are obeyed, not listed."""
        found: list[tuple[object, ...]] = []
        for each in self.reader.receive(self.session.data_to_send()):
            if each.type_id == 20:
                decoded = read_command(each.body)
                found.append((decoded.name, decoded.transaction, *decoded.arguments))
            else:
                found.append((NAMES[each.type_id], each.body))
        return found

    def codes(self) -> list[object]:
        return [answer[-1]["code"] for answer in self.answers() if isinstance(answer[-1], dict) and "code" in answer[-1]]

    def connected(self) -> "Peer":
        self.send(CONNECT)
        assert self.session.accept_connect()
        self.send(CREATE)
        self.answers()
        return self

    def publishing(self) -> "Peer":
        self.connected().send(PUBLISH)
        assert self.session.accept_publish(self.publication)
        self.answers()
        return self

    def playing(self) -> "Peer":
        self.connected().send(PLAY)
        assert self.session.accept_play(self.playback)
        self.answers()
        return self


def test_connect_is_answered_byte_for_byte():
    peer = Peer()
    (event,) = peer.send(CONNECT)
    assert isinstance(event, ConnectRequested)
    assert (event.app, event.tc_url, event.encoder) == ("live", "rtmp://h/live", "FMLE/3.0")
    assert peer.session.state is SessionState.CONNECT_REQUESTED
    assert peer.session.data_to_send() == bytes.fromhex(
        "02 000000 000004 05 00000000 002625a002 000000 000005 06 00000000 002625a0 0202 000000 000004 01 00000000 0000ea60"
    )
    assert peer.session.accept_connect()
    assert peer.session.state is SessionState.CONNECTED
    body = amf0.encode(
        "_result",
        1.0,
        {"fmsVer": "FMS/3,5,7,7009", "capabilities": 31.0, "mode": 1.0},
        {
            "level": "status",
            "code": "NetConnection.Connect.Success",
            "description": "Connection succeeded.",
            "objectEncoding": 0.0,
        },
    )
    assert peer.session.data_to_send() == b"\x03\0\0\0" + len(body).to_bytes(3, "big") + b"\x14\0\0\0\0" + body


def test_enhanced_capabilities_are_answered_to_those_who_ask():
    peer = Peer()
    peer.send(command("connect", 1, {"app": "live", "fourCcList": ["hvc1"], "capsEx": 1.0, "objectEncoding": 3.0}))
    peer.session.accept_connect()
    properties, information = peer.answers()[-1][2:]
    assert server_capabilities().items() <= properties.items()
    assert information["objectEncoding"] == 3.0
    assert peer.session.capabilities.fourccs == {"hvc1"}


def test_obs_publishes():
    peer = Peer()
    peer.send(CONNECT)
    peer.session.accept_connect()
    peer.answers()
    peer.send(command("releaseStream", 2, None, "key"), command("FCPublish", 3, None, "key"), CREATE)
    assert [answer[:2] for answer in peer.answers()] == [("_result", 2), ("_result", 3), ("onFCPublish", 0), ("_result", 4)]
    (event,) = peer.send(PUBLISH)
    assert event == PublishRequested(1, "key", "token=x", "live", 1)
    assert "key" not in repr(event)
    assert "token" not in repr(event)
    assert peer.answers() == []
    assert peer.session.accept_publish(peer.publication)
    begin, status = peer.answers()
    assert begin == ("user control", b"\0\0\0\0\0\1")
    assert status[:3] == ("onStatus", 0, None)
    assert status[3]["code"] == "NetStream.Publish.Start"
    meta = amf0.encode("@setDataFrame", "onMetaData", {"width": 320.0})
    events = peer.send(message(18, meta, 1), message(9, b"v" * 300, 1, 40), message(8, b"a", 1, 43))
    assert events == [DataReceived(1, 0, meta), MediaReceived(9, 1, 40, b"v" * 300), MediaReceived(8, 1, 43, b"a")]
    events = peer.send(command("FCUnpublish", 6, None, "key"), command("deleteStream", 7, None, 1.0))
    assert events == [StreamClosed(1)]
    assert peer.codes() == ["NetStream.Unpublish.Success"] * 2


def test_every_cut_of_a_whole_publish_means_the_same():
    rest = CONNECT + CREATE + PUBLISH + message(9, b"v" * 300, 1, 40) + command("deleteStream", 7, None, 1.0)
    whole = ServerSession(entropy=b"").receive_data(HELLO + rest)
    assert [type(event) for event in whole] == [ConnectRequested, PublishRequested, MediaReceived, StreamClosed]
    for cut in range(len(rest)):
        session = ServerSession(entropy=b"")
        assert session.receive_data(HELLO + rest[:cut]) + session.receive_data(rest[cut:]) == whole
    dripped = ServerSession(entropy=b"")
    data = HELLO + rest
    assert [event for i in range(len(data)) for event in dripped.receive_data(data[i : i + 1])] == whole


def test_pipelined_commands_are_answered_behind_connect():
    peer = Peer()
    events = peer.send(CONNECT, CREATE, PUBLISH)
    assert [type(event) for event in events] == [ConnectRequested, PublishRequested]
    assert [answer[0] for answer in peer.answers()] == ["window", "bandwidth"]
    peer.session.accept_connect()
    peer.session.accept_publish(peer.publication)
    assert [answer[0] for answer in peer.answers()] == ["_result", "_result", "user control", "onStatus"]


def test_a_player():
    peer = Peer().connected()
    assert peer.send(command("getStreamLength", 6, None, "name")) == []
    assert peer.answers() == [("_result", 6, None, 0)]
    assert peer.send(PLAY) == [PlayRequested(1, "name", "", -2000.0, 1)]
    assert peer.session.accept_play(peer.playback)
    answers = peer.answers()
    assert answers[0] == ("user control", b"\0\0\0\0\0\1")
    assert [answer[3]["code"] for answer in answers[1:]] == ["NetStream.Play.Reset", "NetStream.Play.Start"]
    assert peer.send(command("pause", 0, None, True, 0.0, stream_id=1)) == [PauseRequested(1, True)]
    assert peer.send(command("pause", 0, None, False, 0.0, stream_id=1)) == [PauseRequested(1, False)]
    assert peer.codes() == ["NetStream.Pause.Notify", "NetStream.Unpause.Notify"]
    assert peer.session.end_play(1, "The publisher left.")
    answers = peer.answers()
    assert answers[0] == ("user control", b"\0\1\0\0\0\1")
    assert [answer[3]["code"] for answer in answers[1:]] == ["NetStream.Play.UnpublishNotify", "NetStream.Play.Stop"]
    assert peer.send(PLAY) == [PlayRequested(1, "name", "", -2000.0, 2)]


def test_play_without_a_start():
    assert Peer().connected().send(command("play", 0, None, "mp4:n?t=1", stream_id=1)) == [PlayRequested(1, "n", "t=1", -2.0, 1)]


def test_switching_to_another_name_ends_the_first():
    events = Peer().playing().send(command("play", 0, None, "other", stream_id=1))
    assert events == [StreamClosed(1), PlayRequested(1, "other", "", -2.0, 2)]
    peer = Peer().publishing()
    assert peer.send(command("publish", 0, None, "other", stream_id=1)) == [
        StreamClosed(1),
        PublishRequested(1, "other", "", "live", 2),
    ]
    assert peer.codes() == ["NetStream.Unpublish.Success"]


def test_seek_is_refused_politely():
    peer = Peer().playing()
    assert peer.send(command("seek", 0, None, 1000.0, stream_id=1)) == []
    assert peer.codes() == ["NetStream.Seek.Failed"]
    assert peer.session.end_play(1, "")


def test_pause_means_nothing_without_a_player():
    peer = Peer().publishing()
    assert peer.send(command("pause", 0, None, True, 0.0, stream_id=1), command("receiveAudio", 0, None, True)) == []
    assert peer.answers() == []


def test_subscribing_like_rtmpdump():
    peer = Peer().connected()
    assert peer.send(command("FCSubscribe", 5, None, "name")) == []
    assert [answer[0] for answer in peer.answers()] == ["_result", "onFCSubscribe"]


def test_commands_that_want_no_answer_get_none():
    peer = Peer().connected()
    assert peer.send(command("releaseStream", 0, None, "key"), command("whatever", 0, None), command("_result", 3, None)) == []
    assert peer.answers() == []


def test_unknown_commands_get_an_error_if_they_wait_for_one():
    peer = Peer().connected()
    assert peer.send(command("_checkbw", 9, None)) == []
    assert [answer[:2] for answer in peer.answers()] == [("_error", 9)]


@pytest.mark.parametrize("end", ["closeStream", "deleteStream"])
def test_a_stream_that_ended_can_be_used_again(end):
    peer = Peer().publishing()
    assert peer.send(command(end, 0, None, 1.0, stream_id=1)) == [StreamClosed(1)]
    assert peer.send(message(9, b"late", 1)) == []
    assert peer.send(command(end, 0, None, 1.0, stream_id=1)) == []
    if end == "deleteStream":
        peer.send(CREATE)
    assert [type(event) for event in peer.send(PUBLISH)] == [PublishRequested]
    assert [type(event) for event in peer.send(message(9, b"new", 1))] == [MediaReceived]


def test_two_publications_on_one_connection():
    peer = Peer().publishing()
    peer.send(CREATE)
    assert peer.answers() == [("_result", 4, None, 2)]
    peer.send(command("publish", 0, None, "second", stream_id=2))
    peer.session.accept_publish(peer.publication)
    media = message(9, b"one", 1) + message(9, b"two", 2)
    assert peer.send(media) == [MediaReceived(9, 1, 0, b"one"), MediaReceived(9, 2, 0, b"two")]
    assert peer.send(command("FCUnpublish", 0, None, "second")) == [StreamClosed(2)]
    assert peer.send(media) == [MediaReceived(9, 1, 0, b"one")]


@pytest.mark.parametrize("argument", [None, 5.0, "other", ""])
def test_fc_unpublish_of_what_nobody_publishes(argument):
    peer = Peer().publishing()
    assert peer.send(command("FCUnpublish", 0, None, argument)) == []
    assert peer.send(message(9, b"v", 1)) == [MediaReceived(9, 1, 0, b"v")]


@pytest.mark.parametrize("argument", [2.0, "1", None, float("nan"), -1.0, True])
def test_delete_stream_of_what_does_not_exist(argument):
    peer = Peer().publishing()
    assert peer.send(command("deleteStream", 0, None, argument)) == []
    assert peer.send(message(9, b"v", 1)) == [MediaReceived(9, 1, 0, b"v")]


def test_refused_publish():
    code = StatusCode.PUBLISH_REJECTED
    peer = Peer().connected()
    peer.send(PUBLISH)
    assert peer.session.refuse_publish(peer.publication, code, "That name is taken.")
    status = peer.answers()[0][3]
    assert status == {"level": "error", "code": str(code), "description": "That name is taken."}
    assert peer.send(message(9, b"v", 1), message(18, b"", 1)) == []
    assert not peer.session.refuse_publish(peer.publication, code, "")
    assert [type(event) for event in peer.send(PUBLISH)] == [PublishRequested]


def test_refused_play():
    peer = Peer().connected()
    peer.send(PLAY)
    assert peer.session.refuse_play(peer.playback, StatusCode.PLAY_NOT_FOUND, "Not live.")
    assert peer.codes() == ["NetStream.Play.StreamNotFound"]
    assert not peer.session.refuse_play(peer.playback, StatusCode.PLAY_NOT_FOUND, "")


def test_refused_connect():
    peer = Peer()
    peer.send(CONNECT, CREATE)
    assert peer.session.refuse_connect("No such app.")
    answers = peer.answers()
    assert answers[-1][:2] == ("_error", 1)
    assert answers[-1][3]["code"] == "NetConnection.Connect.InvalidApp"
    assert peer.session.state is SessionState.CLOSED
    assert peer.send(CREATE, b"anything") == []
    assert not peer.session.accept_connect()
    assert not peer.session.end_publish(1, StatusCode.UNPUBLISH_SUCCESS, "")


def test_answers_behind_an_error_do_nothing():
    peer = Peer().connected()
    peer.send(PUBLISH)
    with pytest.raises(RemoteProtocolError):
        peer.send(message(7, b""))
    assert not peer.session.accept_publish(peer.publication)


@pytest.mark.parametrize(("code", "level"), [(StatusCode.UNPUBLISH_SUCCESS, "status"), (StatusCode.PUBLISH_REJECTED, "error")])
def test_kick(code, level):
    peer = Peer().publishing()
    assert peer.session.end_publish(1, code, "Over.")
    assert peer.answers()[0][3]["level"] == level
    assert peer.send(message(9, b"v", 1)) == []
    assert not peer.session.end_publish(1, code, "Over.")


def test_answers_that_come_too_late_do_nothing():
    peer = Peer().connected()
    peer.send(PUBLISH, command("deleteStream", 0, None, 1.0))
    peer.answers()
    session = peer.session
    assert not session.accept_publish(peer.publication)
    assert not session.refuse_publish(peer.publication, StatusCode.PUBLISH_REJECTED, "")
    assert not session.end_play(1, "")
    assert peer.answers() == []


@pytest.mark.parametrize("end", [command("deleteStream", 0, None, 1.0) + CREATE, command("closeStream", 0, None, stream_id=1)])
def test_a_late_answer_is_none_to_what_was_asked_for_since(end):
    peer = Peer().connected()
    first, _, second = peer.send(PUBLISH, end, command("publish", 0, None, "other", stream_id=1))
    peer.answers()
    assert isinstance(first, PublishRequested)
    assert isinstance(second, PublishRequested)
    assert not peer.session.accept_publish(first)
    assert not peer.session.refuse_publish(first, StatusCode.PUBLISH_REJECTED, "No.")
    assert peer.answers() == []
    assert peer.session.accept_publish(second)
    assert peer.codes() == ["NetStream.Publish.Start"]
    assert not peer.session.accept_publish(second)


def test_a_late_answer_is_none_to_the_same_question_asked_again():
    peer = Peer().connected()
    close = command("closeStream", 0, None, stream_id=1)
    first, _, second = peer.send(PLAY, close, PLAY)
    assert isinstance(first, PlayRequested)
    assert isinstance(second, PlayRequested)
    assert first != second
    assert not peer.session.accept_play(first)
    assert not peer.session.refuse_play(first, StatusCode.PLAY_FAILED, "No.")
    assert peer.answers() == []
    assert peer.session.accept_play(second)


@pytest.mark.parametrize("answer", ["accept_connect", "refuse_connect"])
def test_answers_nobody_asked_for(answer):
    with pytest.raises(LocalProtocolError):
        getattr(Peer().session, answer)(*([""] if answer == "refuse_connect" else []))


@pytest.mark.parametrize(
    "pieces",
    [
        (CREATE,),
        (PUBLISH,),
        (command("releaseStream", 2, None, "key"),),
        (CONNECT, CONNECT),
        (CONNECT, PUBLISH),
        (CONNECT, PLAY),
        (CONNECT, CREATE, PUBLISH, PUBLISH),
        (CONNECT, CREATE, PLAY, PLAY),
        (CONNECT, CREATE, PLAY, PUBLISH),
        (CONNECT, CREATE, command("publish", 5, None, 5.0, stream_id=1)),
        (CONNECT, CREATE, command("publish", 5, None, stream_id=1)),
        (CONNECT, CREATE, command("play", 5, None, None, stream_id=1)),
        (CONNECT, CREATE, command("publish", 5, None, "k", stream_id=7)),
        (CONNECT, message(9, b"v", 1)),
        (message(8, b"a", 0),),
        (CONNECT, CREATE, message(18, b"", 1)),
        (CONNECT, CREATE, PLAY, message(9, b"v", 1)),
        (message(7, b""),),
        (message(0, b"\0\0\0\0"),),
        (message(99, b""),),
        (message(3, b"\0"),),
        (message(4, b"\0"),),
        (message(4, b""),),
        (message(4, b"\0\6\0"),),
        (message(5, b""),),
        (message(6, b"\0\0"),),
        (message(20, b""),),
        (message(20, b"\x00"),),
        (message(17, b"\x00\x09"),),
        (command("connect", 1, None),),
        (command("connect", 1, {"app": 1.0}),),
        (CONNECT, CREATE, PUBLISH, message(22, b"\x09\x00\x00", 1)),
    ],
)
def test_abuse_ends_in_a_remote_error_and_silence(pieces):
    peer = Peer()
    with pytest.raises(RemoteProtocolError):
        peer.send(*pieces)
    assert peer.session.state is SessionState.CLOSED
    assert peer.send(CONNECT) == []


def test_too_many_message_streams():
    peer = Peer(SessionLimits(message_streams=3)).connected()
    peer.send(CREATE, CREATE)
    with pytest.raises(LimitExceeded, match="message streams"):
        peer.send(CREATE)


def test_little_is_reassembled_before_anything_is_accepted():
    limits = SessionLimits(reassembly_before_media=1000)
    peer = Peer(limits).connected()
    peer.send(PUBLISH)
    with pytest.raises(LimitExceeded, match="1000 bytes"):
        peer.send(message(9, bytes(3000), 1)[:2000])
    peer = Peer(limits).publishing()
    peer.send(message(9, bytes(3000), 1)[:2000])


def test_no_more_is_reassembled_for_a_player():
    peer = Peer(SessionLimits(reassembly_before_media=1000)).playing()
    with pytest.raises(LimitExceeded, match="1000 bytes"):
        peer.send(message(9, bytes(3000), 1)[:2000])


IDLE = command("_checkbw", 0, None)


def test_commands_are_counted_until_something_is_accepted():
    peer = Peer(SessionLimits(commands=10)).connected()
    for _ in range(8):
        peer.send(IDLE)
    with pytest.raises(LimitExceeded, match="10 commands"):
        peer.send(IDLE)


@pytest.mark.parametrize("role", [Peer.publishing, Peer.playing])
def test_commands_are_counted_by_the_read_once_something_was_accepted(role):
    peer = role(Peer(SessionLimits(commands=10)))
    for _ in range(10):
        peer.send(IDLE * 10)
    with pytest.raises(LimitExceeded, match="10 commands"):
        peer.send(IDLE * 11)


@pytest.mark.parametrize("wrapped", [False, True])
def test_metadata_comes_a_few_times_at_once_at_most(wrapped):
    body = amf0.encode(*(["@setDataFrame"] if wrapped else []), "onMetaData", {})
    limits = SessionLimits()
    peer = Peer(limits).publishing()
    for _ in range(3):
        assert (
            len(peer.send(message(18, body, 1) * limits.metadata, message(18, b"\2\0\4onFI", 1) * 100)) == limits.metadata + 100
        )
    with pytest.raises(LimitExceeded, match="onMetaData"):
        peer.send(message(18, body, 1) * (limits.metadata + 1))


def test_aggregates_hold_a_number_of_tags_that_ends():
    tag = b"\x08" + bytes(14)
    limits = SessionLimits(units=100)
    peer = Peer(limits).publishing()
    peer.send(message(22, tag * 100, 1))
    with pytest.raises(LimitExceeded, match="100 tags"):
        peer.send(message(22, tag * 60, 1), message(22, tag * 60, 1))


@pytest.mark.parametrize("stream_id", [1, 0])
def test_media_of_all_kinds_finds_its_stream(stream_id):
    aggregate = (
        b"\x08\0\0\1\0\0\5\0\0\0\0a\0\0\0\x0c" + b"\x12\0\0\1\0\0\7\0\0\0\0d\0\0\0\x0c" + b"\x09\0\0\0\0\0\7\0\0\0\0\0\0\0\x0b"
    )
    events = (
        Peer()
        .publishing()
        .send(message(9, b"v", stream_id, 1), message(15, b"\0meta", stream_id, 2), message(22, aggregate, stream_id, 100))
    )
    assert events == [
        MediaReceived(9, 1, 1, b"v"),
        DataReceived(1, 2, b"meta"),
        MediaReceived(8, 1, 100, b"a"),
        DataReceived(1, 102, b"d"),
    ]


def test_amf3_commands_and_shared_objects():
    peer = Peer()
    (event,) = peer.send(message(17, b"\0" + amf0.encode("connect", 1, {"app": "live", "objectEncoding": 3.0})))
    assert isinstance(event, ConnectRequested)
    peer.session.accept_connect()
    assert peer.send(message(19, b"whatever"), message(16, b"whatever")) == []


def test_acknowledgements_follow_the_window():
    peer = Peer().publishing()
    peer.send(message(5, (5000).to_bytes(4, "big")))
    assert peer.answers() == []
    before = peer.session.bytes_received
    peer.send(message(9, bytes(2000), 1))
    assert peer.answers() == []
    peer.send(message(9, bytes(4000), 1))
    assert peer.answers() == [("acknowledgement", peer.session.bytes_received.to_bytes(4, "big"))]
    assert peer.session.bytes_received > before + 5000
    peer.send(message(9, bytes(2000), 1))
    assert peer.answers() == []


def test_default_window_and_its_wrap():
    peer = Peer().publishing()
    peer.session.bytes_received = 0xFFFFFFFF
    peer.send(message(8, b"", 1))
    assert peer.answers() == [("acknowledgement", (11).to_bytes(4, "big"))]


@pytest.mark.parametrize("window", [0, 1])
def test_absurd_windows(window):
    peer = Peer().publishing()
    peer.send(message(5, window.to_bytes(4, "big")))
    peer.answers()
    peer.send(message(9, b"x", 1) * 100)
    assert len(peer.answers()) == window


def test_peer_bandwidth_is_answered_once():
    peer = Peer().connected()
    peer.send(message(6, WINDOW.to_bytes(4, "big") + b"\2"))
    assert peer.answers() == []
    for _ in range(2):
        peer.send(message(6, b"\0\0\1\0\1"))
    assert peer.answers() == [("window", b"\0\0\1\0")]


def test_acknowledgements_of_the_peer_are_noted():
    peer = Peer().connected()
    assert peer.send(message(3, b"\0\0\2\0")) == []
    assert peer.session.acknowledged == 512


def test_pings_both_ways():
    peer = Peer().connected()
    assert peer.send(message(4, b"\0\6\1\2\3\4")) == []
    assert peer.answers() == [("user control", b"\0\7\1\2\3\4")]
    peer.session.ping(0x1_0000_0005)
    assert peer.answers() == [("user control", b"\0\6\0\0\0\5")]
    assert peer.send(message(4, b"\0\7\0\0\0\5")) == [PongReceived(5)]


def test_other_user_control_messages_are_ignored():
    peer = Peer().connected()
    assert (
        peer.send(
            message(4, b"\0\3\0\0\0\1\0\0\x0b\xb8"),
            message(4, b"\0\0\0\0\0\1"),
            message(4, b"\0\x1f"),
            message(4, b"\0\1\0\0\0\1"),
        )
        == []
    )
    assert peer.answers() == []


def test_reconnect_request():
    peer = Peer()
    peer.send(command("connect", 1, {"app": "live", "capsEx": 1.0}))
    assert not peer.session.request_reconnect("", "not yet")
    peer.session.accept_connect()
    peer.answers()
    assert peer.session.request_reconnect("rtmp://other/live", "We restart.")
    assert peer.session.request_reconnect("", "We restart.")
    with_url, without = (answer[3] for answer in peer.answers())
    assert with_url == {
        "level": "status",
        "code": "NetConnection.Connect.ReconnectRequest",
        "description": "We restart.",
        "tcUrl": "rtmp://other/live",
    }
    assert "tcUrl" not in without


def test_reconnect_request_is_not_for_those_who_do_not_know_it():
    peer = Peer().connected()
    assert not peer.session.request_reconnect("", "We restart.")
    assert peer.answers() == []


def test_long_answers_are_chunked():
    peer = Peer().connected()
    peer.send(PUBLISH)
    peer.session.refuse_publish(peer.publication, StatusCode.PUBLISH_REJECTED, "x" * (CHUNK_SIZE + 1))
    assert len(peer.answers()[0][3]["description"]) == CHUNK_SIZE + 1


def test_nothing_to_send():
    assert ServerSession().data_to_send() == b""


WHOLE = [CONNECT, CREATE, PUBLISH, PLAY, message(9, b"v" * 300, 1), message(8, b"", 0)]
COMMANDS = ["connect", "publish", "play", "deleteStream", "closeStream", "FCPublish", "FCUnpublish", "pause", "seek", "_error"]
CALLS = st.one_of(
    st.sampled_from(WHOLE),
    st.builds(
        command,
        st.sampled_from(COMMANDS),
        st.floats(),
        st.sampled_from([None, {}, {"app": "live"}, {"app": []}]),
        st.one_of(st.none(), st.floats(), st.text(max_size=5), st.booleans()),
        stream_id=st.integers(0, 3),
    ),
    st.builds(message, st.integers(0, 25), st.binary(max_size=40), st.integers(0, 2)),
    st.binary(max_size=30),
)


@given(st.lists(CALLS, max_size=12))
def test_any_bytes_give_events_or_a_remote_error(pieces):
    session = Peer().session
    try:
        for piece in pieces:
            for event in session.receive_data(piece):
                if isinstance(event, ConnectRequested):
                    session.accept_connect()
                elif isinstance(event, PublishRequested):
                    session.accept_publish(event)
                elif isinstance(event, PlayRequested):
                    session.accept_play(event)
    except RemoteProtocolError:
        assert session.state is SessionState.CLOSED
    session.data_to_send()


@given(st.binary(max_size=4000))
def test_any_first_bytes_give_nothing_or_a_remote_error(data):
    session = ServerSession()
    try:
        assert session.receive_data(data) == []
    except RemoteProtocolError:
        assert session.state is SessionState.CLOSED
