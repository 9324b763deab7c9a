"""Targets of other kinds: nginx-rtmp that says no, and a second server of our own that takes whatever Enhanced RTMP knows."""

import asyncio
from pathlib import Path

import pytest

from mediaserver.config import Config, RelayConfig, ServerConfig
from mediaserver.ports import RelayTarget
from mediaserver.relay import retry
from mediaserver.snapshot import RelaySnapshot, RelayState
from tests.conftest import Serve
from tests.e2e.players import complaints
from tests.e2e.test_relay import at_work
from tests.media import Clips
from tests.mediaserver.running import Running, running
from tests.peers import Peers, answers, free_port, wait_until

#: A clip that does not begin anew within a test, as where it does the steps in time are odd: its length, and its pictures.
SECONDS, PERIOD = 24, 600


def config(**relay: float | str) -> Config:
    return Config(server=ServerConfig(allow_private_targets=True), relay=RelayConfig(first_retry=0.2, longest_retry=1.0, **relay))


def relay_of(town: Running) -> RelaySnapshot:
    return town.engine.snapshot().relays[0]


async def until_state(town: Running, state: RelayState) -> str:
    """Wait for it; the reason."""
    try:
        async with asyncio.timeout(30):
            while relay_of(town).state is not state:  # noqa: ASYNC110 - states announce nothing but to the sink
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"never {state}: {town.engine.snapshot().relays}; {town.notes.events}") from None
    return relay_of(town).reason


def push_url(town: Running, name: str = "show") -> str:
    return f"rtmp://127.0.0.1:{town.engine.config.rtmp.port}/live/{name}"


async def test_nginx_says_that_somebody_publishes_there_already(
    peers: Peers, clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That may be an encoder's lost connection: it is waited for, and not for ever."""
    _, port = await asyncio.to_thread(peers.nginx_rtmp)
    there = f"rtmp://127.0.0.1:{port}/live/there"
    clip = await asyncio.to_thread(clips.get, b_frames=0)
    other = peers.ffmpeg_push(clip, there)
    async with at_work(there) as player:
        await asyncio.to_thread(player.wait_for, 5)
        async with running(config()) as town:
            peers.ffmpeg_push(clip, push_url(town))
            town.engine.start_relay("show", RelayTarget("one", there))
            refusal = "the target refused the key: Already publishing (NetStream.Publish.BadName)"
            assert (await until_state(town, RelayState.BACKING_OFF)).startswith(f"{refusal}; next try in ")
            await asyncio.to_thread(other.stop)
            await until_state(town, RelayState.LIVE)
            assert town.engine.stop_relay("show", "one")
            await town.until(lambda: not town.engine.snapshot().relays)
            await asyncio.to_thread(peers.ffmpeg_push, clip, there)
            async with at_work(there) as again:
                await asyncio.to_thread(again.wait_for, 5)
            monkeypatch.setattr(retry, "GHOST", 0.5)
            town.engine.start_relay("show", RelayTarget("one", there))
            assert await until_state(town, RelayState.FAILED) == f"{refusal}, for 0.5 s"
            assert relay_of(town).attempts > 1


async def test_nginx_closes_on_a_publisher_that_it_does_not_want(peers: Peers, clips: Clips) -> None:
    nginx, port = await asyncio.to_thread(peers.nginx_rtmp)
    await asyncio.to_thread(nginx.stop)
    file = peers.folder / "nginx-0" / "nginx.conf"
    file.write_text(file.read_text().replace("live on;", "live on; deny publish all;"))
    peers.start("nginx", nginx.popen.args)  # type: ignore[arg-type]
    await asyncio.to_thread(wait_until, lambda: answers(port), "nginx")
    async with running(config()) as town:
        peers.ffmpeg_push(await asyncio.to_thread(clips.get, b_frames=0), push_url(town))
        town.engine.start_relay("show", RelayTarget("one", f"rtmp://127.0.0.1:{port}/live/there"))
        assert "right after it had taken the key, 5 times in a row" in await until_state(town, RelayState.FAILED)
        assert relay_of(town).attempts == 5


async def test_hevc_and_opus_go_by_rtmps_to_a_server_that_takes_them_and_not_to_nginx(
    serve: Serve, peers: Peers, clips: Clips, certificate: tuple[str, str], tmp_path: Path
) -> None:
    tls_port = free_port()
    other = await asyncio.to_thread(
        lambda: serve(rtmp={"tls_port": tls_port, "tls_cert": certificate[0], "tls_key": certificate[1]})
    )
    _, port = await asyncio.to_thread(peers.nginx_rtmp)
    clip = await asyncio.to_thread(lambda: clips.get(video="hevc", audio="opus", b_frames=0, seconds=SECONDS, container="mkv"))
    async with running(config(tls_ca=certificate[0])) as town:
        peers.pyav_push(clip, push_url(town))
        town.engine.start_relay("show", RelayTarget("one", f"rtmps://127.0.0.1:{tls_port}/live/there"))
        town.engine.start_relay("show", RelayTarget("two", f"rtmp://127.0.0.1:{port}/live/there"))
        await until_state(town, RelayState.LIVE)
        await asyncio.to_thread(other.wait_live, "there")
        async with at_work(other.rtmp("there")) as player:
            await asyncio.to_thread(player.wait_for, 50)
        assert set(player.seen.codecs) == {"hevc", "opus"}
        assert not complaints(player.seen, period=PERIOD)
        await town.until(lambda: town.engine.snapshot().relays[1].state is RelayState.FAILED)
        refused = town.engine.snapshot().relays[1]
        assert "did not say that it takes more than H.264, AAC and MP3" in refused.reason
