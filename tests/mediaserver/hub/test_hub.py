import asyncio
import gc
import time
import weakref
from types import SimpleNamespace

import pytest

from mediaserver.errors import NameTaken, Refused
from mediaserver.events import Event, PublishEnded, PublisherLeft, PublishStarted
from mediaserver.hub import hub as hub_module
from mediaserver.hub.hub import Hub, HubLimits, Publisher
from mediaserver.hub.session import Session
from mediaserver.hub.stream import LiveStream, StreamState
from mediaserver.ports import PublishGrant, Wire
from protocols.media import Codec, MediaKind, Metadata, Packet, Track


class Note:
    """An EventSink that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)


class Recorder:
    """A Subscriber that keeps what it receives."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.ended = asyncio.Event()

    def on_track(self, track: Track) -> None:
        self.seen.append(track)

    def on_metadata(self, metadata: Metadata) -> None:
        self.seen.append(metadata)

    def on_packet(self, packet: Packet) -> None:
        self.seen.append(packet)

    def on_away(self) -> None:
        self.seen.append("away")

    def on_end(self) -> None:
        self.seen.append("end")
        self.ended.set()


#: Seconds to wait for what is sure to come.
PATIENCE = 30.0
TRACK = Track(Codec.H264, b"avcC", b"V0")


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is away for any time: the clock stands still."""
    monkeypatch.setattr(hub_module, "time", SimpleNamespace(time=time.time, monotonic=lambda: 1000.0))


def hub(grace: float = 60, takeover: bool = False) -> tuple[Hub, Note]:
    note = Note()
    return Hub(HubLimits(grace, takeover, 1 << 20, 10_000, 100), note), note


def session(address: str = "192.0.2.1") -> Session:
    return Session(Wire.RTMP, address)


def ignore(reason: str) -> None:
    """A publisher that does not mind being kicked."""


def packet(dts: int, keyframe: bool = True, cts: int = 0) -> Packet:
    return Packet(MediaKind.VIDEO, dts, keyframe, b"x", 0, cts)


async def test_a_name_is_found_while_it_is_published_and_ends_with_the_publisher_if_there_is_no_grace() -> None:
    house, note = hub(grace=0)
    publisher = house.publish(PublishGrant("cam"), session(), ignore)
    assert house.find("cam") is publisher.stream
    publisher.close("done")
    publisher.close("again")
    assert house.find("cam") is None
    assert publisher.stream.state is StreamState.ENDED
    assert not len(publisher.stream.gop)
    assert [type(event) for event in note.events] == [PublishStarted, PublisherLeft, PublishEnded]


async def test_a_second_publisher_is_refused_and_the_first_goes_on() -> None:
    house, _ = hub()
    first = house.publish(PublishGrant("cam"), session(), ignore)
    with pytest.raises(NameTaken, match="cam is being published already"):
        house.publish(PublishGrant("cam"), session(), ignore)
    assert house.publishers["cam"] is first
    assert first.stream.state is StreamState.LIVE


async def test_with_takeover_the_second_publisher_wins_and_subscribers_stay() -> None:
    house, _ = hub(takeover=True)
    kicked: list[str] = []
    first = house.publish(PublishGrant("cam"), session(), kicked.append)
    watching = Recorder()
    first.stream.subscribe(watching)
    second = house.publish(PublishGrant("cam"), session(), ignore)
    assert kicked == ["taken over by another publisher"]
    assert second.stream is first.stream
    first.close("its connection is lost")
    assert house.publishers["cam"] is second
    second.write(packet(0))
    assert watching.seen[0] == "away"
    assert isinstance(watching.seen[1], Packet)


def watched() -> tuple[Hub, Publisher, Recorder]:
    """A hub in which newcomers take over, who publishes ``cam`` there, and what comes of it."""
    house, _ = hub(takeover=True)
    first = house.publish(PublishGrant("cam"), session(), ignore)
    first.write_track(TRACK)
    watching = Recorder()
    first.stream.subscribe(watching, replay=False)
    return house, first, watching


async def test_what_a_newcomer_sends_is_not_shown_before_what_was_there(still: None) -> None:
    house, first, watching = watched()
    # A picture that waits for B-frames, which have come no more.
    first.write(packet(0))
    first.write(packet(40, cts=120))
    house.publish(PublishGrant("cam"), session(), ignore).write(packet(77_000))
    *_, last, new = (seen for seen in watching.seen if isinstance(seen, Packet))
    assert new.discontinuity
    assert 33 <= new.dts - last.pts < 1000


async def test_one_picture_with_an_absurd_time_carries_nobody_s_clock_away(still: None) -> None:
    house, first, watching = watched()
    first.write(packet(0))
    first.write(packet(40, cts=8_000_000))
    house.publish(PublishGrant("cam"), session(), ignore).write(packet(77_000))
    *_, last, new = (seen for seen in watching.seen if isinstance(seen, Packet))
    assert 33 <= new.dts - last.dts < 3000


async def test_a_publisher_that_returns_in_time_goes_on_with_the_same_stream_marked_discontinuous() -> None:
    house, note = hub()
    first = house.publish(PublishGrant("cam"), session(), ignore)
    first.write_track(TRACK)
    watching = Recorder()
    first.stream.subscribe(watching, replay=False)
    first.write(packet(5_000))
    first.write(packet(5_033))
    first.close("lost")
    second = house.publish(PublishGrant("cam"), session(), ignore)
    assert second.stream is first.stream
    assert not len(second.stream.gop)
    second.write(packet(0))
    _, before, after = (seen for seen in watching.seen if isinstance(seen, Packet))
    assert after.discontinuity
    assert after.dts >= before.dts
    assert second.stream.discontinuities == 1
    assert [event.resumed for event in note.events if isinstance(event, PublishStarted)] == [False, True]
    assert not any(isinstance(event, PublishEnded) for event in note.events)


async def test_the_grace_period_runs_out() -> None:
    house, note = hub(grace=0.02)
    publisher = house.publish(PublishGrant("cam"), session(), ignore)
    publisher.write_track(TRACK)
    watching = Recorder()
    publisher.stream.subscribe(watching, replay=False)
    publisher.close("cable pulled")
    assert house.find("cam") is publisher.stream
    async with asyncio.timeout(PATIENCE):
        await watching.ended.wait()
    assert watching.seen == ["away", "end"]
    assert house.find("cam") is None
    ended = note.events[-1]
    assert isinstance(ended, PublishEnded)
    assert ended.reason == "cable pulled"


async def test_ending_a_name_kicks_its_publisher_without_grace() -> None:
    house, note = hub()
    kicked: list[str] = []
    publisher = house.publish(PublishGrant("cam"), session(), kicked.append)
    other = house.publish(PublishGrant("other"), session(), ignore)
    other.write_track(TRACK)
    other.close("left")
    house.end("cam", "enough")
    house.end("unknown", "enough")
    assert kicked == ["enough"]
    assert publisher.stream.state is StreamState.ENDED
    house.end_all("stopping")
    assert not house.streams
    assert sum(isinstance(event, PublishEnded) for event in note.events) == 2
    # An encoder that comes back at once, or whose leave was still asked for.
    with pytest.raises(Refused, match="stopping"):
        house.publish(PublishGrant("cam"), session(), ignore)
    assert not house.streams


class Broken(Recorder):
    """A Subscriber that breaks its word."""

    def on_away(self) -> None:
        raise ValueError("a bug")

    def on_end(self) -> None:
        raise ValueError("a bug")


async def test_a_subscriber_that_fails_keeps_no_stream_from_its_end(caplog: pytest.LogCaptureFixture) -> None:
    house, note = hub()
    publisher = house.publish(PublishGrant("cam"), session(), ignore)
    publisher.write_track(TRACK)
    listener = Recorder()
    for each in (Broken(), listener):
        publisher.stream.subscribe(each)
    publisher.close("left")
    house.end("cam", "enough")
    assert listener.seen == [TRACK, "away", "end"]
    assert isinstance(note.events[-1], PublishEnded)
    assert [record.message for record in caplog.records] == ["subscriber_failed"] * 2
    assert all(vars(record)["facts"] == {"name": "cam", "session_id": publisher.session.id} for record in caplog.records)


async def test_a_stream_knows_whose_it_is_for_the_log_and_so_do_its_renditions() -> None:
    house, _ = hub()
    first = house.publish(PublishGrant("cam"), session(), ignore)
    stream = first.stream
    stream.write_track(TRACK)
    rendition = house.add_rendition(stream, "720p")
    assert rendition is not None
    assert stream.facts() == {"name": "cam", "session_id": first.session.id}
    assert rendition.facts() == {"name": "cam@720p", "session_id": first.session.id}
    first.close("left")
    assert stream.facts()["session_id"] == first.session.id
    second = house.publish(PublishGrant("cam"), session(), ignore)
    assert second.stream is stream
    assert stream.facts()["session_id"] == rendition.facts()["session_id"] == second.session.id


async def test_a_stream_that_fails_to_end_keeps_no_other_from_it(caplog: pytest.LogCaptureFixture) -> None:
    def broken(reason: str) -> None:
        raise ValueError("a bug")

    house, note = hub()
    house.publish(PublishGrant("one"), session(), broken)
    house.publish(PublishGrant("two"), session(), ignore)
    house.end_all("stopping")
    assert not house.streams
    assert [event.name for event in note.events if isinstance(event, PublishEnded)] == ["one", "two"]
    assert [record.message for record in caplog.records] == ["stream_failed"]


async def test_who_waits_for_a_name_does_not_get_a_stream_that_is_over() -> None:
    """A Subscriber of that would wait for ever."""
    house, _ = hub()
    waiting = asyncio.create_task(house.wait_for("cam", PATIENCE))
    await asyncio.sleep(0)
    house.publish(PublishGrant("cam"), session(), ignore).close("changed its mind")
    assert await waiting is None


async def test_who_waits_for_a_name_gets_it_when_it_begins_and_leaves_nothing_behind_when_not() -> None:
    house, _ = hub()
    assert await house.wait_for("cam", 0) is None
    assert await house.wait_for("cam", 0.01) is None
    waiting = asyncio.create_task(house.wait_for("cam", PATIENCE))
    await asyncio.sleep(0)
    publisher = house.publish(PublishGrant("cam"), session(), ignore)
    assert await waiting is publisher.stream
    assert not house._waiters


async def test_begin_of_a_stream_is_told_once() -> None:
    house, _ = hub()
    begun: list[LiveStream] = []
    house.on_publish(begun.append)
    first = house.publish(PublishGrant("cam"), session(), ignore)
    first.write_track(TRACK)
    first.close("lost")
    house.publish(PublishGrant("cam"), session(), ignore)
    assert [stream.name for stream in begun] == ["cam"]


async def test_a_subscriber_is_replayed_the_present() -> None:
    house, _ = hub()
    publisher = house.publish(PublishGrant("cam"), session(), ignore)
    publisher.write_track(TRACK)
    publisher.write_metadata(Metadata(b"m"))
    publisher.write(packet(0))
    publisher.write(packet(33, keyframe=False))
    watching, late = Recorder(), Recorder()
    publisher.stream.subscribe(watching)
    publisher.stream.subscribe(late, replay=False)
    assert [type(seen) for seen in watching.seen] == [Track, Metadata, Packet, Packet]
    assert late.seen == []
    publisher.stream.unsubscribe(watching)
    publisher.write(packet(66))
    assert len(watching.seen) == 4
    assert len(late.seen) == 1


async def test_new_parameters_empty_the_gop_cache_and_the_same_again_do_not() -> None:
    house, _ = hub()
    publisher = house.publish(PublishGrant("cam"), session(), ignore)
    publisher.write_track(TRACK)
    publisher.write(packet(0))
    publisher.write_track(Track(Codec.H264, b"avcC", b"V0"))
    assert len(publisher.stream.gop) == 1
    publisher.write_track(Track(Codec.H264, b"other", b"V1"))
    assert len(publisher.stream.gop) == 0


async def test_a_stream_that_is_over_does_not_come_back() -> None:
    house, _ = hub(grace=0)
    publisher = house.publish(PublishGrant("cam"), session(), ignore)
    publisher.close("done")
    with pytest.raises(ValueError, match="ended"):
        publisher.stream.move_to(StreamState.LIVE)


async def test_the_snapshot_tells_rates_and_players_by_protocol() -> None:
    house, _ = hub()
    publisher = house.publish(PublishGrant("cam"), session(), ignore)
    publisher.write_track(TRACK)
    stream = publisher.stream
    for second in range(4):
        stream.meter.sample(float(second), second * 125_000, second * 30)
    players = [Session(Wire.RTMP, ""), Session(Wire.RTMP, ""), Session(Wire.HTTP_FLV, "")]
    stream.sent_packets, stream.dropped_packets = 90, 7
    seen = stream.snapshot(publisher.session, players)
    assert (seen.bitrate, seen.frame_rate) == (1_000_000, 30.0)
    assert seen.players == {Wire.RTMP: 2, Wire.HTTP_FLV: 1}
    assert (seen.sent_packets, seen.dropped_packets) == (90, 7)
    assert seen.tracks[0].codec is Codec.H264
    stream.meter.sample(4.0, 10, 0)
    assert stream.meter.bitrate == 0


async def test_a_name_under_which_nothing_came_is_not_waited_for() -> None:
    house, _ = hub()
    house.publish(PublishGrant("cam"), session(), ignore).close("changed its mind")
    assert house.find("cam") is None


async def test_there_are_not_more_names_than_allowed() -> None:
    house = Hub(HubLimits(60, False, 1 << 20, 10_000, max_streams=2), Note())
    for name in ("a", "b"):
        house.publish(PublishGrant(name), session(), ignore).write_track(TRACK)
    with pytest.raises(Refused, match="too many streams"):
        house.publish(PublishGrant("c"), session(), ignore)
    house.publishers["a"].close("lost")
    house.publish(PublishGrant("a"), session(), ignore)


async def test_the_end_counts_what_all_publishers_sent() -> None:
    house, note = hub(grace=0.01)
    for sent in (1_000, 500):
        publisher = house.publish(PublishGrant("cam"), session(), ignore)
        publisher.write_track(TRACK)
        publisher.session.bytes_in = sent
        watching = Recorder()
        publisher.stream.subscribe(watching)
        publisher.close("lost")
        assert not publisher.session.publishing
    async with asyncio.timeout(PATIENCE):
        await watching.ended.wait()
    ended = note.events[-1]
    assert isinstance(ended, PublishEnded)
    assert ended.bytes_in == 1_500


async def test_new_sound_parameters_leave_the_pictures_in_the_gop_cache() -> None:
    house, _ = hub()
    publisher = house.publish(PublishGrant("cam"), session(), ignore)
    publisher.write_track(TRACK)
    publisher.write_track(Track(Codec.AAC, b"1", b"A1"))
    publisher.write(packet(0))
    publisher.write(Packet(MediaKind.AUDIO, 5, True, b"a", 0))
    publisher.write_track(Track(Codec.AAC, b"2", b"A2"))
    assert [kept.kind for kept in publisher.stream.gop] == [MediaKind.VIDEO]


async def test_what_stands_in_for_a_lost_publisher_is_the_same_stream_to_players(still: None) -> None:
    house, note = hub(grace=0)
    slate = session("")
    kicked: list[str] = []
    house.on_lost(lambda stream: house.stand_in(stream, slate, kicked.append))
    first = house.publish(PublishGrant("cam"), session(), ignore)
    first.write_track(TRACK)
    first.write(packet(0))
    first.write(packet(1000))
    watching = Recorder()
    first.stream.subscribe(watching, replay=False)
    first.close("cable pulled")
    shown = house.publishers["cam"]
    assert shown.stand_in
    assert shown.session is slate
    assert slate.publishing
    shown.write(packet(0))
    # Nobody needs takeover against a slate, and nobody is told that anybody was away.
    second = house.publish(PublishGrant("cam"), session(), ignore)
    second.write_track(TRACK)
    second.write(packet(77_000))
    assert kicked == ["taken over by another publisher"]
    times = [seen.dts for seen in watching.seen if isinstance(seen, Packet)]
    assert all(33 <= two - one < 1000 for one, two in zip([1000, *times], times, strict=False))
    assert [seen.discontinuity for seen in watching.seen if isinstance(seen, Packet)] == [True, True]
    assert "away" not in watching.seen
    assert [event.resumed for event in note.events if isinstance(event, PublishStarted)] == [False, True, True]
    second.close("cable pulled again")
    assert house.publishers["cam"].stand_in


class Bridged:
    """A hub with one stream, whose publisher is lost, and what stands in for it."""

    def __init__(self, takeover: bool = False, tracks: tuple[Track, ...] = (TRACK,)) -> None:
        self.house, self.note = hub(takeover=takeover)
        self.slate_over: list[str] = []
        self.house.on_lost(lambda stream: self.house.stand_in(stream, session(""), self.slate_over.append))
        lost = self.house.publish(PublishGrant("cam"), session(), ignore)
        for track in tracks:
            lost.write_track(track)
            lost.write(Packet(track.kind, 0, True, b"x", 0))
        self.stream = lost.stream
        self.seen = Recorder()
        self.stream.subscribe(self.seen, replay=False)
        lost.close("cable pulled")
        self.slate = self.house.publishers["cam"]

    def returns(self, kicked: list[str] | None = None) -> Publisher:
        return self.house.publish(PublishGrant("cam"), session(), ignore if kicked is None else kicked.append)

    def packets(self) -> list[Packet]:
        return [seen for seen in self.seen.seen if isinstance(seen, Packet)]


async def test_what_stands_in_goes_on_until_a_newcomer_has_a_picture_to_begin_with(still: None) -> None:
    town = Bridged()
    publisher = town.returns()
    assert publisher.session.publishing
    other = Track(Codec.H264, b"other", b"V1")
    write = publisher.write  # as who reads many packets at a time keeps hold of it
    for said in (other, Track(Codec.AAC, b"a", b"A0")):
        publisher.write_track(said)
    publisher.write_metadata(Metadata(b"about"))
    for at in range(0, 8_000, 40):
        write(Packet(MediaKind.AUDIO, at, True, b"s", 0))
        write(packet(at, keyframe=False))
        town.slate.write(packet(at))
    assert town.house.publishers["cam"] is town.slate
    assert len(town.packets()) == 200
    assert town.stream.tracks == {MediaKind.VIDEO: TRACK}
    for packet_ in (packet(8_000), Packet(MediaKind.AUDIO, 8_010, True, b"s", 0), packet(8_040, keyframe=False)):
        write(packet_)
    publisher.write(packet(8_080, keyframe=False))
    assert town.house.publishers["cam"] is publisher
    assert town.slate_over == ["taken over by another publisher"]
    shown = town.packets()[199:]
    assert [each.dts - shown[0].dts for each in shown] == [0, 33, 43, 73, 113]
    assert [each.discontinuity for each in shown] == [False, True, True, False, False]
    assert town.stream.tracks == {MediaKind.VIDEO: other, MediaKind.AUDIO: Track(Codec.AAC, b"a", b"A0")}
    assert town.stream.metadata == Metadata(b"about")
    started = [event for event in town.note.events if isinstance(event, PublishStarted)]
    assert [event.session_id for event in started[1:]] == [town.slate.session.id, publisher.session.id]


async def test_sound_is_enough_where_there_are_no_pictures() -> None:
    def write(publisher: Publisher, at: int) -> None:
        publisher.write(Packet(MediaKind.AUDIO, at, True, b"s", 0))

    sound = Track(Codec.AAC, b"a", b"A0")
    town = Bridged(tracks=(sound,))
    publisher = town.returns()
    publisher.write_track(sound)
    write(publisher, 5_000)
    assert town.house.publishers["cam"] is publisher
    # Where there were some, they may be on their way.
    town = Bridged(tracks=(TRACK, sound))
    publisher = town.returns()
    publisher.write_track(sound)
    for at in range(5_000, 6_000, 20):
        write(publisher, at)
    assert town.house.publishers["cam"] is town.slate
    write(publisher, 6_000)
    assert town.house.publishers["cam"] is publisher


async def test_a_keyframe_is_not_waited_for_for_ever() -> None:
    town = Bridged()
    publisher = town.returns()
    publisher.write_track(TRACK)
    for at in (0, 20_000, 29_990, 30_000, 30_040):
        assert (town.house.publishers["cam"] is town.slate) == (at <= 30_000)
        publisher.write(packet(at, keyframe=False))
    assert len(town.packets()) == 2
    # Nor where nobody stands in.
    house, _ = hub()
    alone = house.publish(PublishGrant("cam"), session(), ignore)
    watching = Recorder()
    alone.stream.subscribe(watching)
    for at in (0, 10_000, 20_000, 30_000, 30_040):
        alone.write(packet(at, keyframe=False))
    assert len(watching.seen) == 2


async def test_of_two_newcomers_the_first_waits_on_unless_there_is_takeover() -> None:
    town, kicked = Bridged(), list[str]()
    first = town.returns(kicked)
    with pytest.raises(NameTaken):
        town.returns()
    first.close("gone")
    first.close("gone")
    assert not first.session.publishing
    second = town.returns()
    second.write_track(TRACK)
    second.write(packet(0))
    assert town.house.publishers["cam"] is second
    assert kicked == []
    town = Bridged(takeover=True)
    first, second = town.returns(kicked), town.returns()
    assert kicked == ["taken over by another publisher"]
    assert (first.session.publishing, second.session.publishing) == (False, True)
    first.write_track(TRACK)
    first.write(packet(0))
    first.close("its connection is lost")
    assert town.house.publishers["cam"] is town.slate
    second.write_track(TRACK)
    second.write(packet(0))
    assert town.house.publishers["cam"] is second


async def test_a_newcomer_that_gives_way_keeps_nobody_else_from_its_place() -> None:
    town, kicked = Bridged(), list[str]()
    first = town.returns(kicked)
    first.gives_way = True
    second = town.returns()
    assert kicked == ["taken over by another publisher"]
    assert (first.session.publishing, second.session.publishing) == (False, True)
    with pytest.raises(NameTaken):
        town.returns()
    first.close("its connection is lost")
    assert town.house.newcomer("cam") is second


class Body(bytearray):
    """What a packet holds, of which it can be seen whether it is there."""


@pytest.mark.parametrize("way", ["goes", "is replaced", "is over"])
async def test_a_newcomer_that_never_begins_leaves_nothing_behind(way: str) -> None:
    town = Bridged(takeover=True)
    publisher = town.returns()
    publisher.write_track(TRACK)
    body = Body(b"x")
    publisher.write(Packet(MediaKind.VIDEO, 0, False, body, 0))  # type: ignore[arg-type]
    left = [weakref.ref(each) for each in (body, publisher)]
    gc.disable()  # it may be long until it comes
    try:
        del body
        assert left[0]() is None, "what it has sent is kept while it waits"
        match way:
            case "goes":
                publisher.close("gone")
            case "is replaced":
                town.returns()
            case _:
                town.house.end("cam", "enough")
        del publisher
        assert left[1]() is None
    finally:
        gc.enable()


async def test_a_newcomer_that_waits_ends_with_the_stream() -> None:
    town, kicked = Bridged(), list[str]()
    publisher = town.returns(kicked)
    town.house.end("cam", "enough")
    assert (kicked, town.slate_over) == (["enough"], ["enough"])
    assert not town.house.streams
    publisher.write(packet(0))
    publisher.close("its connection is lost")
    assert (kicked, town.packets()) == (["enough"], [])
    assert not town.house.publish(PublishGrant("cam"), session(), ignore).stand_in


async def test_a_newcomer_that_waits_goes_on_when_nobody_stands_in_any_more() -> None:
    town = Bridged()
    publisher = town.returns()
    publisher.write_track(TRACK)
    publisher.write(packet(0, keyframe=False))
    assert town.house.newcomer("cam") is publisher
    town.slate.close("the slate could not be made")
    assert town.house.publishers["cam"] is publisher
    assert town.house.newcomer("cam") is None
    assert "away" not in town.seen.seen
    publisher.write(packet(40, keyframe=False))
    publisher.write(packet(80))
    assert [each.keyframe for each in town.packets()] == [True]


@pytest.mark.parametrize("takeover", [False, True])
async def test_pictures_of_a_newcomer_before_its_first_keyframe_are_for_nobody(still: None, takeover: bool) -> None:
    house, _ = hub(takeover=takeover)
    first = house.publish(PublishGrant("cam"), session(), ignore)
    first.write_track(TRACK)
    watching = Recorder()
    first.stream.subscribe(watching, replay=False)
    first.write(packet(0))
    if not takeover:
        first.close("cable pulled")
    second = house.publish(PublishGrant("cam"), session(), ignore)
    for at in range(500, 3_000, 500):
        second.write(packet(at, keyframe=False))
        second.write(Packet(MediaKind.AUDIO, at + 10, True, b"s", 0))
    second.write(packet(3_000))
    second.write(packet(3_040, keyframe=False))
    seen = [each for each in watching.seen if isinstance(each, Packet)]
    # Sound goes on at once. The stream's clock counts what is left out, and the new beginning is told with what is not.
    assert [each.kind.value for each in seen] == ["video", *["audio"] * 5, "video", "video"]
    assert [each.dts for each in seen] == [0, 43, 543, 1043, 1543, 2043, 2533, 2573]
    assert [each.discontinuity for each in seen] == [False, True, False, False, False, False, True, False]


async def test_what_stands_in_leaves_the_grace_period_behind_and_is_not_stood_in_for() -> None:
    house, _ = hub(grace=60)
    house.on_lost(lambda stream: house.stand_in(stream, session(""), ignore))
    publisher = house.publish(PublishGrant("cam"), session(), ignore)
    publisher.write_track(TRACK)
    publisher.close("lost")
    house.publishers["cam"].close("tired")
    assert publisher.stream.state is StreamState.AWAY
    assert house.publish(PublishGrant("cam"), session(), ignore).stream is publisher.stream


async def test_a_session_is_a_publisher_s_while_others_stand_in_and_until_it_closes() -> None:
    house, _ = hub(grace=60)
    house.on_lost(lambda stream: house.stand_in(stream, session(""), ignore))
    publisher = house.publish(PublishGrant("cam"), session(), ignore)
    publisher.write_track(TRACK)
    publisher.pause("silent", 3.0)
    assert publisher.session.publishing
    publisher.close("gone")
    assert not publisher.session.publishing
    assert house.publishers["cam"].stand_in
    # What it publishes then is another matter.
    house.publish(PublishGrant("other"), publisher.session, ignore)
    publisher.close("gone")
    assert publisher.session.publishing


async def test_a_stream_that_is_ended_from_outside_is_not_bridged() -> None:
    house, _ = hub(grace=60)
    house.on_lost(lambda stream: house.stand_in(stream, session(""), ignore))
    publisher = house.publish(PublishGrant("cam"), session(), ignore)
    publisher.write_track(TRACK)
    house.end("cam", "enough")
    assert publisher.stream.state is StreamState.ENDED
    assert house.find("cam") is None
    # Nor is a name under which nothing came.
    house.publish(PublishGrant("cam"), session(), ignore).close("changed its mind")
    assert house.find("cam") is None


async def test_a_slate_is_ended_with_its_stream() -> None:
    house, _ = hub(grace=60)
    kicked: list[str] = []
    house.on_lost(lambda stream: house.stand_in(stream, session(""), kicked.append))
    publisher = house.publish(PublishGrant("cam"), session(), ignore)
    publisher.write_track(TRACK)
    publisher.close("lost")
    house.end_all("stopping")
    assert kicked == ["stopping"]
    assert not house.streams
    assert not house.publishers
