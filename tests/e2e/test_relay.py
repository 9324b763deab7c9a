"""A stream goes on to nginx-rtmp, which plays it back: decoded pictures on both sides of every failure."""

import asyncio

from mediaserver.config import Config, RelayConfig, ServerConfig
from mediaserver.ports import RelayTarget
from mediaserver.snapshot import RelaySnapshot, RelayState
from tests.e2e.players import LivePlayer, breaks, complaints
from tests.mediaserver.running import Running, running
from tests.media import Clips
from tests.peers import Peers

PERIOD = 100


def config(**relay: float) -> Config:
    return Config(server=ServerConfig(allow_private_targets=True), relay=RelayConfig(**relay))


def relay_of(town: Running, relay_id: str = "one") -> RelaySnapshot:
    return next(relay for relay in town.engine.snapshot().relays if relay.relay_id == relay_id)


async def test_a_stream_is_played_at_its_target(peers: Peers, clips: Clips) -> None:
    _, port = await asyncio.to_thread(peers.nginx_rtmp)
    async with running(config()) as town:
        peers.ffmpeg_push(clips.get(b_frames=0), f"rtmp://127.0.0.1:{town.engine.config.rtmp.port}/live/show")
        town.engine.start_relay("show", RelayTarget("one", f"rtmp://127.0.0.1:{port}/live/there"))
        assert relay_of(town).state is RelayState.WAITING
        await town.until(lambda: relay_of(town).state is RelayState.LIVE)
        with LivePlayer(f"rtmp://127.0.0.1:{port}/live/there") as player:
            await asyncio.to_thread(player.wait_for, 60)
        assert not complaints(player.seen, period=PERIOD)
        print(relay_of(town), town.notes.events, breaks)
