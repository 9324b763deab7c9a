"""The demo's stream: pictures that move, a clock, a tone, from a child that never outlives its parent."""

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import av
import numpy as np
import psutil
import pytest

from mediaserver.ingest import colorbars as colorbars_module
from mediaserver.ingest.colorbars import colorbars
from mediaserver.ingest.testcard import BITRATE, HEIGHT, WIDTH, Picture, bars, sound, tags
from protocols.flv import AUDIO, DATA, VIDEO
from tests.peers import ROOT, Peers, ffprobe, free_port, wait_until


def test_the_bars_stand_in_smpte_order() -> None:
    frame = av.VideoFrame.from_ndarray(Picture().draw(0, datetime(2026, 1, 1)), format="yuv420p")  # noqa: DTZ001
    frame.colorspace, frame.color_range = 1, 1
    row = frame.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()[HEIGHT // 3, WIDTH // 14 :: WIDTH // 7]
    lit = [tuple(bool(part > 100) for part in pixel) for pixel in row.tolist()]
    assert lit == [(1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1)]


def test_the_marker_moves_and_the_clock_shows_the_time() -> None:
    picture = Picture()
    at = datetime(2026, 1, 1, 12, 34, 56)  # noqa: DTZ001
    first, same, moved, later = (
        picture.draw(number, when).copy() for number, when in ((0, at), (0, at), (30, at), (30, at.replace(second=57)))
    )
    assert np.array_equal(first, same)
    assert not np.array_equal(first, moved)
    assert not np.array_equal(moved, later)


def test_tags_start_with_metadata_and_both_sequence_headers() -> None:
    stream = tags(bars(), sound, BITRATE)
    frames = [next(stream) for _ in range(8)]
    stream.close()  # type: ignore[attr-defined]
    sent = [tag for frame in frames for tag in frame]
    assert sent[0][0] == DATA
    assert {type_id for type_id, _, _ in sent[:3]} == {DATA, VIDEO, AUDIO}
    times = [
        timestamp for type_id, timestamp, body in sent if type_id == VIDEO and body[1] == 1
    ]  # coded pictures (AVCPacketType)
    assert {b - a for a, b in itertools.pairwise(times)} == {33, 34}


@pytest.fixture
def address(peers: Peers) -> str:
    _, port = peers.nginx_rtmp()
    return f"rtmp://127.0.0.1:{port}/live/demo"


async def test_a_player_gets_picture_and_sound_and_the_child_ends_with_the_block(
    address: str, peers: Peers, tmp_path: Path
) -> None:
    record = tmp_path / "record.flv"
    async with colorbars(address):
        await asyncio.to_thread(_started)
        play = peers.ffmpeg_record(address, record, seconds=3)
        assert await asyncio.to_thread(play.wait, 90) == 0, play.log()
    assert not _children()
    streams = {stream["codec_type"]: stream for stream in ffprobe(record)["streams"]}
    assert (streams["video"]["codec_name"], streams["video"]["width"], streams["audio"]["codec_name"]) == ("h264", WIDTH, "aac")
    with av.open(str(record)) as container:
        # Of the ninety, those before the first keyframe are lost to who comes late.
        assert sum(1 for _ in container.decode(video=0)) >= 10


async def test_a_child_that_dies_is_replaced(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(colorbars_module, "PAUSE", 0.05)
    async with colorbars(address):
        first = await asyncio.to_thread(_started)
        first.kill()
        second = await asyncio.to_thread(
            lambda: wait_until(lambda: [c for c in _children() if c.pid != first.pid], "another child")
        )
        assert second


def test_the_child_ends_when_its_parent_is_killed(address: str) -> None:
    parent = (
        "import asyncio, sys\n"
        "from mediaserver.ingest.colorbars import colorbars\n"
        "async def main():\n"
        "    async with colorbars(sys.argv[1]):\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", parent, address], cwd=ROOT)
    try:
        child = wait_until(lambda: psutil.Process(process.pid).children(), "the child")[0]
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the end of the child")


def test_nobody_listens_is_told_in_a_line() -> None:
    url = f"rtmp://127.0.0.1:{free_port()}/live/demo"
    command = [sys.executable, "-m", "mediaserver.ingest.testcard", url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.wait(60) == 1
        told = process.stderr.read() if process.stderr else ""
    assert told.startswith("colour bars: ")
    assert told.count("\n") == 1


def _children() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # one that has just died has no command line
            if "mediaserver.ingest.testcard" in child.cmdline():
                found.append(child)
    return found


def _started() -> psutil.Process:
    return wait_until(_children, "the child")[0]
