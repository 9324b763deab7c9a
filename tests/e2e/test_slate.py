"""A slate in place of a source that is lost: what players see of it, and of the way back."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterator
from itertools import dropwhile, pairwise, takewhile
from pathlib import Path

import av
import pytest

from mediaserver.config import Config, HlsConfig, PullConfig, RtmpConfig, ServerConfig
from mediaserver.config_values import PLAIN
from mediaserver.events import PublishEnded, PublisherLeft, PublishStarted
from mediaserver.hub.stream import StreamState
from mediaserver.ports import InputType, PublishGrant, PublishRequest, PullSource, Slate, Wire
from tests.e2e.players import LivePlayer, breaks
from tests.e2e.test_pull_sources import live, pictures, pulling, url_of, watching, workers
from tests.media import Clips, frames
from tests.mediaserver.running import GOP, Running, picture, running
from tests.peers import Peers, program, wait_until

#: Frames of a clip whose number is never 0, so that a dark picture, which reads as 0, is no frame of it.
PERIOD = 100


class Watcher:
    """A Subscriber that keeps the states it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on_track(self, track: object) -> None:
        self.told.append("track")

    def on_metadata(self, metadata: object) -> None:
        """Nothing."""

    def on_packet(self, packet: object) -> None:
        """Nothing."""

    def on_away(self) -> None:
        self.told.append("away")

    def on_end(self) -> None:
        self.told.append("end")


def grant_slate(town: Running, slate: Slate) -> None:
    async def may_publish(request: PublishRequest) -> PublishGrant:
        return PublishGrant(request.key, slate=slate)

    town.door.may_publish = may_publish  # type: ignore[method-assign]


def dark(player: LivePlayer) -> int:
    """How many of the last pictures were the slate's."""
    count = 0
    for number in reversed(player.seen.numbers):
        if number:
            break
        count += 1
    return count


async def on_slate(town: Running, player: LivePlayer, count: int) -> None:
    """Wait until so many pictures in a row have been the slate's, from now on."""
    begin = len(player.seen.numbers)

    def shown() -> bool:
        return any(not any(run) for run in stretches(player.seen.numbers[begin:], count))

    await town.until(lambda: shown() or not player.playing)
    assert shown(), (player.error, player.seen.numbers[-30:])


def stretches(numbers: list[int], count: int) -> Iterator[list[int]]:
    """Every run of so many."""
    return (numbers[at : at + count] for at in range(len(numbers) - count + 1))


def behind_slate(numbers: list[int]) -> list[int]:
    """The pictures between the first slate and whatever is dark after it."""
    slate = next((at for at, run in enumerate(stretches(numbers, 10)) if not any(run)), len(numbers))
    return list(takewhile(bool, dropwhile(lambda number: not number, numbers[slate:])))


def config(root: Path = Path("/nowhere"), grace: float = 0.0, silence: float = 10.0, slate: Slate | None = None) -> Config:
    """``silence``: seconds of it before a slate. Where nobody is silent on purpose, longer than a busy machine makes anybody.
    ``slate``: of all streams."""
    everybody_s = {} if slate is None else {"slate": slate.path or PLAIN, "slate_longest": slate.seconds}
    return Config(
        server=ServerConfig(allow_private_targets=True),
        pull=PullConfig(file_roots=(str(root),), longest_retry=0.3),
        rtmp=RtmpConfig(reconnect_grace=grace, slate_after=silence, **everybody_s),  # type: ignore[arg-type]
    )


def numbers(file: Path) -> list[int]:
    """The pictures in a file that is being written. Not to be asked for all the time."""
    time.sleep(0.3)
    with contextlib.suppress(OSError, av.error.FFmpegError):
        return [number for number, _ in frames(file)]
    return []


def is_bridged(numbers: list[int]) -> bool:
    """Whether two seconds of the slate are there, and the source before and behind it."""
    slate = [at for at, run in enumerate(stretches(numbers, 50)) if not any(run)]
    return bool(slate) and len(set(numbers[: slate[0]])) > 20 and len(set(numbers[slate[-1] + 50 :])) > 20


@pytest.mark.parametrize(("video", "audio"), [("h264", "aac"), ("hevc", "opus")])
async def test_a_push_that_is_lost_is_bridged_and_takes_its_name_back(video: str, audio: str, peers: Peers, clips: Clips) -> None:
    clip = clips.get(video=video, audio=audio, b_frames=0, container="mkv" if audio == "opus" else "flv")
    async with running(config()) as town:
        grant_slate(town, Slate())
        push = peers.pyav_push(clip, url_of(town, "show"))
        await live(town, "show")
        stream = town.engine._hub.find("show")
        assert stream is not None
        watcher = Watcher()
        stream.subscribe(watcher, replay=False)  # type: ignore[arg-type]
        async with watching(url_of(town, "show")) as player:
            await pictures(town, player, 25)
            await town.until(lambda: town.engine._slates.ready("show"))
            push.signal(signal.SIGKILL)
            await on_slate(town, player, 30)
            assert town.engine.snapshot().streams[0].publishing
            peers.pyav_push(clip, url_of(town, "show"))
            await town.notes.wait_for(PublishStarted, 3)
            await pictures(town, player, 30)
            await town.until(lambda: dark(player) == 0)
        seen = player.seen
        assert stream.state is StreamState.LIVE
        assert "away" not in watcher.told
        assert seen.times == sorted(seen.times)
        # To a player it is one stream: the pictures' times go on as if nobody had come or gone.
        assert max(two - one for one, two in pairwise(seen.times)) < 0.2
        assert seen.sizes == [(320, 192)]
        # Sound goes on as well: as much of it as of pictures.
        assert seen.seconds_of_sound > 0.9 * (seen.times[-1] - seen.times[0]) - 0.5
        wires = [event.wire for event in town.notes.of(PublishStarted) if isinstance(event, PublishStarted)]
        assert wires == [Wire.RTMP, Wire.INTERNAL, Wire.RTMP]
        assert not town.notes.of(PublishEnded)


async def test_an_encoder_that_is_back_between_two_keyframes_is_behind_the_slate_until_the_next(
    peers: Peers, clips: Clips
) -> None:
    clip = clips.get(b_frames=0, gop=100, seconds=8.0)
    async with running(config()) as town:
        grant_slate(town, Slate())
        push = peers.ffmpeg_push(clip, url_of(town, "show"))
        await live(town, "show")
        await town.until(lambda: town.engine._slates.ready("show"))
        async with watching(url_of(town, "show")) as player:
            await pictures(town, player, 25)
            push.signal(signal.SIGKILL)
            await on_slate(town, player, 10)
            peers.ffmpeg_push(clip, url_of(town, "show"), loop=False, options=("-c", "copy", "-copyinkf", "-ss", "1"))
            await town.until(lambda: len(behind_slate(player.seen.numbers)) >= 30 or not player.playing)
        # The keyframe, all that follow it, and nothing that leans on what was not sent.
        shown = behind_slate(player.seen.numbers)
        assert len(shown) >= 30
        assert shown == list(range(100, 100 + len(shown)))
        assert max(two - one for one, two in pairwise(player.seen.times)) < 0.2
        assert not town.notes.of(PublishEnded)


async def test_a_player_of_hls_sees_one_stream(peers: Peers, clips: Clips) -> None:
    """FFmpeg's, which takes no notice of new init segments."""
    clip, file = clips.get(b_frames=0), peers.folder / "seen.mkv"
    async with running(config().model_copy(update={"hls": HlsConfig(always=True, segment_duration=1.0)})) as town:
        grant_slate(town, Slate())
        push = peers.ffmpeg_push(clip, url_of(town, "show"))
        await live(town, "show")
        await town.until(lambda: town.engine._slates.ready("show"))
        url = f"http://127.0.0.1:{town.engine.config.http.port}/live/show/index.m3u8"
        live_file = ["-cluster_time_limit", "500", "-flush_packets", "1", str(file)]
        command = [program("ffmpeg"), "-v", "error", "-nostdin", "-i", url, "-c:v", "ffv1", "-an", *live_file]
        async with watching(url_of(town, "show")) as player:
            recorder = peers.start("ffmpeg", command)
            await asyncio.to_thread(wait_until, lambda: len(set(numbers(file))) > 20, "the source")
            push.signal(signal.SIGKILL)
            await on_slate(town, player, 75)
            peers.ffmpeg_push(clip, url_of(town, "show"))
            await asyncio.to_thread(wait_until, lambda: is_bridged(numbers(file)), "the slate between the source", 60)
            recorder.signal(signal.SIGINT)
            await asyncio.to_thread(recorder.wait)
    times = [at for _, at in frames(file)]
    assert all(0 < two - one < 0.2 for one, two in pairwise(times))


async def test_a_pull_whose_process_dies_is_bridged(clips: Clips) -> None:
    file = clips.get(seconds=1.0, container="mp4")
    async with pulling(file.parent, longest_retry=3.0) as town:
        source = PullSource(InputType.FILE, str(file), loop=True)
        session = town.engine.start_pull(source, PublishGrant("show", slate=Slate()))
        await live(town, "show")
        async with watching(url_of(town, "show")) as player:
            await pictures(town, player, 25)
            await town.until(lambda: town.engine._slates.ready("show"))
            for child in workers():
                town.engine._pulls._pulls[session]._worker.kill()  # type: ignore[union-attr]
                assert child
            await on_slate(town, player, 5)
            await town.until(lambda: dark(player) == 0)
            await pictures(town, player, 20)
        assert player.seen.times == sorted(player.seen.times)
        assert town.engine.kick(session)
        await town.notes.wait_for(PublishEnded)
        assert town.names() == set()


async def test_a_pull_that_falls_silent_is_bridged_before_it_is_given_up() -> None:
    async with running(config(silence=1.0)) as town, town.client("source") as client:
        await (await client.publish()).send(*GOP)
        source = PullSource(InputType.RTMP, url_of(town, "source"))
        town.engine.start_pull(source, PublishGrant("show", slate=Slate()))
        await town.notes.wait_for(PublishStarted, 3)
        wires = [event.wire for event in town.notes.of(PublishStarted) if isinstance(event, PublishStarted)]
        assert wires == [Wire.RTMP, Wire.PULL, Wire.INTERNAL]
        # Nothing that refers to pictures before the silence takes the name back, a keyframe does.
        await client.send(picture(3), picture(4), picture(5, keyframe=True))
        last = await town.notes.wait_for(PublishStarted, 4)
        assert isinstance(last, PublishStarted)
        assert last.wire is Wire.PULL
        assert town.engine.snapshot().pulls[0].attempts == 1


async def test_a_push_whose_line_is_dead_is_bridged_and_goes_on_when_it_is_not(peers: Peers, clips: Clips) -> None:
    """No end of the connection is heard, as with a cable that is pulled."""
    async with running(config(silence=2.0)) as town:
        grant_slate(town, Slate())
        push = peers.ffmpeg_push(clips.get(b_frames=0), url_of(town, "show"))
        await live(town, "show")
        async with watching(url_of(town, "show")) as player:
            await pictures(town, player, 25)
            await town.until(lambda: town.engine._slates.ready("show"))
            push.signal(signal.SIGSTOP)
            began = time.monotonic()
            try:
                await on_slate(town, player, 30)
                stopped = time.monotonic() - began
                assert sorted(session.publishing for session in town.engine.snapshot().sessions) == [False, True]
                assert town.engine.snapshot().streams[0].players == {Wire.RTMP: 1}
            finally:
                push.signal(signal.SIGCONT)
            await town.notes.wait_for(PublishStarted, 3)
            await pictures(town, player, 60)
            await town.until(lambda: dark(player) == 0)
        seen = player.seen
        assert seen.times == sorted(seen.times)
        # The clock went on while nothing came, and no further.
        assert 1 < max(two - one for one, two in pairwise(seen.times)) < stopped + 0.5
        wires = [event.wire for event in town.notes.of(PublishStarted) if isinstance(event, PublishStarted)]
        assert wires == [Wire.RTMP, Wire.INTERNAL, Wire.RTMP]
        left = town.notes.of(PublisherLeft)[0]
        assert isinstance(left, PublisherLeft)
        assert left.reason == "the source is silent"
        assert push.running
        assert not town.notes.of(PublishEnded)


async def test_an_encoder_whose_line_was_dead_may_come_back_by_another() -> None:
    """Its first connection seems to be there still."""
    async with running(config(silence=1.0)) as town, town.client("show") as first, town.client("show") as second:
        grant_slate(town, Slate())
        await (await first.publish()).send(*GOP)
        await town.notes.wait_for(PublishStarted, 2)
        await (await second.publish()).send(*GOP)
        await town.notes.wait_for(PublishStarted, 3)
        # The first one hears of it.
        await first.status("NetStream.Publish.Rejected")
        assert [publisher.session.wire for publisher in town.engine._hub.publishers.values()] == [Wire.RTMP]
        await town.until(lambda: len(town.engine.snapshot().sessions) == 1)
        assert not town.notes.of(PublishEnded)


async def test_a_stream_without_a_slate_is_left_alone_when_it_is_silent() -> None:
    async with running(config(silence=1.0)) as town, town.client("show") as client:
        await (await client.publish()).send(*GOP)
        await town.until(lambda: bool(town.engine.snapshot().streams[0].tracks))
        # Who has a slate would be shown it by now.
        await asyncio.sleep(1.5)
        assert town.engine.snapshot().streams[0].publishing
        assert not town.notes.of(PublisherLeft)


@pytest.mark.parametrize("by", ["grant", "configuration"])
async def test_a_slate_lasts_as_long_as_it_may(by: str, peers: Peers, clips: Clips) -> None:
    slate = Slate(seconds=1.0)
    async with running(config(grace=60, slate=None if by == "grant" else slate)) as town:
        if by == "grant":
            grant_slate(town, slate)
        push = peers.ffmpeg_push(clips.get(b_frames=0), url_of(town, "show"))
        await live(town, "show")
        push.signal(signal.SIGKILL)
        ended = await town.notes.wait_for(PublishEnded)
        assert isinstance(ended, PublishEnded)
        assert ended.reason == "the source did not come back"
        assert town.names() == set()


async def test_a_slate_is_sent_away_by_its_session(peers: Peers, clips: Clips) -> None:
    async with running(config(grace=60)) as town:
        grant_slate(town, Slate())
        push = peers.ffmpeg_push(clips.get(b_frames=0), url_of(town, "show"))
        await live(town, "show")
        push.signal(signal.SIGKILL)
        started = await town.notes.wait_for(PublishStarted, 2)
        assert town.engine.kick(started.session_id)
        await town.notes.wait_for(PublishEnded)
        assert not town.engine.kick(started.session_id)


@pytest.mark.parametrize("by", ["grant", "configuration"])
async def test_a_file_is_the_slate_and_goes_round(by: str, peers: Peers, clips: Clips) -> None:
    clip, file = clips.get(b_frames=0), clips.get(seconds=1.0, width=640, height=384, container="mp4")
    slate = Slate(str(file))
    # The configuration's own slate need not be in pull.file_roots.
    async with running(config(file.parent) if by == "grant" else config(slate=slate)) as town:
        if by == "grant":
            grant_slate(town, slate)
        push = peers.ffmpeg_push(clip, url_of(town, "show"))
        await live(town, "show")
        async with watching(url_of(town, "show")) as player:
            await pictures(town, player, 60)
            push.signal(signal.SIGKILL)
            await town.notes.wait_for(PublishStarted, 2)
            await pictures(town, player, 90)
        # Pictures 0 to 24 over and over, at the source's size and rate.
        assert breaks(player.seen.numbers[-60:], 25) == []
        assert player.seen.sizes == [(320, 192)]
        steps = [round(two - one, 2) for one, two in pairwise(player.seen.times[-60:])]
        assert set(steps) == {0.04}
        assert player.seen.seconds_of_sound > 3


@pytest.mark.parametrize("path", ["/etc/passwd", "gone.mp4"])
async def test_a_slate_that_cannot_be_made_leaves_the_grace_period(path: str, peers: Peers, clips: Clips) -> None:
    async with running(config(clips.folder, grace=60)) as town:
        grant_slate(town, Slate(path))
        push = peers.ffmpeg_push(clips.get(b_frames=0), url_of(town, "show"))
        await live(town, "show")
        push.signal(signal.SIGKILL)
        left = await town.notes.wait_for(PublisherLeft, 2)
        assert isinstance(left, PublisherLeft)
        assert left.reason == "the slate could not be made"
        await asyncio.sleep(0)
        assert not town.engine.snapshot().streams[0].publishing
