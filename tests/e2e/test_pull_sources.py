"""Pulls through the engine's door, from real servers: what a player decodes of them, and what becomes of lost sources."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from mediaserver.config import Config, PullConfig, RtmpConfig, ServerConfig
from mediaserver.events import PublishEnded, PullChanged
from mediaserver.ports import InputType, PublishGrant, PullSource
from mediaserver.snapshot import PullSnapshot
from tests.e2e.players import LivePlayer, breaks, complaints
from tests.media import Clips
from tests.mediaserver.running import Running, running
from tests.peers import Peers, free_port, wait_until

PERIOD = 100
#: Seconds within which another program's stream is there, and its pictures are, on a busy machine.
PATIENCE = 30.0
#: A clip that does not begin anew within a test, as where it does the steps in time are odd: its length, and its pictures.
SECONDS, PICTURES = 24, 600


@contextlib.asynccontextmanager
async def pulling(root: Path, *, rtmp: RtmpConfig | None = None, **pull: Any) -> AsyncIterator[Running]:
    """An engine that may go anywhere."""
    config = Config(
        server=ServerConfig(allow_private_targets=True),
        pull=PullConfig(file_roots=(str(root),), **pull),
        rtmp=rtmp or RtmpConfig(),
    )
    async with running(config) as town:
        yield town


def url_of(town: Running, name: str) -> str:
    return f"rtmp://127.0.0.1:{town.engine.config.rtmp.port}/live/{name}"


def pull_of(town: Running) -> PullSnapshot:
    (pull,) = town.engine.snapshot().pulls
    return pull


@contextlib.asynccontextmanager
async def watching(url: str) -> AsyncIterator[LivePlayer]:
    """A player of ``url``, in a thread: the server is on this loop, which must not wait for it."""
    player = LivePlayer(url)
    player.__enter__()
    try:
        yield player
    finally:
        await asyncio.to_thread(player.__exit__)


async def live(town: Running, name: str) -> None:
    """Wait until ``name`` has what a player needs."""
    await town.until(lambda: any(stream.name == name and stream.tracks for stream in town.engine.snapshot().streams), PATIENCE)


async def pictures(town: Running, player: LivePlayer, count: int) -> None:
    wanted = len(player.seen.numbers) + count
    await town.until(lambda: len(player.seen.numbers) >= wanted or not player.playing, PATIENCE)
    assert len(player.seen.numbers) >= wanted, player.error


async def test_a_looped_file_is_one_unbroken_stream(clips: Clips) -> None:
    file = clips.get(seconds=1.0, container="mkv")
    async with pulling(file.parent) as town:
        town.engine.start_pull(PullSource(InputType.FILE, str(file), loop=True), PublishGrant("show"))
        await live(town, "show")
        async with watching(url_of(town, "show")) as player:
            await pictures(town, player, 60)
        seen = player.seen
        # B-pictures in front of the second round's first keyframe refer to nothing that is missing: every one is there.
        assert not breaks(seen.numbers, 25)
        assert not [
            step for step in (b - a for a, b in zip(seen.times, seen.times[1:], strict=False)) if abs(step - 0.04) > 0.003
        ]
        assert town.engine.snapshot().streams[0].discontinuities == 0


async def test_the_end_of_a_file_that_is_not_looped_is_the_end_of_the_stream(clips: Clips) -> None:
    file = clips.get(seconds=1.0, container="mp4")
    async with pulling(file.parent) as town:
        town.engine.start_pull(PullSource(InputType.FILE, str(file)), PublishGrant("show"))
        ended = await town.notes.wait_for(PublishEnded)
        assert isinstance(ended, PublishEnded)
        assert ended.reason == "the file has ended"
        assert town.engine.snapshot().pulls == ()
        assert [event.connected for event in town.notes.of(PullChanged) if isinstance(event, PullChanged)] == [True, False]


async def test_a_folder_is_relative_to_the_servers_own(clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever its workers are."""
    file = clips.get(seconds=1.0, container="mp4")
    monkeypatch.chdir(file.parent.parent)
    async with pulling(Path(file.parent.name)) as town:
        town.engine.start_pull(PullSource(InputType.FILE, file.name, loop=True), PublishGrant("show"))
        await live(town, "show")


async def test_http_flv_and_rtmp_of_a_server_like_this_one(peers: Peers, clips: Clips) -> None:
    clip = clips.get(b_frames=0, seconds=SECONDS)
    async with pulling(clip.parent) as town:
        peers.ffmpeg_push(clip, url_of(town, "source"))
        await live(town, "source")
        http = f"http://127.0.0.1:{town.engine.config.http.port}/live/source.flv"
        town.engine.start_pull(PullSource(InputType.HTTP, http), PublishGrant("over-http"))
        town.engine.start_pull(PullSource(InputType.RTMP, url_of(town, "source")), PublishGrant("over-rtmp"))
        for name in ("over-http", "over-rtmp"):
            await live(town, name)
            async with watching(url_of(town, name)) as player:
                await pictures(town, player, 40)
            assert not complaints(player.seen, period=PICTURES), name


async def test_rtmp_of_nginx_comes_back_after_it_was_away(peers: Peers, clips: Clips) -> None:
    _, port = peers.nginx_rtmp()
    # Not lost where the clip begins anew, which would be no break; and there still, however long it takes to be back.
    clip = clips.get(b_frames=0, seconds=SECONDS)
    source = f"rtmp://127.0.0.1:{port}/live/cam"
    push = peers.ffmpeg_push(clip, source)
    async with pulling(clip.parent, rtmp=RtmpConfig(reconnect_grace=60.0), longest_retry=1.0) as town:
        town.engine.start_pull(PullSource(InputType.RTMP, source), PublishGrant("show"))
        await live(town, "show")
        async with watching(url_of(town, "show")) as player:
            await pictures(town, player, 30)
            push.stop()
            await town.until(lambda: not pull_of(town).connected)
            peers.ffmpeg_push(clip, source)
            await town.until(lambda: pull_of(town).connected)
            await pictures(town, player, 50)
        assert len(breaks(player.seen.numbers, PICTURES)) == 1
        assert player.seen.times == sorted(player.seen.times)
        assert pull_of(town).attempts > 1
        assert not town.notes.of(PublishEnded)


@pytest.mark.parametrize("codecs", [("copy", "copy"), ("mjpeg", "pcm_s16le")])
async def test_http_of_ffmpeg(codecs: tuple[str, str], peers: Peers, clips: Clips) -> None:
    """As it is, and with codecs that FLV cannot carry."""
    clip, port = clips.get(b_frames=0), free_port()
    video, audio = codecs
    container = "matroska" if video == "mjpeg" else "mpegts"
    options = ["-c:v", video, "-q:v", "2", "-bf", "0", "-c:a", audio, "-f", container, "-listen", "1"]
    peers.ffmpeg_play(clip, *options, f"http://127.0.0.1:{port}/a")
    async with pulling(clip.parent, longest_retry=0.5) as town:
        source = PullSource(InputType.HTTP, f"http://127.0.0.1:{port}/a")
        town.engine.start_pull(source, PublishGrant("show"))
        await live(town, "show")
        async with watching(url_of(town, "show")) as player:
            await pictures(town, player, 50)
        assert not breaks(player.seen.numbers, PERIOD)
        assert player.seen.seconds_of_sound > 1
        assert sorted(player.seen.codecs) == ["aac", "h264"]


async def test_a_worker_that_is_killed_is_replaced_and_players_go_on(clips: Clips) -> None:
    file = clips.get(seconds=1.0, container="mp4")
    async with pulling(file.parent, rtmp=RtmpConfig(reconnect_grace=60.0), longest_retry=0.2) as town:
        town.engine.start_pull(PullSource(InputType.FILE, str(file), loop=True), PublishGrant("show"))
        await live(town, "show")
        async with watching(url_of(town, "show")) as player:
            await pictures(town, player, 20)
            (child,) = workers()
            os.kill(child, signal.SIGKILL)
            await town.notes.wait_for(PullChanged, 3)
            await pictures(town, player, 30)
        lost = town.notes.of(PullChanged)[1]
        assert isinstance(lost, PullChanged)
        assert not lost.connected
        assert "signal 9" in lost.reason
        assert player.seen.times == sorted(player.seen.times)
    wait_until(lambda: not workers(), "the worker to be gone")


def workers() -> list[int]:
    """The processes of pulls that this process has started."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if "mediaserver.ingest.pull_worker" in child.cmdline():
                found.append(child.pid)
    return found
