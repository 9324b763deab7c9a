"""How sound and pictures of one rung come together."""

from mediaserver.events import Event
from mediaserver.hub.hub import Hub, HubLimits
from mediaserver.hub.session import Session
from mediaserver.ports import PublishGrant, Rung, Wire
from mediaserver.transcode.ladder import FittedRung
from mediaserver.transcode.output import LONGEST_WAIT, MOST_BYTES, Output
from protocols.media import Codec, MediaKind, Metadata, Packet, Track

VIDEO, AUDIO = Track(Codec.H264, b"avcC", b"v"), Track(Codec.AAC, b"asc", b"a")


class Silent:
    def emit(self, event: Event) -> None:
        pass


class Listener:
    """A Subscriber that writes down what came: ``v0 a0 a21``, a mark before what is discontinuous."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_track(self, track: Track) -> None:
        self.heard.append(track.codec.value)

    def on_metadata(self, metadata: Metadata) -> None: ...

    def on_packet(self, packet: Packet) -> None:
        self.heard.append(f"{'!' * packet.discontinuity}{packet.kind.value[0]}{packet.dts}")

    def on_away(self) -> None:
        self.heard.append("away")

    def on_end(self) -> None:
        self.heard.append("end")


def video(dts: int, *, keyframe: bool = False, discontinuity: bool = False) -> Packet:
    return Packet(MediaKind.VIDEO, dts, keyframe, b"\x17\x01\0\0\0p", 5, 0, discontinuity)


def audio(dts: int, *, discontinuity: bool = False) -> Packet:
    return Packet(MediaKind.AUDIO, dts, True, b"\xaf\x01s", 2, 0, discontinuity)


class Scene:
    """A source, one rung of it, and who listens to that."""

    def __init__(self, width: int = 640) -> None:
        self.hub = Hub(HubLimits(10.0, True, 1 << 20, 10_000, 10), Silent())
        self.publisher = self.hub.publish(PublishGrant("show"), Session(Wire.RTMP, "127.0.0.1"), lambda _: None)
        self.publisher.write_track(VIDEO)  # one without has nothing to come back to
        self.source = self.publisher.stream
        self.output = Output(self.hub, self.source, FittedRung(Rung("360p", 360), width, 360 if width else 0))
        self.listener = Listener()

    def begin(self) -> list[str]:
        for track in (AUDIO, VIDEO):
            self.output.on_track(track)
        assert self.output.stream is not None
        self.output.stream.subscribe(self.listener)
        return self.listener.heard


async def test_a_rung_begins_with_its_pictures_parameters_and_has_its_own_name() -> None:
    scene = Scene()
    scene.output.on_track(AUDIO)
    assert not scene.output.running
    assert scene.begin() == ["h264", "aac"]
    assert scene.hub.find("show@360p") is scene.output.stream is scene.source.renditions["360p"]


async def test_sound_waits_for_the_pictures_of_its_time() -> None:
    scene = Scene()
    heard = scene.begin()
    for time in (0, 21, 43, 64, 85):
        scene.output.on_audio(audio(time))
    scene.output.on_video(video(40, keyframe=True))
    scene.output.on_video(video(80))
    scene.output.on_audio(audio(70))
    assert heard[2:] == ["v40", "a43", "a64", "v80", "a70"], "from before the first picture there is none"


async def test_sound_does_not_wait_for_ever() -> None:
    scene = Scene()
    heard = scene.begin()
    scene.output.on_video(video(0, keyframe=True))
    for time in range(0, LONGEST_WAIT + 1000, 100):
        scene.output.on_audio(audio(time))
    assert heard[2:4] == ["v0", "a0"]
    assert heard[-1] == f"a{LONGEST_WAIT + 900 - LONGEST_WAIT - 100}"


async def test_sound_that_waits_takes_little_memory() -> None:
    scene = Scene()
    heard = scene.begin()
    scene.output.on_video(video(0, keyframe=True))
    for time in range(1, 101):
        scene.output.on_audio(Packet(MediaKind.AUDIO, time, True, bytes(1 << 20), 2))
        assert sum(len(packet.body) for packet in scene.output._held) <= MOST_BYTES
    assert len(heard) > 90
    scene.output.on_video(video(200))
    assert scene.output._weight == 0


async def test_sound_alone_waits_for_nothing() -> None:
    scene = Scene(width=0)
    scene.output.on_track(AUDIO)
    assert scene.output.stream is not None
    scene.output.stream.subscribe(scene.listener)
    scene.output.on_audio(audio(5))
    assert scene.listener.heard == ["aac", "a5"]


async def test_what_an_encoder_gives_out_after_the_publisher_left_comes_before_the_rung_is_away() -> None:
    scene = Scene()
    heard = scene.begin()
    scene.output.on_video(video(0, keyframe=True))
    for time in (10, 30, 50):
        scene.output.on_audio(audio(time))
    scene.publisher.close("gone")
    scene.output.on_video(video(40))
    scene.output.follow()
    assert heard[2:] == ["v0", "a10", "a30", "v40", "a50", "away"]


async def test_the_end_of_the_source_is_told_behind_the_last_picture_though_the_name_is_free_at_once() -> None:
    scene = Scene()
    heard = scene.begin()
    scene.output.on_video(video(0, keyframe=True))
    scene.hub.end("show", "over")
    assert scene.hub.find("show@360p") is None
    scene.output.on_video(video(40))
    scene.output.on_audio(audio(50))
    scene.output.follow()
    scene.output.close()
    assert heard[2:] == ["v0", "v40", "a50", "end"]


async def test_a_rung_that_is_dropped_while_the_last_pictures_are_awaited_ends_with_its_source() -> None:
    scene = Scene()
    heard = scene.begin()
    scene.output.on_video(video(0, keyframe=True))
    scene.hub.end("show", "over")
    scene.output.close()
    assert heard[2:] == ["v0", "end"]


async def test_a_publisher_that_is_back_before_the_last_pictures_came_was_never_away() -> None:
    scene = Scene()
    heard = scene.begin()
    scene.output.on_video(video(0, keyframe=True))
    scene.output.on_audio(audio(10))
    scene.publisher.close("gone")
    scene.hub.publish(PublishGrant("show"), Session(Wire.RTMP, "127.0.0.1"), lambda _: None)
    scene.output.on_audio(audio(5000, discontinuity=True))
    scene.output.on_audio(audio(5020))
    scene.output.on_video(video(40))
    scene.output.follow()
    scene.output.on_video(video(5010, keyframe=True, discontinuity=True))
    scene.output.on_video(video(5050))
    assert heard[2:] == ["v0", "a10", "v40", "!a5000", "!v5010", "a5020", "v5050"]


async def test_what_comes_too_late_is_left_out_until_a_new_beginning() -> None:
    scene = Scene()
    heard = scene.begin()
    scene.output.on_video(video(0, keyframe=True))
    scene.output.on_audio(audio(10))
    scene.publisher.close("gone")
    scene.output.on_away({MediaKind.VIDEO})
    scene.output.follow()
    scene.output.on_video(video(40))
    scene.hub.publish(PublishGrant("show"), Session(Wire.RTMP, "127.0.0.1"), lambda _: None)
    scene.output.on_video(video(80))
    scene.output.on_audio(audio(5000, discontinuity=True))
    scene.output.on_video(video(5010, keyframe=True, discontinuity=True))
    scene.output.on_audio(audio(5020))
    scene.output.on_video(video(5050))
    assert heard[2:] == [
        "v0", "a10", "away", "!a5000", "!v5010", "a5020", "v5050"
    ]  # fmt: skip


async def test_pictures_straight_from_a_publisher_that_is_back_go_on_when_the_last_sound_has_been_encoded() -> None:
    scene = Scene()
    heard = scene.begin()
    scene.output.on_video(video(0, keyframe=True))
    scene.output.on_audio(audio(0))
    scene.publisher.close("gone")
    scene.output.on_away({MediaKind.AUDIO})
    scene.hub.publish(PublishGrant("show"), Session(Wire.RTMP, "127.0.0.1"), lambda _: None)
    scene.output.on_video(video(5010, keyframe=True, discontinuity=True))
    scene.output.on_audio(audio(20))
    scene.output.follow()
    scene.output.on_audio(audio(40))  # the process's last words, too late
    scene.output.on_video(video(5050))
    scene.output.on_audio(audio(5020, discontinuity=True))
    assert heard[2:] == ["v0", "a0", "!v5010", "a20", "v5050", "!a5020"]


async def test_sound_at_rest_of_a_publisher_that_is_back_goes_on_when_the_last_pictures_have_come() -> None:
    scene = Scene()
    heard = scene.begin()
    scene.output.on_video(video(0, keyframe=True))
    scene.output.rest()
    scene.output.on_audio(audio(4000))
    scene.publisher.close("gone")
    scene.output.on_away({MediaKind.VIDEO})
    scene.hub.publish(PublishGrant("show"), Session(Wire.RTMP, "127.0.0.1"), lambda _: None)
    scene.output.on_audio(audio(4500, discontinuity=True))
    scene.output.follow()
    scene.output.on_audio(audio(4520))
    scene.output.on_video(video(4600, keyframe=True, discontinuity=True))
    scene.output.on_audio(audio(4540))
    assert heard[2:] == ["v0", "a4000", "!a4500", "a4520", "!v4600", "a4540"]


async def test_what_comes_straight_from_the_source_is_away_with_it() -> None:
    scene = Scene()
    heard = scene.begin()
    scene.output.on_video(video(0, keyframe=True))
    scene.publisher.close("gone")
    scene.output.on_away(set())
    assert heard[2:] == ["v0", "away"]
    scene.output.follow()  # others' last pictures have come
    assert heard[2:] == ["v0", "away"]


async def test_at_rest_sound_goes_on_alone_until_a_picture_comes() -> None:
    scene = Scene()
    heard = scene.begin()
    scene.output.on_video(video(0, keyframe=True))
    for time in (20, 60, 3000):
        scene.output.on_audio(audio(time))
    scene.output.on_video(video(40))
    scene.output.rest()
    scene.output.on_audio(audio(3020))
    assert heard[2:] == ["v0", "a20", "v40", "a60", "a3000", "a3020"]
    scene.output.on_video(video(80))  # a late one, which changes nothing
    scene.output.on_audio(audio(3040))
    scene.output.on_video(video(3030, keyframe=True))
    scene.output.on_audio(audio(3060))
    scene.output.on_video(video(3070))
    assert heard[8:] == ["v80", "a3040", "v3030", "a3060", "v3070"]


async def test_at_rest_a_rung_that_had_no_picture_yet_waits_for_it() -> None:
    scene = Scene()
    heard = scene.begin()
    scene.output.on_audio(audio(10))
    scene.output.rest()
    scene.output.on_audio(audio(30))
    scene.output.on_video(video(20, keyframe=True))
    scene.output.on_video(video(60))
    assert heard[2:] == ["v20", "a30", "v60"]


async def test_a_name_that_is_taken_is_not_fought_for() -> None:
    scene = Scene()
    scene.hub.publish(PublishGrant("show@360p"), Session(Wire.RTMP, "127.0.0.1"), lambda _: None)
    scene.output.on_track(VIDEO)
    scene.output.on_video(video(0, keyframe=True))
    assert scene.output.refused
    assert not scene.output.running


async def test_it_ends_when_it_is_made_no_more() -> None:
    scene = Scene()
    heard = scene.begin()
    scene.output.close()
    assert heard[-1] == "end"
    assert scene.hub.find("show@360p") is None
    assert scene.source.renditions == {}


async def test_pictures_that_would_run_backwards_are_left_out_up_to_a_keyframe() -> None:
    scene = Scene()
    heard = scene.begin()
    for time, keyframe in ((0, True), (40, False), (20, True), (60, False), (80, False), (100, True), (120, False)):
        scene.output.on_video(video(time, keyframe=keyframe))
    assert heard[2:] == ["v0", "v40", "v100", "v120"]
