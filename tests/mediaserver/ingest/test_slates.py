"""Slates that cannot be made, and the process that makes them."""

import asyncio
import contextlib
from collections.abc import Coroutine

import pytest

from mediaserver.config import Config, PullConfig
from mediaserver.errors import NameTaken
from mediaserver.hub.hub import Hub, HubLimits, Publisher
from mediaserver.hub.session import Session
from mediaserver.hub.stream import StreamState
from mediaserver.ingest import slates
from mediaserver.ingest.slate import Reel, SlateFailed, SlateForm, make
from mediaserver.ingest.slates import Slates
from mediaserver.ports import PublishGrant, Slate, Wire
from mediaserver.worker.frames import Frame
from mediaserver.worker.process import Worker
from protocols.media import Codec, MediaKind, Packet, Track
from tests.media import Clips
from tests.mediaserver.running import PATIENCE, Notes


class Kitchen:
    """Makes slates in place of the workers; fails so many times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.orders = 0

    async def __call__(self, form: SlateForm, config: Config) -> Reel:
        self.orders += 1
        if self.orders <= self.failures:
            raise SlateFailed("no memory")
        return Reel(25)


class Town:
    """A hub with Slates, and a stream of sound that has one."""

    def __init__(self, slate: Slate | None = None) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        self.hub = Hub(HubLimits(60, False, 1 << 20, 10_000, 100), Notes())
        self.slates = Slates(self.hub, Config(), self.spawn)
        self.publisher = self.hub.publish(
            PublishGrant("cam", slate=slate or Slate()), Session(Wire.RTMP, "192.0.2.1"), lambda _: None
        )
        self.publisher.write_track(Track(Codec.AAC, b"\x11\x90", b"\xaf\x00\x11\x90"))

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        self.tasks.append(asyncio.ensure_future(work))
        return self.tasks[-1]

    def listen(self, times: int, late: float = 0.0) -> None:
        """Let ``rtmp.slate_after`` / 5 go by so many times, and ``late`` seconds more each time."""
        for _ in range(times):
            self.slates._looked_at = asyncio.get_running_loop().time() - Config().rtmp.slate_after / 5 - late
            self.slates._listen()

    async def sweep(self) -> None:
        self.slates.sweep(asyncio.get_running_loop().time())
        await asyncio.gather(*self.tasks)


async def test_a_slate_that_could_not_be_made_is_tried_again_after_a_while(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kitchen = Kitchen(failures=2)
    monkeypatch.setattr(slates, "make", kitchen)
    town = Town()
    await town.sweep()
    await town.sweep()
    assert (kitchen.orders, town.slates.ready("cam")) == (1, False)
    facts = {"name": "cam", "session_id": town.publisher.session.id, "reason": "no memory"}
    assert [vars(record)["facts"] for record in caplog.records if record.message == "slate_failed"] == [facts]
    monkeypatch.setattr(slates, "FIRST_RETRY", 0.0)
    for orders, ready in ((2, False), (3, True), (3, True)):
        await town.sweep()
        assert (kitchen.orders, town.slates.ready("cam")) == (orders, ready)
    await town.slates.close()


async def test_each_failure_makes_the_next_try_later(monkeypatch: pytest.MonkeyPatch) -> None:
    making = slates._Making(failures=3)
    making.done_at = 1000.0
    assert not making.worth_another_try(5000.0)  # nor is it done
    making.reel.set_result(None)
    assert not making.worth_another_try(1000.0 + 79.0)
    assert making.worth_another_try(1000.0 + 80.0)
    making.failures = 1000
    assert making.worth_another_try(1000.0 + slates.LONGEST_RETRY)


async def test_a_silent_source_is_not_interrupted_for_a_slate_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slates, "make", Kitchen(failures=100))
    town = Town()
    await town.sweep()
    town.listen(7)
    assert town.hub.publishers["cam"] is town.publisher
    await town.slates.close()


async def test_a_source_is_silent_when_nothing_came_for_so_long_as_we_listened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slates, "make", Kitchen(failures=0))
    town = Town()
    await town.sweep()
    town.listen(4)
    assert town.hub.publishers["cam"] is town.publisher
    town.publisher.session.bytes_in += 1
    # A loop that stood still for a minute has not listened for a minute.
    town.listen(1, late=60.0)
    town.listen(1, late=60.0)
    town.listen(1)
    assert town.hub.publishers["cam"] is town.publisher
    town.listen(2)
    assert town.hub.publishers["cam"] is not town.publisher
    town.hub.end("cam", "over")
    await town.slates.close()


async def test_a_newcomer_that_says_nothing_keeps_neither_others_out_nor_the_slate_from_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def cook(form: SlateForm, config: Config) -> Reel:
        await asyncio.Event().wait()
        return Reel(25)

    monkeypatch.setattr(slates, "make", cook)
    town = Town(Slate(seconds=0.01))
    showing = town.hub.streams["cam"]
    kicked: list[str] = []

    def returns() -> Publisher:
        return town.hub.publish(PublishGrant("cam"), Session(Wire.RTMP, "192.0.2.2"), kicked.append)

    town.publisher.close("lost")
    first = returns()
    first.session.bytes_in = 1000
    town.listen(4)
    with pytest.raises(NameTaken):
        returns()
    town.listen(3)
    # It speaks again, and falls silent once more.
    first.session.bytes_in += 1
    town.listen(1)
    with pytest.raises(NameTaken):
        returns()
    town.listen(6)
    second = returns()
    assert kicked == ["taken over by another publisher"]
    assert town.hub.newcomer("cam") is second
    # The silence so far was another's.
    second.session.bytes_in = first.session.bytes_in
    town.listen(4)
    with pytest.raises(NameTaken):
        returns()
    town.listen(3)
    task = town.slates._screens["cam"].task
    assert task is not None
    await task
    assert showing.state is StreamState.ENDED
    assert kicked[1:] == ["the source did not come back"]
    assert not town.hub.streams
    await town.slates.close()


async def test_large_slates_have_room_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    async def cook(form: SlateForm, config: Config) -> Reel:
        return Reel(25, sounds=[Packet(MediaKind.AUDIO, 0, True, bytes(600), 0)])

    monkeypatch.setattr(slates, "make", cook)
    monkeypatch.setattr(slates, "MOST_BYTES", 1000)
    town = Town()
    other = town.hub.publish(PublishGrant("two", slate=Slate("a.mp4")), Session(Wire.RTMP, "192.0.2.2"), lambda _: None)
    other.write_track(Track(Codec.AAC, b"\x11\x90", b"\xaf\x00\x11\x90"))
    await town.sweep()
    assert sorted((town.slates.ready("cam"), town.slates.ready("two"))) == [False, True]
    # When one is not wanted any more, there is room for the other.
    gone, left = ("cam", "two") if town.slates.ready("cam") else ("two", "cam")
    town.hub.end(gone, "over")
    monkeypatch.setattr(slates, "FIRST_RETRY", 0.0)
    await town.sweep()
    await town.sweep()
    assert town.slates.ready(left)
    await town.slates.close()


class Watcher:
    """A WorkerHandler that knows when the process is gone."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.status: int | None = None

    def on_frame(self, frame: Frame) -> None:
        """Nothing."""

    def on_exit(self, status: int, words: str) -> None:
        self.status = status
        self.gone.set()


async def test_a_worker_at_its_work_ends_when_nobody_waits_for_it(clips: Clips) -> None:
    """At a slate so large that it takes much longer than we wait."""
    clip = clips.get(b_frames=0)
    config = Config(pull=PullConfig(file_roots=(str(clip.parent),), memory=8 << 30))
    form = SlateForm(video="hevc", width=3840, height=2160, frame_rate=60, path=clip.name)
    watcher = Watcher()
    worker = Worker("mediaserver.ingest.slate_worker", form.settings(config), watcher, 1 << 16)
    await worker.start()
    try:
        assert worker._transport is not None
        worker._transport.close()
        async with asyncio.timeout(PATIENCE):
            await watcher.gone.wait()
        assert watcher.status == 0, "by itself, and not by force"
    finally:
        worker.kill()
        with contextlib.suppress(TimeoutError):
            await worker.close(PATIENCE)


async def test_what_cannot_be_made_says_why() -> None:
    form = SlateForm(video="h264", width=320, height=192, path="/etc/passwd")
    with pytest.raises(SlateFailed, match="no files may be pulled"):
        await make(form, Config())
    with pytest.raises(SlateFailed, match="no such file"):
        await make(form, Config(pull=PullConfig(file_roots=("/nowhere",))))


async def test_a_slate_that_gives_way_does_not_hide_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    never = asyncio.Event()

    async def cook(form: SlateForm, config: Config) -> Reel:
        await never.wait()
        return Reel(25)

    monkeypatch.setattr(slates, "make", cook)
    town = Town()
    town.publisher.close("lost")
    await asyncio.sleep(0)
    first = town.hub.publishers["cam"]
    # Back, and lost again, before the first slate has heard that it is over.
    again = town.hub.publish(PublishGrant("cam", slate=Slate()), Session(Wire.RTMP, "192.0.2.1"), lambda _: None)
    again.write(Packet(MediaKind.AUDIO, 0, True, b"s", 0))
    again.close("lost again")
    await asyncio.wait(town.tasks, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    second = town.hub.publishers["cam"]
    assert second is not first
    assert town.slates.stop(second.session.id, "enough")
    assert not town.hub.streams
    await town.slates.close()


async def test_a_source_that_is_there_is_not_ended_with_its_slate_for_want_of_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    async def cook(form: SlateForm, config: Config) -> Reel:
        await asyncio.Event().wait()
        return Reel(25)

    monkeypatch.setattr(slates, "make", cook)
    town = Town(Slate(seconds=0.01))
    kicked: list[str] = []
    for there in (True, False):
        publisher = town.hub.publishers["cam"]
        publisher.close("lost")
        showing = town.slates._screens["cam"].task
        assert showing is not None
        if there:
            again = town.hub.publish(PublishGrant("cam"), Session(Wire.RTMP, "192.0.2.1"), kicked.append)
            assert town.hub.newcomer("cam") is again
        await showing
        assert town.hub.publishers.get("cam") is (again if there else None)
        assert bool(town.hub.streams) == there
    assert kicked == []
    await town.slates.close()
