"""Pulls over TLS: from who can be trusted, and from nobody else."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mediaserver.config import Config, HttpConfig, PullConfig, RtmpConfig, ServerConfig
from mediaserver.events import PullChanged
from mediaserver.ports import InputType, PublishGrant, PullSource
from tests.e2e.authority import Authority
from tests.e2e.players import breaks, complaints
from tests.e2e.test_pull_rtsp import Camera
from tests.e2e.test_pull_sources import PERIOD, PICTURES, SECONDS, live, pictures, pulling, url_of, watching
from tests.media import Clips
from tests.mediaserver.running import Running, running
from tests.peers import Peers, free_port


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@contextlib.asynccontextmanager
async def encrypted(authority: Authority, name: str, **pull: str | bool) -> AsyncIterator[Running]:
    """An engine whose ports speak TLS, as ``name``."""
    certificate, key = await asyncio.to_thread(authority.issue, name)
    config = Config(
        server=ServerConfig(allow_private_targets=True),
        rtmp=RtmpConfig(tls_port=free_port(), tls_cert=certificate, tls_key=key),
        http=HttpConfig(tls_cert=certificate, tls_key=key),
        pull=PullConfig(**{"longest_retry": 0.3, **pull}),  # type: ignore[arg-type]
    )
    async with running(config) as town:
        yield town


def sources(town: Running) -> dict[str, PullSource]:
    http = f"https://127.0.0.1:{town.engine.config.http.port}/live/source"
    return {
        "rtmps": PullSource(InputType.RTMP, f"rtmps://127.0.0.1:{town.engine.config.rtmp.tls_port}/live/source"),
        "flv": PullSource(InputType.HTTP, f"{http}.flv"),
        "hls": PullSource(InputType.HLS, f"{http}/index.m3u8"),
    }


async def test_rtmps_and_https_of_who_is_trusted(authority: Authority, peers: Peers, clips: Clips) -> None:
    clip = clips.get(b_frames=0, seconds=SECONDS)
    async with encrypted(authority, "IP:127.0.0.1", tls_ca=str(authority.certificate)) as town:
        peers.ffmpeg_push(clip, url_of(town, "source"))
        await live(town, "source")
        for name, source in sources(town).items():
            town.engine.start_pull(source, PublishGrant(name))
        for name in sources(town):
            await live(town, name)
            async with watching(url_of(town, name)) as player:
                await pictures(town, player, 40)
            assert not complaints(player.seen, period=PICTURES), name


@pytest.mark.parametrize(("name", "trusted"), [("IP:127.0.0.1", False), ("IP:192.0.2.1", True)])
async def test_nobody_else_is_believed(name: str, trusted: bool, authority: Authority) -> None:
    """One whose authority nobody knows, and one whose certificate is for another address."""
    async with encrypted(authority, name, tls_ca=str(authority.certificate) if trusted else "") as town:
        for count, (to, source) in enumerate(sources(town).items(), 1):
            town.engine.start_pull(source, PublishGrant(to))
            told = await town.notes.wait_for(PullChanged, count)
            assert isinstance(told, PullChanged)
            expected = "127.0.0.1 cannot be reached: its certificate cannot be trusted: "
            assert told.reason.startswith(expected + ("IP address mismatch" if trusted else "unable to get local issuer"))
        assert not any(connection.session.name for connection in town.engine._rtmp.connections)


async def test_whoever_does_not_want_to_know_is_asked_nothing(authority: Authority, peers: Peers, clips: Clips) -> None:
    async with encrypted(authority, "IP:192.0.2.1", tls_verify=False) as town:
        peers.ffmpeg_push(clips.get(b_frames=0), url_of(town, "source"))
        await live(town, "source")
        for name, source in sources(town).items():
            town.engine.start_pull(source, PublishGrant(name))
            await live(town, name)


class SafeCamera(Camera):
    """Speaks TLS."""

    def __init__(self, clip: Path, context: ssl.SSLContext) -> None:
        super().__init__(clip)
        self.server = context.wrap_socket(self.server, server_side=True, do_handshake_on_connect=False)


async def test_a_camera_over_tls(authority: Authority, clips: Clips) -> None:
    clip = clips.get(b_frames=0, bitrate=2_000_000)
    context = await asyncio.to_thread(authority.server, "IP:127.0.0.1")
    with SafeCamera(clip, context) as camera:
        source = PullSource(InputType.RTSP, f"rtsps://127.0.0.1:{camera.port}/stream")
        async with pulling(clip.parent) as town:
            town.engine.start_pull(source, PublishGrant("show"))
            told = await town.notes.wait_for(PullChanged)
            assert isinstance(told, PullChanged)
            assert "its certificate cannot be trusted" in told.reason
            assert camera.asked == []
        async with pulling(clip.parent, tls_ca=str(authority.certificate)) as town:
            town.engine.start_pull(source, PublishGrant("show"))
            await live(town, "show")
            async with watching(url_of(town, "show")) as player:
                await pictures(town, player, 40)
            assert not breaks(player.seen.numbers, PERIOD)
            assert player.seen.seconds_of_sound > 1


@pytest.mark.parametrize(
    ("source_type", "scheme"), [(InputType.RTSP, "rtsps"), (InputType.RTMP, "rtmps"), (InputType.HTTP, "https")]
)
async def test_a_server_without_tls_is_told(source_type: InputType, scheme: str) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)  # who closes before it has read resets the connection
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, pulling(Path("/nowhere")) as town:
        town.engine.start_pull(PullSource(source_type, f"{scheme}://127.0.0.1:{port}/live/a"), PublishGrant("show"))
        told = await town.notes.wait_for(PullChanged)
        assert isinstance(told, PullChanged)
        assert told.reason == "127.0.0.1 cannot be reached: TLS failed: WRONG_VERSION_NUMBER"
