"""What changes, jumps or wraps in the middle of a stream: players see every picture all the same."""

import contextlib
import io
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, takewhile

import pytest

from protocols.rtmp.message import AUDIO, VIDEO
from tests.conftest import Serve
from tests.e2e.players import LivePlayer, Seen, watch
from tests.e2e.rtmp import RtmpClient, Tag, tags_of
from tests.e2e.viewers import HlsViewer
from tests.media import Clips
from tests.peers import Peers, Server, program, wait_until

HOUR = 3_600_000
WRAP = 1 << 32


class FfmpegPlayer:
    """ffmpeg decodes what it plays and writes every picture, in the size of the first, for the test to read at the end.

    FFmpeg 8 makes a new stream of a change of parameters, which PyAV does not expect.
    """

    def __init__(self, url: str, peers: Peers) -> None:
        self.seen = Seen()
        self._file = peers.folder / "decoded.mkv"
        command = [program("ffmpeg"), "-nostdin", "-i", url, "-map", "0:v", "-vsync", "passthrough", "-c:v", "ffv1"]
        self._process = peers.start("ffmpeg", [*command, str(self._file)])

    def __enter__(self) -> "FfmpegPlayer":
        return self

    def __exit__(self, *exc_details: object) -> None:
        self._process.stop()

    def wait_end(self) -> None:
        assert self._process.wait() == 0, self._process.log()
        self.seen = watch(self._file)


Player = LivePlayer | FfmpegPlayer
Scene = tuple[RtmpClient, Player, HlsViewer]


@contextlib.contextmanager
def watched(server: Server, tags: list[Tag], play: Callable[[str], Player] = LivePlayer) -> Iterator[Scene]:
    """A stream that begins with ``tags``, an RTMP player who has seen them all, and a viewer of HLS; at the end it is over."""
    with RtmpClient(server.rtmp("show")).publish() as publisher, play(server.rtmp("show")) as player:
        viewer = HlsViewer(server, "show")
        wait_until(lambda: server.live()["show"]["viewers"], "the player to join")
        # The first GOP alone, because a player joins at the last keyframe of what has come together.
        first = list(takewhile(lambda tag: tag[1] < tags[0][1] + 960, tags))
        publisher.send(first)
        wanted = sum(len(body) for _, _, body in first)
        wait_until(lambda: bytes_out(server) > wanted, "the player to be served")
        viewer.poll()
        publisher.send(tags[len(first) :])
        yield publisher, player, viewer
        publisher.goodbye()
        player.wait_end()
        viewer.follow_to_end()


def bytes_out(server: Server) -> float:
    """What has been sent to players."""
    line = next(
        line for line in server.get("/metrics")[2].decode().splitlines() if line.startswith("mediaserver_bytes_out_total")
    )
    return float(line.split()[1])


#: The stream ends with its publisher; segments end with every keyframe.
ONCE = {"rtmp": {"reconnect_grace": 0}, "hls": {"segment_duration": 1.0, "window": 20}}


def test_a_change_of_size_begins_anew_and_everybody_follows(serve: Serve, peers: Peers, clips: Clips) -> None:
    """One connection sends a small clip, then a larger one with other parameters."""
    with watched(serve(**ONCE), tags_of(clips.get()), lambda url: FfmpegPlayer(url, peers)) as (publisher, player, viewer):
        publisher.send(tags_of(clips.get(width=480, height=288, gop=50), shift=4000))
    assert player.seen.numbers == [*range(100), *range(100)]
    first, second = viewer.seen()
    small, large = viewer.stretches()
    assert large[0].discontinuity
    assert small[0].init != large[0].init
    assert (first.sizes, second.sizes) == ([(320, 192)], [(480, 288)])
    assert first.numbers == second.numbers == list(range(100))


def test_a_change_of_codec_begins_anew(serve: Serve, peers: Peers, clips: Clips) -> None:
    with watched(serve(**ONCE), tags_of(clips.get()), lambda url: FfmpegPlayer(url, peers)) as (publisher, _, viewer):
        publisher.send(tags_of(clips.get(video="hevc"), shift=4000))
    first, second = viewer.seen()
    assert (first.codecs, second.codecs) == (["h264"], ["hevc"])
    assert first.numbers == second.numbers == list(range(100))


#: What a clock does after two seconds: from the time in the clip to what is sent.
CLOCKS: dict[str, Callable[[int], int]] = {
    "wraps": lambda at: at + WRAP - 2000,
    "jumps an hour forward": lambda at: at if at < 2000 else at + HOUR,
    "jumps an hour back": lambda at: at + 2 * HOUR if at < 2000 else at + HOUR,
    "starts over": lambda at: at + 50_000 if at < 2000 else at - 2000,
    "runs half a second backwards": lambda at: at if at < 2000 else at - 500,
    "is far from zero": lambda at: at + WRAP // 2,
}


@pytest.mark.parametrize("clock", CLOCKS, ids=lambda name: name.replace(" ", "-"))
def test_no_picture_is_lost_when_the_clock(clock: str, serve: Serve, clips: Clips) -> None:
    tags = [(type_id, CLOCKS[clock](at), body) for type_id, at, body in tags_of(clips.get(b_frames=0))]
    with watched(serve(**ONCE), tags) as (_, player, viewer):
        pass
    assert player.seen.numbers == list(range(100))
    steps = [two - one for one, two in pairwise(player.seen.times)]
    assert min(steps) >= 0
    assert max(steps) < 1
    assert [number for seen in viewer.seen() for number in seen.numbers] == list(range(100))
    for seen in viewer.seen():
        assert seen.times == sorted(seen.times)


def test_audio_long_after_video_joins_in(serve: Serve, clips: Clips) -> None:
    tags = tags_of(clips.get(b_frames=0))
    header = next(tag for tag in tags if tag[0] == AUDIO)
    silent = [tag for tag in tags if tag[0] != AUDIO and tag[1] < 2000]
    with watched(serve(**ONCE), silent) as (publisher, player, viewer):
        publisher.send([(AUDIO, 2000, header[2]), *(tag for tag in tags if tag[1] >= 2000)])
        sound = HlsViewer(viewer.server, "show", "audio")
    assert player.seen.numbers == list(range(100))
    assert [number for seen in viewer.seen() for number in seen.numbers] == list(range(100))
    sound.follow_to_end()
    assert sum(seen.seconds_of_sound for seen in sound.seen()) > 1.8


def test_the_first_part_is_playable_soon_after_the_first_keyframe(
    serve: Serve, clips: Clips, capsys: pytest.CaptureFixture[str]
) -> None:
    """Measured from the keyframe's sending to the moment when a polling viewer holds a part that decodes."""
    server = serve()
    sent: list[float] = []
    over = threading.Event()

    def publish() -> None:
        with RtmpClient(server.rtmp("show")).publish() as publisher:
            for type_id, _, body in publisher.pace(tags_of(clips.get())):
                if type_id == VIDEO and body[1] == 1:
                    sent.append(time.monotonic())
                if over.is_set():
                    break
            publisher.goodbye()

    with ThreadPoolExecutor(1) as pool:
        publishing = pool.submit(publish)
        uris = wait_until(lambda: listed_parts(server), "the first part")
        data = b"".join(server.get(f"/live/show/{uri}")[2] for uri in uris)
        playable = time.monotonic()
        over.set()
        publishing.result()
    assert watch(io.BytesIO(data)).numbers[0] == 0
    with capsys.disabled():
        sys.stdout.write(f"\nfirst part playable {(playable - sent[0]) * 1000:.0f} ms after the first keyframe\n")


def listed_parts(server: Server) -> list[str]:
    """The init segment and the first part in the video playlist, as soon as there is one."""
    status, _, body = server.get("/live/show/video.m3u8")
    lines = body.decode().splitlines() if status == 200 else []
    parts = [line.split('URI="')[1].split('"')[0] for line in lines if line.startswith(("#EXT-X-MAP", "#EXT-X-PART:"))]
    return parts[:2] if len(parts) > 1 else []
