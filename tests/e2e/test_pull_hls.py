"""HLS pulled from real servers, and from playlists that mean no good."""

import asyncio
import contextlib
import functools
import http.server
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mediaserver.config import Config, RecordingConfig, ServerConfig
from mediaserver.events import PublishEnded, PullChanged, RecordingFinished
from mediaserver.ports import InputType, PublishGrant, PullSource, RecordingOrder
from tests.e2e.players import breaks, complaints, watch
from tests.e2e.test_pull_sources import PATIENCE, PICTURES, SECONDS, live, pictures, pulling, url_of, watching
from tests.media import Clips
from tests.mediaserver.running import running
from tests.peers import Peers, program, wait_until

#: What a request for a path is answered with; None: not found.
Answer = Callable[[str], bytes | None]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers from ``answer``, and counts."""

    answer: Answer
    asked: list[str]

    def __init__(self, *args: object, answer: Answer, asked: list[str]) -> None:
        self.answer, self.asked = answer, asked
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        body = self.answer(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body or b"")

    def log_message(self, *args: object) -> None:
        """Nothing: what is asked for is in ``asked``."""


@contextlib.contextmanager
def web(answer: Answer, host: str = "127.0.0.1") -> Iterator[tuple[str, list[str]]]:
    """An HTTP server's address, and the paths that were asked of it."""
    asked: list[str] = []
    with http.server.ThreadingHTTPServer((host, 0), functools.partial(Handler, answer=answer, asked=asked)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://{host}:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def folder(path: Path) -> Answer:
    """Serves the files in ``path``."""

    def answer(name: str) -> bytes | None:
        file = path / name.lstrip("/")
        return file.read_bytes() if file.is_file() else None

    return answer


@pytest.mark.parametrize("segment_type", ["mpegts", "fmp4"])
async def test_a_live_playlist_of_ffmpeg(segment_type: str, peers: Peers, clips: Clips, tmp_path: Path) -> None:
    clip = clips.get(b_frames=0, seconds=SECONDS)
    options = ["-f", "hls", "-hls_time", "1", "-hls_list_size", "5", "-hls_flags", "delete_segments+temp_file"]
    options += ["-hls_segment_type", segment_type, str(tmp_path / "index.m3u8")]
    peers.ffmpeg_play(clip, "-c", "copy", *options)
    with web(folder(tmp_path)) as (url, _):
        await asyncio.to_thread(wait_until, (tmp_path / "index.m3u8").exists, "the playlist")
        async with pulling(clip.parent) as town:
            town.engine.start_pull(PullSource(InputType.HLS, f"{url}/index.m3u8"), PublishGrant("show"))
            await live(town, "show")
            async with watching(url_of(town, "show")) as player:
                await pictures(town, player, 80)
            assert not complaints(player.seen, period=PICTURES)
            assert town.engine.snapshot().streams[0].discontinuities == 0


async def test_fragments_that_give_all_pictures_and_then_all_sound_are_recorded_whole(clips: Clips, tmp_path: Path) -> None:
    """In one file, with its sound from the beginning, and as long as the source."""
    clip = clips.get(b_frames=0, seconds=6.0)
    options = ["-f", "hls", "-hls_time", "3", "-hls_playlist_type", "vod", "-hls_segment_type", "fmp4"]
    command = [program("ffmpeg"), "-v", "error", "-i", str(clip), "-c", "copy", *options, str(tmp_path / "index.m3u8")]
    await asyncio.to_thread(subprocess.run, command, check=True)
    config = Config(
        server=ServerConfig(allow_private_targets=True), recording=RecordingConfig(directory=str(tmp_path), min_free_bytes=0)
    )
    with web(folder(tmp_path)) as (url, _):
        async with running(config) as town:
            grant = PublishGrant("show", recordings=(RecordingOrder("all"),))
            town.engine.start_pull(PullSource(InputType.HLS, f"{url}/index.m3u8"), grant)
            finished = await town.notes.wait_for(RecordingFinished)
            assert isinstance(finished, RecordingFinished)
            await town.notes.wait_for(PublishEnded)
            assert len(town.notes.of(RecordingFinished)) == 1
    seen, source = watch(Path(finished.path)), watch(clip)
    assert seen.numbers == list(range(150))
    assert complaints(seen, period=150) == []
    assert seen.seconds_of_sound == pytest.approx(source.seconds_of_sound, abs=0.1)
    assert seen.sound[0][0] - seen.times[0] == pytest.approx(source.sound[0][0] - source.times[0], abs=0.03)
    assert finished.seconds == pytest.approx(6.0, abs=0.1)


@pytest.mark.parametrize("told", [True, False])
async def test_an_encrypted_playlist_of_ffmpeg(told: bool, peers: Peers, clips: Clips, tmp_path: Path) -> None:
    """AES-128, whose key is one more resource. A vector that is not told is the number of the segment, which ffmpeg takes too."""
    clip = clips.get(b_frames=0, seconds=SECONDS)
    (tmp_path / "secret.key").write_bytes(bytes(range(16)))
    vector = "00112233445566778899aabbccddeeff" if told else ""
    (tmp_path / "key.txt").write_text(f"secret.key?token=canary\n{tmp_path}/secret.key\n{vector}\n")
    options = ["-f", "hls", "-hls_time", "1", "-hls_list_size", "5", "-hls_flags", "delete_segments+temp_file"]
    options += ["-start_number", "70000", "-hls_key_info_file", str(tmp_path / "key.txt"), str(tmp_path / "index.m3u8")]
    peers.ffmpeg_play(clip, "-c", "copy", *options)
    files = folder(tmp_path)

    def serve(path: str) -> bytes | None:
        body = files(path.partition("?")[0])
        return re.sub(rb",IV=0x\w+", b"", body) if body and path == "/index.m3u8" and not told else body

    with web(serve) as (url, asked):
        await asyncio.to_thread(wait_until, (tmp_path / "index.m3u8").exists, "the playlist")
        assert (b"IV=0x" in (serve("/index.m3u8") or b"")) == told
        async with pulling(clip.parent) as town:
            town.engine.start_pull(PullSource(InputType.HLS, f"{url}/index.m3u8"), PublishGrant("show"))
            await live(town, "show")
            async with watching(url_of(town, "show")) as player:
                await pictures(town, player, 80)
            assert not complaints(player.seen, period=PICTURES)
            assert "canary" not in str(town.notes.events) + str(town.engine.snapshot())
        assert asked.count("/secret.key?token=canary") == 1


async def test_low_latency_hls_of_a_server_like_this_one(peers: Peers, clips: Clips) -> None:
    """Pictures and sound are in playlists of their own there."""
    clip = clips.get(b_frames=0, seconds=SECONDS)
    async with pulling(clip.parent) as town:
        peers.ffmpeg_push(clip, url_of(town, "source"))
        await live(town, "source")
        url = f"http://127.0.0.1:{town.engine.config.http.port}/live/source/index.m3u8"
        town.engine.start_pull(PullSource(InputType.HLS, url), PublishGrant("show"))
        await live(town, "show")
        async with watching(url_of(town, "show")) as player:
            await pictures(town, player, 60)
        assert not complaints(player.seen, period=PICTURES)


async def test_a_complete_playlist_is_played_to_its_end_once(clips: Clips) -> None:
    long, short = (clips.get(seconds=seconds, container="ts", b_frames=0).read_bytes() for seconds in (3.0, 1.0))
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\na.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:1,\nb.ts\n#EXT-X-ENDLIST\n"
    watched = threading.Event()

    def serve(path: str) -> bytes:
        if path == "/b.ts":
            watched.wait(PATIENCE)
        return {"/index.m3u8": playlist, "/a.ts": long, "/b.ts": short}[path]

    with web(serve) as (url, asked):
        async with pulling(Path("/nowhere"), timeout=PATIENCE) as town:
            town.engine.start_pull(PullSource(InputType.HLS, f"{url}/index.m3u8"), PublishGrant("show"))
            await live(town, "show")
            async with watching(url_of(town, "show")) as player:
                await pictures(town, player, 1)
                watched.set()  # the rest comes to who is there
                ended = await town.notes.wait_for(PublishEnded)
                await town.until(lambda: not player.playing)
            assert isinstance(ended, PublishEnded)
            assert ended.reason == "the playlist has ended"
            assert breaks(player.seen.numbers, 75) == []
            assert player.seen.numbers[-1] == 24
            assert asked == ["/index.m3u8", "/a.ts", "/b.ts"]


async def test_a_playlist_that_refers_to_itself_costs_a_few_requests_and_says_why() -> None:
    """libavformat's own HLS asks for it over and over."""
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nindex.m3u8\n"
    with web(lambda _: playlist) as (url, asked):
        async with pulling(Path("/nowhere")) as town:
            town.engine.start_pull(PullSource(InputType.HLS, f"{url}/index.m3u8"), PublishGrant("show"))
            told = await town.notes.wait_for(PullChanged)
            assert isinstance(told, PullChanged)
            assert "refers to playlists" in told.reason
            assert town.engine.snapshot().pulls == (), "nothing to try again"
            assert len(asked) == 2
