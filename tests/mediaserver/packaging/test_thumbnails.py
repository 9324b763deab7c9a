"""Still images of what is live, made by the real worker of real keyframes, and looked at with a decoder."""

import asyncio
import io
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import psutil
import pytest

from mediaserver.hub.gop import GopCache
from mediaserver.hub.stream import LiveStream
from mediaserver.packaging import stills, thumbnails
from mediaserver.packaging.answer import Answer, Missing, Ready, TooFar, Wait
from mediaserver.packaging.stills import Stills
from mediaserver.packaging.thumbnails import IDLE, LEAST_INTERVAL, PENALTY, Thumbnails
from mediaserver.worker.frames import Frame, Note
from protocols.media import MediaKind, Packet, Track
from tests.media import Clips, frame_number
from tests.mediaserver.packaging.material import OneStream, only, read_flv, shifted

#: Seconds to wait for what is sure to come.
PATIENCE = 60.0


class CountedStills(Stills):
    """A worker whose verdicts are counted: one for each keyframe that it decoded, or could not. So many of them as ``halted``
    says are stopped before they are told anything: they never answer, however much time there is."""

    verdicts: int
    halted: int
    started: "list[CountedStills]"

    async def start(self) -> None:
        await super().start()
        if len(self.started) < self.halted:
            os.kill(self.pid, signal.SIGSTOP)
        self.started.append(self)

    def on_frame(self, frame: Frame) -> None:
        type(self).verdicts += isinstance(frame, Note) and "failure" in frame.values
        super().on_frame(frame)

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self.pid)


class SlowStills(CountedStills):
    """A worker that is stopped as soon as its process is there, long before it takes orders."""

    async def start(self) -> None:
        begin = self._worker.start

        async def stopped() -> None:
            await begin()
            os.kill(self.pid, signal.SIGSTOP)
            type(self).slow.append(self)

        self._worker.start = stopped  # type: ignore[method-assign]
        await super().start()

    slow: "list[SlowStills]"


class Site:
    """A hub with one stream, its thumbnails, and a clock."""

    def __init__(self, kind: type[CountedStills] = CountedStills) -> None:
        self.hub = OneStream()
        self.now = 1000.0
        self.workers = type("Counted", (kind,), {"verdicts": 0, "halted": 0, "started": [], "slow": []})
        self.subject = Thumbnails(self.hub, asyncio.get_running_loop().create_task, self.workers)

    @property
    def decoded(self) -> int:
        return self.workers.verdicts

    @property
    def worker(self) -> CountedStills:
        worker = self.workers.started[-1]
        assert isinstance(worker, CountedStills)
        return worker

    def write(self, items: Iterable[Track | Packet]) -> None:
        self.hub.write(list(items))

    def ask(self, width: str = "", name: str = "test", resource: str = "thumbnail.jpg") -> Answer:
        return self.subject.answer(name, resource, {"width": width} if width else {}, self.now)

    async def get(self, width: str = "") -> Answer:
        """Ask as a connection does: until the answer is not to wait."""
        async with asyncio.timeout(PATIENCE):
            while isinstance(answer := self.ask(width), Wait):
                fired = asyncio.Event()
                answer.signal.add(fired.set)
                await fired.wait()
        return answer

    async def image(self, width: str = "") -> bytes:
        answer = await self.get(width)
        assert isinstance(answer, Ready), answer
        assert answer.content_type == "image/jpeg"
        return answer.body

    async def until(self, question: Callable[[], bool]) -> None:
        """Let the loop run until the answer is yes."""
        async with asyncio.timeout(PATIENCE):
            while not question():  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.005)

    async def settled(self) -> None:
        """Let the orders that are under way come to their end."""
        await self.until(lambda: self.subject._task is None)


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(stills, "ORDER_PATIENCE", PATIENCE)  # a machine that others take away for seconds is no fault of a worker
    monkeypatch.setattr(stills, "START_PATIENCE", PATIENCE)
    found = Site()
    yield found
    await found.subject.close()
    await found.until(lambda: all(worker.gone for worker in found.workers.started))


@pytest.fixture
async def slow(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """Its workers are stopped while they start."""
    monkeypatch.setattr(stills, "ORDER_PATIENCE", PATIENCE)
    monkeypatch.setattr(stills, "START_PATIENCE", 10 * PATIENCE)
    found = Site(SlowStills)
    yield found
    await found.subject.close()
    await found.until(lambda: all(worker.gone for worker in found.workers.slow))


def look(image: bytes) -> av.VideoFrame:
    assert image[:2] + image[-2:] == b"\xff\xd8\xff\xd9"
    with av.open(io.BytesIO(image), format="jpeg_pipe") as container:
        return next(container.decode(video=0))


def number(image: bytes) -> int:
    return frame_number(look(image).to_ndarray(format="gray"))


def gops(clips: Clips, **what: object) -> list[list[Track | Packet]]:
    """The tracks of a clip, and each of its groups of pictures after them."""
    pieces: list[list[Track | Packet]] = [[]]
    for item in read_flv(clips.get(**{"audio": "", **what})):
        if isinstance(item, Packet) and item.keyframe:
            pieces.append([])
        pieces[-1].append(item)
    return pieces


def broken(packet: Track | Packet, data: bytes) -> Packet:
    assert isinstance(packet, Packet)
    return replace(packet, body=packet.body[: packet.offset] + data)


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9"])
async def test_the_image_is_the_last_keyframe(site: Site, clips: Clips, codec: str) -> None:
    site.write(read_flv(clips.get(video=codec)))
    assert number(await site.image()) == 75


async def test_each_new_keyframe_shows_but_not_more_than_one_a_second(site: Site, clips: Clips) -> None:
    tracks, *groups = gops(clips)
    site.write([*tracks, *groups[0]])
    assert number(await site.image()) == 0
    site.write(groups[1])
    site.now += LEAST_INTERVAL / 2
    assert number(await site.image()) == 0
    site.now += LEAST_INTERVAL / 2
    late = site.ask()
    assert isinstance(late, Wait)
    assert late.late is not None
    assert number(late.late().body) == 0
    assert number(await site.image()) == 25
    assert site.decoded == 2


async def test_a_thousand_requests_cost_one_decode(site: Site, clips: Clips) -> None:
    site.write(read_flv(clips.get()))
    first = await asyncio.gather(*(site.image() for _ in range(100)))
    site.now += IDLE / 2
    later = [await site.image() for _ in range(900)]
    assert len({id(image) for image in (*first, *later)}) == 1
    assert site.decoded == 1
    assert len(site.workers.started) == 1


async def test_all_widths_that_are_in_use_come_of_one_decode(site: Site, clips: Clips) -> None:
    tracks, *groups = gops(clips, width=1280, height=720)
    site.write([*tracks, *groups[0]])
    sizes = {width: look(await site.image(width)) for width in ("1", "160", "161", "640", "", "99999")}
    assert {width: (frame.width, frame.height) for width, frame in sizes.items()} == {
        "1": (160, 90), "160": (160, 90), "161": (320, 180), "640": (640, 360), "": (640, 360), "99999": (1280, 720),
    }  # fmt: skip
    before = site.decoded
    site.write(groups[1])
    site.now += LEAST_INTERVAL
    assert {number(await site.image(width)) for width in sizes} == {25}
    assert site.decoded == before + 1


async def test_a_small_picture_is_not_made_larger(site: Site, clips: Clips) -> None:
    site.write(read_flv(clips.get()))
    frame = look(await site.image("1280"))
    assert (frame.width, frame.height) == (320, 192)


@pytest.mark.parametrize("width", ["0", "-1", "1e3", "²", "100000", "x", " 1"])
async def test_a_width_that_is_none_is_refused(site: Site, clips: Clips, width: str) -> None:
    site.write(read_flv(clips.get()))
    assert isinstance(site.ask(width), TooFar)


async def test_what_is_not_live_or_shows_nothing_leaves_no_state(site: Site, clips: Clips) -> None:
    site.write(only(read_flv(clips.get()), MediaKind.AUDIO))
    assert all(isinstance(site.ask(name=f"stream-{count}"), Missing) for count in range(1000))
    assert isinstance(site.ask(), Missing)
    assert isinstance(site.ask(resource="thumbnail.png"), Missing)
    assert len(site.subject) == 0
    assert site.workers.started == []


async def test_who_asks_before_the_first_keyframe_waits_for_it(site: Site, clips: Clips) -> None:
    tracks, *groups = gops(clips)
    site.write(tracks)
    waiting = asyncio.ensure_future(site.image())
    await asyncio.sleep(0)
    assert not waiting.done()
    site.write(groups[0])
    assert number(await waiting) == 0
    assert site.hub.stream is not None
    assert site.hub.stream.subscribers == ()


async def test_who_waits_for_a_keyframe_is_told_when_the_stream_ends(site: Site, clips: Clips) -> None:
    tracks, *_ = gops(clips)
    site.write(tracks)
    waiting = asyncio.ensure_future(site.get())
    await asyncio.sleep(0)
    stream, site.hub.stream = site.hub.stream, None
    assert stream is not None
    for subscriber in stream.subscribers:
        subscriber.on_end()
    assert isinstance(await waiting, Missing)


async def test_a_stream_whose_pictures_are_not_kept_has_images_all_the_same(site: Site, clips: Clips) -> None:
    tracks, *groups = gops(clips)
    site.hub.stream = LiveStream("test", GopCache(0, 0), 0.0)
    site.write([*tracks, *groups[0]])
    waiting = asyncio.ensure_future(site.image())
    await asyncio.sleep(0)
    site.write(groups[1])
    assert number(await waiting) == 25
    site.now += LEAST_INTERVAL
    assert number(await site.image()) == 25
    site.write(groups[2])
    assert number(await site.image()) == 50


BREAKAGES = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "noise": lambda data: data[:40] + bytes(byte * 7 + 13 & 255 for byte in data[40:]),
    "zeros": lambda data: bytes(len(data)),
    "a length beyond the end": lambda data: b"\xff\xff\xff\xff" + data[4:],
}


@pytest.mark.parametrize("codec", ["h264", "av1", "vp9"])
@pytest.mark.parametrize("breakage", BREAKAGES)
async def test_a_broken_keyframe_is_tried_once_and_the_next_one_shows(
    site: Site, clips: Clips, codec: str, breakage: str
) -> None:
    tracks, (keyframe, *_), good, *_ = gops(clips, video=codec)
    assert isinstance(keyframe, Packet)
    site.write([*tracks, broken(keyframe, BREAKAGES[breakage](keyframe.payload))])
    assert isinstance(await site.get(), Missing)
    site.now += LEAST_INTERVAL
    assert isinstance(await site.get(), Missing)
    assert site.decoded == 1
    site.write(good)
    assert number(await site.image()) == 25
    assert len(site.workers.started) == 1


async def test_broken_keyframes_in_a_row_are_tried_once_a_second_and_the_last_good_image_stays(site: Site, clips: Clips) -> None:
    tracks, *groups = gops(clips)
    site.write([*tracks, *groups[0]])
    good = await site.image()
    site.now += LEAST_INTERVAL
    for group in groups[1:]:
        site.write([broken(group[0], b"\0")])
        assert await site.image() is good
    assert site.decoded == 2


async def test_a_few_bytes_that_claim_a_giant_picture_get_no_memory(site: Site, clips: Clips) -> None:
    tracks, (keyframe, *_), *_ = gops(clips, video="vp9")
    assert isinstance(keyframe, Packet)
    # VP9 bitstream specification 6.2: both sides, 16 bits each, stand 36 bits into the frame.
    data = bytearray(keyframe.payload)
    data[4] |= 0x0F
    data[5:8] = b"\xff\xff\xff"
    data[8] |= 0xF0
    site.write([*tracks, broken(keyframe, bytes(data))])
    assert isinstance(await site.get(), Missing)
    assert site.worker.process.memory_info().rss < 200 << 20


async def test_a_worker_that_was_killed_is_replaced(site: Site, clips: Clips) -> None:
    tracks, *groups = gops(clips)
    site.write([*tracks, *groups[0]])
    await site.image()
    os.kill(site.worker.pid, signal.SIGKILL)
    site.write(groups[1])
    site.now += LEAST_INTERVAL
    answer = await site.get()
    while isinstance(answer, Ready) and number(answer.body) == 0:  # the loss is noticed by then, or with this order
        site.now += LEAST_INTERVAL
        answer = await site.get()
    assert isinstance(answer, Ready)
    assert number(answer.body) == 25
    assert len(site.workers.started) == 2


async def test_a_worker_killed_over_an_order_costs_that_request_nothing(site: Site, clips: Clips) -> None:
    site.workers.halted = 1
    site.write(read_flv(clips.get()))
    waiting = asyncio.ensure_future(site.image())
    await site.until(lambda: bool(site.workers.started) and site.worker._done is not None)
    os.kill(site.worker.pid, signal.SIGKILL)
    assert number(await waiting) == 75
    assert len(site.workers.started) == 2


async def test_a_keyframe_that_takes_the_worker_down_is_left_alone_for_a_while(
    site: Site, clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracks, *groups = gops(clips)
    site.workers.halted = thumbnails.MAX_FAULTS
    site.write([*tracks, *groups[0]])
    with monkeypatch.context() as hasty:
        hasty.setattr(stills, "ORDER_PATIENCE", 0.05)
        assert isinstance(await site.get(), Missing)
    assert len(site.workers.started) == thumbnails.MAX_FAULTS
    site.write(groups[1])
    site.now += PENALTY - 1
    assert isinstance(await site.get(), Missing)
    site.now += 1
    assert number(await site.image()) == 25
    assert len(site.workers.started) == thumbnails.MAX_FAULTS + 1


async def test_an_order_has_its_time_from_when_the_worker_is_there(
    slow: Site, clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow.write(read_flv(clips.get()))
    with monkeypatch.context() as hasty:
        hasty.setattr(stills, "ORDER_PATIENCE", 0.05)
        waiting = asyncio.ensure_future(slow.image())
        await slow.until(lambda: bool(slow.workers.slow))
        await asyncio.sleep(0.2)
    os.kill(slow.workers.slow[0].pid, signal.SIGCONT)
    assert number(await waiting) == 75
    assert len(slow.workers.slow) == 1


async def test_a_worker_that_is_never_there_is_given_up(slow: Site, clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stills, "START_PATIENCE", 0.05)
    slow.write(read_flv(clips.get()))
    assert isinstance(await slow.get(), Missing)
    assert len(slow.workers.slow) == thumbnails.MAX_FAULTS


async def test_a_server_that_stops_does_not_wait_for_a_worker_that_starts(slow: Site, clips: Clips) -> None:
    slow.write(read_flv(clips.get()))
    waiting = asyncio.ensure_future(slow.get())
    await slow.until(lambda: bool(slow.workers.slow))
    await slow.subject.close()
    assert isinstance(await waiting, Missing)


async def test_a_worker_that_cannot_start_is_no_image_and_no_crash(
    site: Site, clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: Stills) -> None:
        raise OSError("no more processes")

    site.write(read_flv(clips.get()))
    with monkeypatch.context() as broken:
        broken.setattr(Stills, "start", fail)
        assert isinstance(await site.get(), Missing)
    site.now += PENALTY
    site.write(shifted(read_flv(clips.get()), 4000))
    assert number(await site.image()) == 75


async def test_who_left_before_his_turn_costs_no_decode(site: Site, clips: Clips) -> None:
    site.write(read_flv(clips.get()))
    answer = site.ask()
    assert isinstance(answer, Wait)
    await site.settled()
    assert site.workers.started == []
    assert number(await site.image()) == 75


async def test_without_requests_images_are_forgotten_and_the_worker_ends(site: Site, clips: Clips) -> None:
    site.write(read_flv(clips.get()))
    await site.image()
    site.subject.sweep(site.now + IDLE)
    assert len(site.subject) == 1
    site.subject.sweep(site.now + IDLE + 1)
    assert len(site.subject) == 0
    await site.until(lambda: site.worker.gone)
    site.now += IDLE + 2
    assert number(await site.image()) == 75
    assert len(site.workers.started) == 2


async def test_another_stream_of_that_name_has_images_of_its_own(site: Site, clips: Clips) -> None:
    tracks, *groups = gops(clips)
    site.write([*tracks, *groups[0]])
    await site.image()
    site.hub.stream = LiveStream("test", GopCache(8 << 20, 10_000), 0.0)
    site.write([*tracks, *shifted(groups[1], -1000)])
    assert number(await site.image()) == 25
    site.hub.stream = None
    site.subject.sweep(site.now)
    assert len(site.subject) == 0


class ManyStreams:
    def __init__(self, items: list[Track | Packet], count: int) -> None:
        self.streams: dict[str, LiveStream] = {}
        for index in range(count):
            hub = OneStream(f"stream-{index}")
            hub.write(items)
            assert hub.stream is not None
            self.streams[hub.name] = hub.stream

    def find(self, name: str) -> LiveStream | None:
        return self.streams.get(name)


async def test_images_are_bounded_in_bytes_and_streams(site: Site, clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    site.write(read_flv(clips.get()))
    size = len(await site.image())
    monkeypatch.setattr(thumbnails, "MAX_BYTES", size * 3)
    monkeypatch.setattr(thumbnails, "MAX_STREAMS", 5)
    many = ManyStreams(read_flv(clips.get()), 8)
    site.subject._streams = many

    async def show(name: str) -> None:
        while isinstance(answer := site.ask(name=name), Wait):
            fired = asyncio.Event()
            answer.signal.add(fired.set)
            await fired.wait()
        assert isinstance(answer, Ready)

    async with asyncio.timeout(PATIENCE):
        for name in many.streams:
            site.now += 0.1
            await show(name)
            assert sum(entry.nbytes for entry in site.subject._entries.values()) <= size * 3
            assert len(site.subject) <= 5
    before = site.decoded
    site.now += 0.1
    await show("stream-7")
    await show("stream-6")
    assert site.decoded == before


async def test_when_all_are_being_made_a_further_stream_waits(site: Site, clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "MAX_STREAMS", 1)
    site.subject._streams = ManyStreams(read_flv(clips.get()), 2)
    assert isinstance(site.ask(name="stream-0"), Wait)
    assert isinstance(site.ask(name="stream-1"), Wait)
    assert len(site.subject) == 1
    await site.settled()


async def test_closed_thumbnails_answer_nothing(site: Site, clips: Clips) -> None:
    site.workers.halted = 1  # else it may be done before they are closed
    site.write(read_flv(clips.get()))
    waiting = asyncio.ensure_future(site.get())
    await site.until(lambda: bool(site.workers.started))
    await site.subject.close()
    assert isinstance(await waiting, Missing)
    assert isinstance(site.ask(), Missing)


def keyframe_of(pattern: npt.NDArray[np.uint8], file: Path, *, aspect: Fraction | None = None, turned: int = 0) -> Path:
    """An FLV file with one H.264 keyframe of a grey picture, shape (height, width), in ``file``. ``turned``: to be shown so
    many degrees counterclockwise."""
    with av.open(str(file), "w", format="flv") as output:
        stream = output.add_stream("libx264", rate=25, options={"x264-params": "log=-1"})
        stream.height, stream.width = pattern.shape
        stream.pix_fmt = "yuv420p"
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        frame = av.VideoFrame.from_ndarray(pattern, "gray")
        frame.pts = 0
        packets = [*stream.encode(frame), *stream.encode(None)]
        if turned:
            output.start_encoding()
            bsf = av.BitStreamFilterContext(f"h264_metadata=display_orientation=insert:rotate={turned}", in_stream=stream)
            packets = [*bsf.filter(packets[0]), *bsf.filter(None)]
        output.mux(packets)
    return file


async def test_pixels_that_are_not_square_are_made_square(site: Site, tmp_path: Path) -> None:
    site.write(read_flv(keyframe_of(np.full((240, 160), 90, np.uint8), tmp_path / "wide.flv", aspect=Fraction(2, 1))))
    frame = look(await site.image())
    assert (frame.width, frame.height) == (320, 240)


async def test_a_picture_that_lies_on_its_side_is_shown_upright(site: Site, tmp_path: Path) -> None:
    pattern = np.full((120, 320), 40, np.uint8)
    pattern[:, 160:] = 200
    site.write(read_flv(keyframe_of(pattern, tmp_path / "turned.flv", turned=90)))
    frame = look(await site.image())
    assert (frame.width, frame.height) == (120, 320)
    shown = frame.to_ndarray(format="gray")
    # Turned counterclockwise, what was on the right is on top.
    assert shown[:150].mean() > 150 > 100 > shown[170:].mean()


async def test_black_and_white_are_those_of_a_jpeg(site: Site, tmp_path: Path) -> None:
    pattern = np.zeros((96, 320), np.uint8)
    pattern[:, 160:] = 255
    site.write(read_flv(keyframe_of(pattern, tmp_path / "contrast.flv")))
    shown = look(await site.image()).to_ndarray(format="gray")
    assert shown[:, :140].max() <= 4
    assert shown[:, 180:].min() >= 251
