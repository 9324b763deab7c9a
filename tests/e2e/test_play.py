"""Real encoders push, real players play: every picture arrives once, in order and on time, and so does the sound."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from protocols.flv import FlvReader
from protocols.rtmp.message import DATA
from tests.e2e.players import Seen, complaints, seconds, watch
from tests.e2e.viewers import watch_dash
from tests.media import Clips
from tests.peers import Peers, Server, free_port, running_server, wait_until

#: Seconds that every player is watched.
LENGTH = 2.0
#: A clip that does not begin anew while somebody is late: where it does the steps in time are odd.
SECONDS, PERIOD = 24, 600


@dataclass(frozen=True)
class Town:
    """A server that many pushes share, and its RTMPS port."""

    server: Server
    tls_port: int


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, certificate: tuple[str, str]) -> Iterator[Town]:
    tls_port = free_port()
    tables: dict[str, dict[str, object]] = {
        # Segments of a second: a player of HLS need not wait long.
        "hls": {"segment_duration": 1.0, "always": True},
        "rtmp": {"tls_port": tls_port, "tls_cert": certificate[0], "tls_key": certificate[1]},
    }
    with running_server(tmp_path_factory.mktemp("town"), tables) as server:
        yield Town(server, tls_port)


@dataclass(frozen=True)
class Visit:
    """One player's look at one stream."""

    town: Town
    name: str
    peers: Peers
    folder: Path
    pictures: bool
    sound: bool

    def enough(self) -> Callable[[Seen], bool]:
        return seconds(LENGTH + 0.3, pictures=self.pictures, sound=self.sound)

    def ffmpeg(self, url: str, word: str, *options: str) -> Seen:
        file = self.folder / f"ffmpeg-{word}.mkv"
        recorder = self.peers.ffmpeg_record(url, file, seconds=LENGTH + 0.5, options=options)
        assert recorder.wait() == 0, recorder.log()
        return watch(file)

    def pyav(self, url: str, **options: Any) -> Seen:
        return watch(url, enough=self.enough(), **options)


def rtmp_ffmpeg(visit: Visit) -> Seen:
    return visit.ffmpeg(visit.town.server.rtmp(visit.name), "rtmp")


def rtmp_pyav(visit: Visit) -> Seen:
    return visit.pyav(visit.town.server.rtmp(visit.name))


def rtmp_rtmpdump(visit: Visit) -> Seen:
    file = visit.folder / "rtmpdump.flv"
    # Its --stop asks the server to stop, which a live stream does not.
    dump = visit.peers.rtmpdump(visit.town.server.rtmp(visit.name), file)
    wait_until(lambda: file.exists() and length_of_flv(file) > LENGTH + 0.5, f"rtmpdump to receive: {dump.log()}")
    dump.stop()
    return watch(file)


def rtmps_ffmpeg(visit: Visit) -> Seen:
    return visit.ffmpeg(f"rtmps://127.0.0.1:{visit.town.tls_port}/live/{visit.name}", "rtmps")


def flv_ffmpeg(visit: Visit) -> Seen:
    return visit.ffmpeg(visit.town.server.url(f"/live/{visit.name}.flv"), "flv")


def flv_pyav(visit: Visit) -> Seen:
    return visit.pyav(visit.town.server.url(f"/live/{visit.name}.flv"))


def hls_ffmpeg(visit: Visit) -> Seen:
    return visit.ffmpeg(visit.town.server.url(f"/live/{visit.name}/index.m3u8"), "hls")


def hls_pyav(visit: Visit) -> Seen:
    return visit.pyav(visit.town.server.url(f"/live/{visit.name}/index.m3u8"))


def dash(visit: Visit) -> Seen:
    # PyAV is built without XML. dash.js plays it in the browser's tests.
    return watch_dash(visit.town.server, visit.name, segments=3)


def length_of_flv(file: Path) -> float:
    """Seconds of media in a file that is being written."""
    times = media_times(FlvReader().receive_data(file.read_bytes()))
    return (times[-1] - times[0]) / 1000 if times else 0.0


def media_times(tags: Iterable[tuple[int, int, bytes]]) -> list[int]:
    """Milliseconds, of what is heard and seen: the description's are 0, whenever somebody joins."""
    return [timestamp for type_id, timestamp, body in tags if type_id != DATA and len(body) > 64]


Player = Callable[[Visit], Seen]
#: Debian's ffmpeg and rtmpdump know FLV as Adobe left it; PyAV's FFmpeg knows Enhanced RTMP.
ENHANCED: tuple[Player, ...] = (rtmp_pyav, flv_pyav, hls_ffmpeg, hls_pyav, dash)
LEGACY: tuple[Player, ...] = (rtmp_ffmpeg, rtmp_rtmpdump, rtmps_ffmpeg, flv_ffmpeg)


@dataclass(frozen=True)
class Push:
    """What is pushed and by whom, and who plays it."""

    encoder: str
    video: str
    audio: str
    players: tuple[Player, ...] = ENHANCED
    clip: dict[str, Any] = field(default_factory=dict)

    @property
    def word(self) -> str:
        return "-".join(filter(None, (self.encoder, self.video, self.audio)))


PUSHES = (
    Push("ffmpeg", "h264", "aac", ENHANCED + LEGACY),
    Push("pyav", "h264", "aac", (rtmp_ffmpeg, hls_pyav)),
    Push("rtmps", "h264", "aac", (rtmp_ffmpeg, rtmps_ffmpeg, hls_pyav)),
    Push("pyav", "hevc", "aac", clip={"container": "mkv"}),
    Push("pyav", "av1", "opus", clip={"container": "mkv"}),
    Push("ffmpeg", "", "aac", (rtmp_pyav, rtmp_ffmpeg, flv_ffmpeg, hls_pyav, dash)),
    Push("ffmpeg", "h264", "", (rtmp_pyav, rtmp_ffmpeg, flv_ffmpeg, hls_pyav, dash)),
)


def begin(push: Push, town: Town, peers: Peers, file: Path) -> None:
    if push.encoder == "pyav":
        peers.pyav_push(file, town.server.rtmp(push.word))
    elif push.encoder == "rtmps":
        peers.ffmpeg_push(file, f"rtmps://127.0.0.1:{town.tls_port}/live/{push.word}")
    else:
        peers.ffmpeg_push(file, town.server.rtmp(push.word))
    town.server.wait_live(push.word)


@pytest.mark.parametrize("push", PUSHES, ids=lambda push: push.word)
def test_every_picture_arrives_once_and_in_time(push: Push, town: Town, peers: Peers, clips: Clips, tmp_path: Path) -> None:
    begin(push, town, peers, clips.get(video=push.video, audio=push.audio, seconds=SECONDS, **push.clip))
    visit = Visit(town, push.word, peers, tmp_path, bool(push.video), bool(push.audio))
    with ThreadPoolExecutor(len(push.players)) as pool:
        visits = {player.__name__: pool.submit(player, visit) for player in push.players}
    period = PERIOD if push.video else 0
    wrong = {
        player: complaints(seen.result().head(LENGTH), period=period, sound=bool(push.audio), least=1.9)
        for player, seen in visits.items()
    }
    assert not {player: found for player, found in wrong.items() if found}


async def test_websocket_flv_carries_the_same(town: Town, peers: Peers, clips: Clips, tmp_path: Path) -> None:
    # Of a name that no other test has pushed to: its end would be taken for this one's.
    peers.ffmpeg_push(clips.get(seconds=SECONDS), town.server.rtmp("websocket"))
    town.server.wait_live("websocket")
    reader, data, times = FlvReader(), bytearray(), list[int]()
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(town.server.url("/live/websocket.flv", "ws")) as websocket,
    ):
        async for message in websocket:
            assert message.type is aiohttp.WSMsgType.BINARY
            data += message.data
            times += media_times(reader.receive_data(message.data))
            if times and times[-1] - times[0] > (LENGTH + 0.5) * 1000:
                break
    file = tmp_path / "websocket.flv"
    file.write_bytes(data)
    assert not complaints(watch(file).head(LENGTH), period=PERIOD, least=1.9)
