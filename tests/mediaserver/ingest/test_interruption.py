"""A publisher that falls silent, and what becomes of what it says afterwards."""

import time
from types import SimpleNamespace

import pytest

from mediaserver.errors import NameTaken
from mediaserver.hub import hub as hub_module
from mediaserver.hub.entrance import EntranceState
from mediaserver.hub.hub import Hub, HubLimits, Publisher
from mediaserver.hub.session import Session
from mediaserver.hub.stream import LiveStream, StreamState
from mediaserver.ingest.interruption import Interruption
from mediaserver.ports import PublishGrant, Wire
from protocols.media import Codec, MediaKind, Metadata, Packet, Track
from tests.mediaserver.running import Notes

VIDEO, SLATE, SOUND = Track(Codec.H264, b"a", b"a"), Track(Codec.H264, b"b", b"b"), Track(Codec.AAC, b"c", b"c")


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is silent or away is so for as long as a test says: the clock stands still."""
    monkeypatch.setattr(hub_module, "time", SimpleNamespace(time=time.time, monotonic=lambda: 1000.0))


def picture(dts: int, *, keyframe: bool = True) -> Packet:
    return Packet(MediaKind.VIDEO, dts, keyframe, b"x", 0)


def sound(dts: int) -> Packet:
    return Packet(MediaKind.AUDIO, dts, True, b"s", 0)


class Town:
    """A hub with one publisher, for whom a slate stands in."""

    def __init__(self, grace: float = 60.0, *, stands_in: bool = True) -> None:
        self.hub = Hub(HubLimits(grace, False, 1 << 20, 10_000, 100), Notes())
        self.kicked: list[str] = []
        self.slate: Publisher | None = None
        self.slate_over: list[str] = []
        if stands_in:
            self.hub.on_lost(self.stand_in)
        self.publisher = self.hub.publish(PublishGrant("cam"), Session(Wire.RTMP, "192.0.2.1"), self.kicked.append)
        self.publisher.write_track(VIDEO)
        self.publisher.write(picture(1000))
        self.interruption: Interruption | None = None

    @property
    def stream(self) -> LiveStream:
        return self.publisher.stream

    def stand_in(self, stream: LiveStream) -> None:
        self.slate = self.hub.stand_in(stream, Session(Wire.INTERNAL, ""), self.left)
        self.slate.write_track(SLATE)
        self.slate.write(picture(0))

    def left(self, reason: str) -> None:
        self.slate_over.append(reason)
        if self.interruption is not None:
            self.interruption.end(reason)

    def interrupt(self) -> Interruption:
        self.interruption = Interruption(self.publisher, "silent", 3.0)
        return self.interruption


async def test_it_goes_on_with_the_next_picture_that_can_be_shown_and_its_own_tracks() -> None:
    town = Town()
    interruption = town.interrupt()
    assert town.hub.publishers["cam"] is town.slate
    assert town.stream.tracks == {MediaKind.VIDEO: SLATE}
    # What was silent for three seconds has a hole of three seconds, not more.
    assert 3900 < next(packet.dts for packet in town.stream.gop) < 5000
    write = town.publisher.write  # as who reads many packets at a time keeps hold of it
    town.publisher.write_track(SOUND)
    town.publisher.write_metadata(Metadata(b"about"))
    for packet in (sound(5000), picture(5000, keyframe=False), picture(5040), picture(5080, keyframe=False)):
        write(packet)
    assert interruption.state is EntranceState.OPEN
    assert town.hub.publishers["cam"] is town.publisher
    assert town.stream.tracks == {MediaKind.VIDEO: VIDEO, MediaKind.AUDIO: SOUND}
    assert town.stream.metadata == Metadata(b"about")
    one, two = [packet.dts for packet in town.stream.gop]
    assert two - one == 40
    town.publisher.write(picture(5120, keyframe=False))
    assert len(list(town.stream.gop)) == 3
    assert (len(town.slate_over), town.kicked) == (1, [])
    assert town.stream.state is StreamState.LIVE
    # And it may fall silent once more, and end as any other.
    town.slate = None
    town.interrupt()
    town.publisher.write(picture(9000))
    assert town.hub.publishers["cam"] is town.publisher
    town.publisher.close("done")
    assert town.hub.publishers["cam"] is town.slate


async def test_bytes_are_counted_once_however_often_it_comes_back() -> None:
    town = Town()
    town.publisher.session.bytes_in = 1000
    for number in range(3):
        town.interrupt()
        town.publisher.session.bytes_in += 100
        town.publisher.write(picture(5000 + 1000 * number))
    assert town.stream.snapshot(town.publisher.session, []).bytes_in == 1300


async def test_sound_alone_goes_on_with_any_packet() -> None:
    town = Town()
    town.stream.tracks.clear()
    town.publisher.write_track(SOUND)
    town.interrupt()
    town.publisher.write(sound(5000))
    assert town.hub.publishers["cam"] is town.publisher


async def test_a_name_that_is_taken_meanwhile_is_lost() -> None:
    town = Town()
    interruption = town.interrupt()
    taker = town.hub.publish(PublishGrant("cam"), Session(Wire.RTMP, "192.0.2.2"), lambda _: None)
    taker.write_track(VIDEO)
    taker.write(picture(9000))
    assert town.kicked == ["taken over by another publisher"]
    assert interruption.state is EntranceState.CLOSED
    assert not town.publisher.session.publishing
    before = len(list(town.stream.gop))
    town.publisher.write_track(SOUND)
    town.publisher.write_metadata(Metadata(b"about"))
    town.publisher.write(picture(5000))
    assert len(list(town.stream.gop)) == before
    assert MediaKind.AUDIO not in town.stream.tracks
    with pytest.raises(NameTaken):
        town.hub.publish(PublishGrant("cam"), Session(Wire.RTMP, "192.0.2.3"), lambda _: None)


async def test_one_that_comes_back_when_another_is_there_already_is_sent_away() -> None:
    """An encoder has done with a connection whose last packets may come late."""
    town = Town()
    town.interrupt()
    taker = town.hub.publish(PublishGrant("cam"), Session(Wire.RTMP, "192.0.2.2"), lambda _: None)
    town.publisher.write(picture(5000))
    assert town.kicked == ["cam is being published already"]
    assert town.hub.publishers["cam"] is town.slate
    taker.write_track(VIDEO)
    taker.write(picture(9000))
    assert town.hub.publishers["cam"] is taker
    assert len(town.kicked) == 1


async def test_one_that_comes_back_goes_on_where_the_newcomer_gives_way() -> None:
    town, kicked = Town(), list[str]()
    town.interrupt()
    taker = town.hub.publish(PublishGrant("cam"), Session(Wire.RTMP, "192.0.2.2"), kicked.append)
    taker.gives_way = True
    town.publisher.write(picture(5000))
    assert town.hub.publishers["cam"] is town.publisher
    assert (town.kicked, kicked) == ([], ["taken over by another publisher"])
    assert town.hub.newcomer("cam") is None
    taker.close("its connection is lost")
    assert town.hub.publishers["cam"] is town.publisher


async def test_a_stream_that_is_ended_meanwhile_is_over() -> None:
    town = Town()
    town.interrupt()
    town.hub.end("cam", "enough")
    assert town.kicked == ["enough"]
    town.publisher.write(picture(5000))
    assert town.hub.find("cam") is None


async def test_one_that_goes_by_itself_meanwhile_is_not_sent_away() -> None:
    town = Town()
    town.interrupt()
    town.publisher.close("the connection ended")
    assert town.hub.publishers["cam"] is town.slate
    town.hub.publish(PublishGrant("cam"), Session(Wire.RTMP, "192.0.2.2"), lambda _: None)
    assert town.kicked == []


async def test_where_nobody_stands_in_it_comes_back_within_the_grace_period_or_not_at_all() -> None:
    town = Town(stands_in=False)
    town.interrupt()
    assert town.stream.state is StreamState.AWAY
    town.publisher.write(picture(5000))
    assert town.stream.state is StreamState.LIVE  # type: ignore[comparison-overlap]
    town = Town(grace=0, stands_in=False)
    town.interrupt()
    assert town.hub.find("cam") is None
    town.publisher.write(picture(5000))
    assert town.kicked == ["the stream is over"]
