"""A still image of what is live, over HTTP from a real server that a real encoder pushes to."""

import asyncio
import contextlib
import io
import itertools
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPMessage

import av
import psutil
import pytest
from aiohttp import ClientSession

from mediaserver.recording.sprites import sheet_file, vtt_file
from protocols.flv import FlvReader
from protocols.media import Packet
from tests.conftest import Serve
from tests.media import Clips, frame_number
from tests.mediaserver.packaging.material import read_flv
from tests.mediaserver.running import running
from tests.peers import Peers, Server, running_server, wait_until

STILLS = "mediaserver.packaging.stills_worker"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("shared")) as server:
        yield server


def number(image: bytes) -> int:
    with av.open(io.BytesIO(image), format="jpeg_pipe") as container:
        return frame_number(next(container.decode(video=0)).to_ndarray(format="gray"))


def workers(server: Server) -> list[psutil.Process]:
    """Those that run now; one that ends while we look does not count."""
    found = []
    for child in psutil.Process(server.process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [child] if STILLS in child.cmdline() else []
    return found


def fetch(server: Server, name: str, query: str = "", method: str = "GET") -> tuple[int, HTTPMessage, bytes]:
    return server.get(f"/live/{name}/thumbnail.jpg{query}", method=method)


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9"])
def test_the_thumbnail_of_a_live_stream_is_a_keyframe_of_it(shared: Server, clips: Clips, peers: Peers, codec: str) -> None:
    name = f"show-{codec}"
    peers.pyav_push(clips.get(video=codec), shared.rtmp(name))
    shared.wait_live(name)
    status, headers, body = wait_until(lambda: found if (found := fetch(shared, name))[0] == 200 else None, "a thumbnail")
    assert status == 200
    assert headers["Content-Type"] == "image/jpeg"
    assert headers["Cache-Control"] == "public, max-age=1"
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert number(body) in {0, 25, 50, 75}
    status, headers, nothing = fetch(shared, name, method="HEAD")
    assert (status, headers["Content-Type"], nothing) == (200, "image/jpeg", b"")
    assert int(headers["Content-Length"]) > 300
    assert fetch(shared, name, "?width=nonsense")[0] == 400
    assert len(workers(shared)) == 1


def test_it_follows_the_stream(shared: Server, clips: Clips, peers: Peers) -> None:
    peers.ffmpeg_push(clips.get(), shared.rtmp("follow"))
    shared.wait_live("follow")
    seen: set[int] = set()

    def another() -> bool:
        status, _, body = fetch(shared, "follow")
        if status == 200:
            seen.add(number(body))
        return len(seen) >= 3

    wait_until(another, "three keyframes to be seen")
    assert seen <= {0, 25, 50, 75}


def test_there_is_none_of_sound_or_of_nothing(shared: Server, clips: Clips, peers: Peers) -> None:
    peers.ffmpeg_push(clips.get(video=""), shared.rtmp("radio"))
    shared.wait_live("radio")
    assert fetch(shared, "radio")[0] == 404
    assert fetch(shared, "nobody")[0] == 404
    assert fetch(shared, "nobody", method="HEAD")[0] == 404


def test_a_hundred_at_once_get_the_same_and_a_dead_worker_is_replaced(shared: Server, clips: Clips, peers: Peers) -> None:
    # One keyframe, however often the clip begins anew.
    peers.ffmpeg_push(clips.get(seconds=24, gop=600, audio=""), shared.rtmp("crowd"))
    shared.wait_live("crowd")
    # Of what has no picture yet there is none; who comes before the first keyframe waits for it.
    wait_until(lambda: (shared.live()["crowd"]["video"] or {}).get("width"), "the stream's headers")
    # A busy machine may take longer to start a worker than anybody is kept waiting.
    wait_until(lambda: fetch(shared, "crowd", "?width=96")[0] == 200, "a worker")
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: fetch(shared, "crowd"), range(100)))
    assert {status for status, _, _ in answers} == {200}
    (image,) = {body for _, _, body in answers}
    assert number(image) == 0
    (worker,) = workers(shared)
    os.kill(worker.pid, signal.SIGKILL)
    widths = itertools.count(160, 16)

    def another() -> bool:
        """Whether a picture in a size that is not there yet was made, and a worker is there that was not."""
        status, _, body = fetch(shared, "crowd", f"?width={next(widths)}")
        assert status != 200 or number(body) == 0
        return status == 200 and [each.pid for each in workers(shared)] not in ([], [worker.pid])

    wait_until(another, "another worker")


def test_the_worker_ends_with_the_server_even_when_that_is_killed(clips: Clips, peers: Peers, serve: Serve) -> None:
    server = serve()
    peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    server.wait_live("show")
    wait_until(lambda: fetch(server, "show")[0] == 200, "a thumbnail")
    (worker,) = workers(server)
    server.kill()
    worker.wait(30)


async def test_a_rendition_has_a_thumbnail_of_its_own(clips: Clips) -> None:
    small, large = read_flv(clips.get(width=160, height=96, audio="")), clips.get(audio="")
    async with running() as town, town.client("show") as publisher, ClientSession() as http:
        await publisher.publish()
        await publisher.send(*FlvReader().receive_data(large.read_bytes()))
        await town.until(lambda: "show" in town.names())
        hub = town.engine._hub
        rendition = hub.add_rendition(hub.streams["show"], "96p")
        for item in small:
            if isinstance(item, Packet):
                rendition.pass_on(item)
            else:
                rendition.write_track(item)
        sizes = []
        for name in ("show", "show@96p"):
            url = f"http://127.0.0.1:{town.engine.config.http.port}/live/{name}/thumbnail.jpg"
            async with asyncio.timeout(30), http.get(url) as response:
                assert response.status == 200
                image = await response.read()
            with av.open(io.BytesIO(image), format="jpeg_pipe") as container:
                frame = next(container.decode(video=0))
            sizes.append((frame.width, frame.height))
        assert sizes == [(320, 192), (160, 96)]


def test_a_finished_recording_gets_sprites_if_the_configuration_says_so(clips: Clips, peers: Peers, serve: Serve) -> None:
    server = serve(recording={"always": True, "sprites": True}, rtmp={"reconnect_grace": 0.0})
    assert peers.ffmpeg_push(clips.get(seconds=3), server.rtmp("show"), loop=False).wait() == 0
    folder = server.folder / "data" / "recordings" / "show"
    (vtt,) = wait_until(lambda: list(folder.glob("*.sprites.vtt")), f"the sprites:\n{server.log()}")
    (recording,) = folder.glob("*.mp4")
    assert vtt == vtt_file(recording)
    assert vtt.read_text().count("-->") == 3
    with av.open(str(sheet_file(recording, 1)), format="image2") as container:
        sheet = next(container.decode(video=0)).to_ndarray(format="gray")
    assert [frame_number(sheet[:, left : left + 160]) for left in (0, 160, 320)] == [0, 25, 50]
