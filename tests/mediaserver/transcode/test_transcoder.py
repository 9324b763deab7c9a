"""The server's side of a transcoder, with a process that does nothing by itself."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any

import pytest

from mediaserver.config import TranscodeConfig
from mediaserver.events import PublishEnded, TranscodeChanged
from mediaserver.hub.hub import Hub, HubLimits
from mediaserver.hub.session import Session
from mediaserver.hub.stream import StreamState
from mediaserver.ports import EncoderPolicy, Ladder, PublishGrant, Rung, Wire
from mediaserver.transcode import transcoder as module
from mediaserver.transcode.feed import STALL
from mediaserver.transcode.plan import AUDIO_LANE, Sight, read_plan, read_sounds
from mediaserver.transcode.transcoder import Transcoder, TranscoderServices, TranscoderState
from mediaserver.worker.frames import Frame, Note, PacketFrame, TrackFrame
from protocols.media import Codec, MediaKind, Metadata, Packet, Track
from tests.media import Clips
from tests.mediaserver.running import Notes
from tests.mediaserver.transcode.material import pictures, source

MP3 = Track(Codec.MP3, b"", b"")
AAC = Track(Codec.AAC, b"\x12\x10", b"\xaf\0\x12\x10")


class Idle:
    """A worker that only remembers."""

    def __init__(self, *_: object) -> None:
        self.pid, self.sent, self.killed = 1, list[Frame](), False

    async def start(self) -> None: ...

    async def close(self, _patience: float) -> None: ...

    def kill(self) -> None:
        self.killed = True

    def send(self, frame: Frame) -> bool:
        self.sent.append(frame)
        return True


class OnEnd:
    """A Subscriber that waits for the end."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self.on_end = ended

    def on_track(self, track: Track) -> None: ...

    def on_metadata(self, metadata: Metadata) -> None: ...

    def on_packet(self, packet: Packet) -> None: ...

    def on_away(self) -> None: ...


class Pictures(OnEnd):
    """A Subscriber that keeps the bodies of all pictures."""

    def __init__(self) -> None:
        super().__init__(lambda: None)
        self.seen: list[bytes] = []

    def on_packet(self, packet: Packet) -> None:
        if packet.kind is MediaKind.VIDEO:
            self.seen.append(packet.body)


class Town:
    """A hub with a publisher of ``show``, and its transcoder."""

    def __init__(self, clips: Clips, ladder: Ladder) -> None:
        self.notes, self.tasks = Notes(), set[asyncio.Task[None]]()
        self.hub = Hub(HubLimits(5.0, True, 1 << 24, 20_000, 10), self.notes)
        services = TranscoderServices(self.hub, self.notes, self.spawn, TranscodeConfig(), self.failures, lambda: True)
        self.publisher = self.hub.publish(PublishGrant("show"), Session(Wire.INTERNAL, "test"), lambda _: None)
        self.transcoder = Transcoder(self.publisher.stream, ladder, services)
        self.publisher.stream.subscribe(self.transcoder)
        clip = source(clips.get(width=426, height=240, seconds=2))
        (self.track,) = (frame.track for frame in clip if isinstance(frame, TrackFrame) and frame.track.codec is Codec.H264)
        self.pictures = pictures(clip)

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def failures(self) -> Mapping[str, str]:
        return {}

    async def begin(self) -> None:
        """Publish the first picture, and let the process see it."""
        self.publisher.write_track(self.track)
        self.publisher.write_track(MP3)
        self.publisher.write(self.pictures[0])
        await self.settled()

    async def settled(self) -> None:
        while self.tasks:
            await asyncio.wait(self.tasks)

    @property
    def process(self) -> Idle:
        assert isinstance(self.transcoder._worker, Idle)
        return self.transcoder._worker

    def see(self, **what: Any) -> None:
        sight = {"width": 426, "height": 240, "rotation": 0, "interlaced": False, "pixel_aspect": (1, 1), "frame_rate": 25.0}
        self.transcoder.on_frame(Note(Sight(**{**sight, "decoder": "h264", **what}).as_values(1)))

    def reasons(self) -> list[str]:
        return [event.reason for event in self.notes.events if isinstance(event, TranscodeChanged)]

    def faults(self) -> list[str]:
        return [event.reason for event in self.notes.events if isinstance(event, TranscodeChanged) and event.failed]

    def sound(self, dts: int) -> None:
        self.publisher.write(Packet(MediaKind.AUDIO, dts, True, b"\x2f\xff\xfb", 1))


@pytest.fixture
async def town(clips: Clips, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    monkeypatch.setattr(module, "Worker", Idle)
    made = Town(clips, Ladder((Rung("240p", 240), Rung("144p", 144)), policy=EncoderPolicy.PASSTHROUGH))
    yield made
    made.hub.end_all("the test is over")
    await made.settled()


@pytest.fixture
async def radio(clips: Clips, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    monkeypatch.setattr(module, "Worker", Idle)
    made = Town(clips, Ladder((Rung("audio", 0),)))
    yield made
    made.hub.end_all("the test is over")
    await made.settled()


async def test_a_process_that_says_nothing_is_ended_with_a_single_rung_too(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(module, "monotonic", lambda: clock[0])
    await town.begin()
    town.see()
    for picture in town.pictures[1:]:
        clock[0] += 0.04
        town.publisher.write(picture)
    town.transcoder.sweep(clock[0] + STALL - 2.1)
    assert not town.process.killed
    town.transcoder.sweep(clock[0] + STALL)
    assert town.process.killed


async def test_a_process_that_is_given_nothing_may_say_nothing(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(module, "monotonic", lambda: clock[0])
    await town.begin()
    town.see()
    for picture in town.pictures[1:4]:
        clock[0] += 0.04
        town.publisher.write(picture)
    town.transcoder.sweep(clock[0] + 100 * STALL)
    assert not town.process.killed


async def test_a_process_that_hangs_over_sound_alone_is_ended(radio: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, town = [1000.0], radio
    monkeypatch.setattr(module, "monotonic", lambda: clock[0])
    town.publisher.write_track(MP3)
    town.sound(0)
    await town.settled()
    for time in range(20, 2_000, 20):
        clock[0] += 0.02
        town.sound(time)
        if time == 100:
            town.transcoder.on_frame(Note({"sound_at": 100}))
    town.transcoder.sweep(clock[0] + STALL - 2.1)
    assert not town.process.killed
    town.transcoder.sweep(clock[0] + STALL)
    assert town.process.killed


async def test_a_process_that_speaks_of_every_second_of_sound_is_let_live(radio: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, town = [1000.0], radio
    monkeypatch.setattr(module, "monotonic", lambda: clock[0])
    town.publisher.write_track(MP3)
    town.sound(0)
    await town.settled()
    for time in range(0, 60_000, 20):
        clock[0] += 0.02
        town.sound(time)
        if time % 1000 == 0:
            town.transcoder.on_frame(Note({"sound_at": time}))
        town.transcoder.sweep(clock[0])
    assert not town.process.killed


async def test_the_process_is_told_which_sound_to_make(town: Town) -> None:
    await town.begin()
    orders = [read_sounds(frame.values) for frame in town.process.sent if isinstance(frame, Note)]
    assert orders == [{AUDIO_LANE: 0}], "pictures and sound alone share what suits them; what is asked for is its own"


async def test_sound_alone_of_a_bit_rate_is_its_own_though_the_source_is_aac(
    clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "Worker", Idle)
    town = Town(clips, Ladder((Rung("240p", 240), Rung("low", 0, bitrate=32_000), Rung("audio", 0))))
    town.publisher.write_track(AAC)
    town.publisher.write(Packet(MediaKind.AUDIO, 0, True, b"\xaf\x01s", 2))
    await town.settled()
    assert [read_sounds(frame.values) for frame in town.process.sent if isinstance(frame, Note)] == [{2: 32_000}]
    encoded = Track(Codec.AAC, b"\x12\x08", b"\xaf\0\x12\x08")
    town.transcoder.on_frame(TrackFrame(2, encoded))
    town.transcoder.on_frame(PacketFrame(2, Packet(MediaKind.AUDIO, 0, True, b"\xaf\x01low", 2)))
    low, copy = town.hub.streams["show@low"], town.hub.streams["show@audio"]
    assert (low.tracks[MediaKind.AUDIO], copy.tracks[MediaKind.AUDIO]) == (encoded, AAC)
    assert [packet.payload for packet in low.gop] == [b"low"]
    assert [packet.payload for packet in copy.gop] == [b"s"]
    told = {rung.name: (rung.encoder, rung.bitrate) for rung in town.transcoder.rungs()}
    assert (told["low"], told["audio"]) == (("aac", 32_000), ("copy", 0))
    town.hub.end_all("the test is over")
    await town.settled()


def last_words(town: Town) -> list[int]:
    """The flushes that the process was told of."""
    return [frame.values["flush"] for frame in town.process.sent if isinstance(frame, Note) and "flush" in frame.values]  # type: ignore[misc]


def state_of(town: Town) -> StreamState:
    stream = town.transcoder._rungs._outputs["144p"].stream
    assert stream is not None
    return stream.state


def encode(town: Town, packet: Packet) -> None:
    """One picture of a rung."""
    town.transcoder.on_frame(TrackFrame(2, Track(Codec.H264, b"avcC", b"v")))
    town.transcoder.on_frame(PacketFrame(2, packet))


async def test_a_rung_is_away_when_its_process_has_given_out_all(town: Town) -> None:
    await town.begin()
    town.see()
    encode(town, town.pictures[0])
    town.publisher.close("gone")
    assert last_words(town) == [1]
    assert state_of(town) is StreamState.LIVE
    town.transcoder.on_frame(Note({"flushed": 1}))
    assert state_of(town) is StreamState.AWAY


async def test_nobody_waits_long_for_the_last_pictures(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH", 0.01)
    await town.begin()
    town.see()
    encode(town, town.pictures[0])
    rendition = town.hub.streams["show@144p"]
    ended = asyncio.Event()
    rendition.subscribe(OnEnd(ended.set), replay=False)
    town.hub.end("show", "over")
    assert town.transcoder.state is TranscoderState.ENDING
    async with asyncio.timeout(10):
        await ended.wait()
    assert town.transcoder.state is TranscoderState.ENDED


@pytest.mark.parametrize("way", ["dies", "fails"])
async def test_a_process_that_is_gone_is_not_waited_for(town: Town, way: str) -> None:
    await town.begin()
    town.see()
    encode(town, town.pictures[0])
    rendition = town.hub.streams["show@144p"]
    town.hub.end("show", "over")
    if way == "dies":
        town.transcoder.on_exit(-9, "")
        assert town.transcoder.state is TranscoderState.ENDED
    else:
        town.transcoder.on_frame(Note({"failed": "144p", "encoder": "libx264", "reason": "broken", "fallback": ""}))
        town.transcoder.on_frame(Note({"flushed": 1}))
    assert rendition.state is StreamState.ENDED
    assert town.transcoder.ended.is_set()


async def test_an_encoder_that_fails_at_the_end_of_a_stream_ends_no_other_one_of_its_name(
    clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "Worker", Idle)
    town = Town(clips, Ladder((Rung("144p", 144),), policy=EncoderPolicy.FAIL))
    await town.begin()
    town.see()
    town.hub.end("show", "over")
    again = town.hub.publish(PublishGrant("show"), Session(Wire.INTERNAL, "test"), lambda _: None)
    town.transcoder.on_frame(Note({"failed": "144p", "encoder": "libx264", "reason": "broken", "fallback": ""}))
    assert again.stream.state is StreamState.LIVE
    town.transcoder.on_frame(Note({"flushed": 1}))
    town.hub.end_all("the test is over")
    await town.settled()


async def test_a_stream_that_its_policy_ends_is_told_of_no_more_and_its_process_given_no_plan(
    clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "Worker", Idle)
    rungs = Rung("180p", 180, encoder="h264_nvenc"), Rung("144p", 144)
    town = Town(clips, Ladder(rungs, policy=EncoderPolicy.FAIL))
    await town.begin()
    process = town.process
    town.see()
    assert "h264_nvenc is not available" in town.reasons()[-1]
    assert isinstance(town.notes.events[-1], PublishEnded)
    assert not any("lanes" in frame.values for frame in process.sent if isinstance(frame, Note))
    town.transcoder.on_frame(Note({"flushed": 1}))
    assert town.transcoder.state is TranscoderState.ENDED
    await town.settled()


@pytest.mark.parametrize(
    ("policy", "outcome"),
    [(EncoderPolicy.DROP_RUNG, "it is dropped"), (EncoderPolicy.PASSTHROUGH, "the stream goes on without renditions")],
)
async def test_an_encoder_that_is_not_there_is_told_by_its_name(
    clips: Clips, monkeypatch: pytest.MonkeyPatch, policy: EncoderPolicy, outcome: str
) -> None:
    monkeypatch.setattr(module, "Worker", Idle)
    town = Town(clips, Ladder((Rung("180p", 180, encoder="h264_nvenc"), Rung("144p", 144)), policy=policy))
    await town.begin()
    town.see()
    (words,) = town.faults()
    assert words == f"180p: h264_nvenc is not available (not tried); {outcome}"
    first, second = town.transcoder.rungs()
    assert (first.encoder, first.running) == ("h264_nvenc", False)
    assert first.reason in ("h264_nvenc is not available (not tried)", words)
    # Where one costs all, each of them says so.
    assert (second.reason == words) == (policy is EncoderPolicy.PASSTHROUGH)
    town.hub.end_all("the test is over")
    await town.settled()


async def test_rungs_whose_process_died_too_often_say_so(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.0)
    await town.begin()
    town.see()
    assert {rung.reason for rung in town.transcoder.rungs()} != {""}
    for _ in range(TranscodeConfig().max_deaths + 1):
        town.transcoder.on_exit(-9, "")
        await town.settled()
    assert town.transcoder.state is TranscoderState.GIVEN_UP
    rungs = town.transcoder.rungs()
    assert {(rung.running, rung.reason) for rung in rungs} == {(False, town.faults()[-1])}
    assert "died" in town.faults()[-1]


async def test_a_process_that_cannot_be_started_for_a_stream_that_is_over_is_no_error(
    clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    starting = asyncio.Event()

    class Late(Idle):
        async def start(self) -> None:
            await starting.wait()
            raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(module, "Worker", Late)
    town = Town(clips, Ladder((Rung("144p", 144),)))
    town.publisher.write_track(town.track)
    town.publisher.write(town.pictures[0])
    (task,) = town.tasks
    await asyncio.sleep(0)
    town.hub.end("show", "over")
    starting.set()
    await task
    assert town.transcoder.state is TranscoderState.ENDED


async def test_only_the_last_of_two_flushes_counts(town: Town) -> None:
    await town.begin()
    town.see()
    encode(town, town.pictures[0])
    town.publisher.close("gone")
    town.publisher = town.hub.publish(PublishGrant("show"), Session(Wire.INTERNAL, "test"), lambda _: None)
    town.publisher.close("gone again")
    assert last_words(town) == [1, 2]
    town.transcoder.on_frame(Note({"flushed": 1}))
    assert state_of(town) is StreamState.LIVE
    town.transcoder.on_frame(Note({"flushed": 2}))
    assert state_of(town) is StreamState.AWAY


@pytest.mark.parametrize("taken_over", [False, True])
@pytest.mark.parametrize("sound", [AAC, MP3])
async def test_a_copied_rung_goes_on_though_its_publisher_is_back_before_the_others_are_done(
    town: Town, sound: Track, taken_over: bool
) -> None:
    town.publisher.write_track(town.track)
    town.publisher.write_track(sound)
    town.publisher.write(replace(town.pictures[0]))
    await town.settled()
    town.see()
    for picture in town.pictures[1:5]:
        town.publisher.write(replace(picture))
    viewer = Pictures()
    town.hub.streams["show@240p"].subscribe(viewer, replay=False)
    if not taken_over:
        town.publisher.close("gone")
    town.publisher = town.hub.publish(PublishGrant("show"), Session(Wire.INTERNAL, "test"), lambda _: None)
    for picture in town.pictures[:2]:
        town.publisher.write(replace(picture))
    town.transcoder.on_frame(Note({"flushed": 1}))
    for picture in town.pictures[2:]:
        town.publisher.write(replace(picture))
    assert viewer.seen == [picture.body for picture in town.pictures]


def flushes_of(town: Town) -> list[Mapping[str, object]]:
    return [frame.values for frame in town.process.sent if isinstance(frame, Note) and "flush" in frame.values]


async def test_a_picture_that_falls_silent_while_sound_goes_on_is_told_and_its_rungs_have_sound_alone(clips: Clips) -> None:
    town = Town(clips, Ladder((Rung("240p", 240),)))  # copied, so that there is no process
    town.publisher.write_track(town.track)
    town.publisher.write_track(AAC)
    town.publisher.write(town.pictures[0])
    rung = town.hub.streams["show@240p"]

    def sound(time: int) -> None:
        town.publisher.write(Packet(MediaKind.AUDIO, time, True, b"\xaf\x01s", 2))

    def heard() -> list[int]:
        return [packet.dts for packet in rung.gop if packet.kind is MediaKind.AUDIO]

    for time in range(100, module.REST + 100, 100):
        sound(time)
    assert heard() == []
    assert town.reasons() == []
    sound(module.REST + 100)
    assert heard()[-1] >= module.REST
    sound(module.REST + 200)
    assert len(heard()) == module.REST // 100 + 2
    assert town.reasons() == ["the source's picture stands still: sound goes on alone"]
    town.publisher.write(replace(town.pictures[0], dts=module.REST + 300))
    assert town.reasons()[1:] == ["the source's picture is back"]
    sound(module.REST + 400)
    assert heard() == [], "it waits for its picture again"
    town.hub.end_all("the test is over")


async def test_at_rest_the_process_gives_out_its_pictures_and_goes_on_with_its_sound(town: Town) -> None:
    await town.begin()
    town.see()
    encode(town, town.pictures[0])
    for time in range(0, module.REST + 200, 100):
        town.sound(time)
    assert flushes_of(town) == [{"flush": 1, "sound": False}]
    town.transcoder.on_frame(Note({"flushed": 1}))
    assert state_of(town) is StreamState.LIVE
    town.publisher.close("gone")
    assert flushes_of(town)[1:] == [{"flush": 2, "sound": True}]
    town.transcoder.on_frame(Note({"flushed": 2}))
    assert state_of(town) is StreamState.AWAY


async def test_what_it_says_after_it_was_told_to_end_changes_nothing(town: Town) -> None:
    await town.begin()
    town.see()
    failed = Note({"failed": "144p", "encoder": "libx264", "reason": "broken", "fallback": ""})
    town.transcoder.on_frame(failed)
    assert town.transcoder.state is TranscoderState.GIVEN_UP
    before = len(town.notes.events)
    town.transcoder.on_frame(failed)
    assert len(town.notes.events) == before
    assert isinstance(town.notes.events[-1], TranscodeChanged)
    assert town.faults() == ["144p: libx264 failed (broken); the stream goes on without renditions"]


async def test_sound_of_another_process_begins_a_new_time_like_the_pictures(town: Town) -> None:
    await town.begin()
    town.see()
    town.sound(10)
    town.transcoder.on_exit(-9, "")
    await town.settled()
    town.sound(20)
    town.sound(30)
    marks = [frame.packet.discontinuity for frame in town.process.sent if isinstance(frame, PacketFrame)]
    assert marks == [True, False]


async def test_a_camera_on_its_side_stays_so_while_its_new_parameters_have_not_been_seen(town: Town) -> None:
    await town.begin()
    town.see(width=240, height=426, rotation=90)
    copied = [rung.name for rung in town.transcoder.rungs() if rung.encoder == "copy"]
    assert copied == []
    town.publisher.write_track(Track(Codec.H264, town.track.config, town.track.body + b"\0"))
    assert [rung.name for rung in town.transcoder.rungs() if rung.encoder == "copy"] == []


async def test_a_process_in_the_place_of_one_that_died_is_told_as_that(town: Town) -> None:
    await town.begin()
    town.see()
    town.transcoder.on_exit(-9, "")
    await town.settled()
    town.see()
    assert town.reasons() == [
        "begun",
        "its process died (status -9) and is started again",
        "another process has taken the place of the one that died",
    ]
    town.see(width=320)
    assert town.reasons()[3:] == ["the source changed"]
    assert town.faults() == town.reasons()[1:2]


def lanes_of(town: Town) -> list[list[tuple[float, float]]]:
    """Of each plan: the cap and the source's rate of every lane."""
    plans = [read_plan(frame.values) for frame in town.process.sent if isinstance(frame, Note)]
    return [[(lane.frame_rate, lane.rate) for lane in plan.lanes] for plan in plans if plan is not None]


async def test_a_publisher_that_returns_with_another_frame_rate_is_capped_anew(
    clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "Worker", Idle)
    town = Town(clips, Ladder((Rung("144p", 144, frame_rate=30.0),)))
    town.publisher.write_metadata(Metadata(b"", {"framerate": 25.0}))
    await town.begin()
    town.see()
    town.publisher.write_metadata(Metadata(b"", {"framerate": 25.0}))
    assert lanes_of(town) == [[(0.0, 25.0)]]
    town.publisher.write_metadata(Metadata(b"", {"framerate": 50.0}))
    assert lanes_of(town)[1:] == [[(30.0, 50.0)]]
    assert town.reasons() == ["begun", "the source's frame rate changed"]
    town.hub.end_all("the test is over")
    town.transcoder.on_frame(Note({"flushed": 1}))
    await town.settled()
