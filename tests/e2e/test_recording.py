"""Recordings by the server as a process: killed, with a disk that fills up, and watched meanwhile."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocols.flv import VIDEO
from tests.conftest import Serve
from tests.e2e.players import LivePlayer, breaks
from tests.e2e.recorded import MOST_LOST, Cycle, cycle, errors, files, in_a_row, numbers, oldest_first
from tests.e2e.rtmp import RtmpClient, Tag, tags_of
from tests.media import Clips
from tests.peers import Peers, ffprobe, program, wait_until

#: Lives of a server in CI; ``python -m tests.e2e.recorded 50`` lives fifty.
CYCLES = int(os.environ.get("RECORDING_CYCLES", "3"))
TMPFS_BYTES = 16 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a tmpfs")
    folder = tmp_path / "small"
    folder.mkdir()
    mount = [program("mount"), "-t", "tmpfs", "-o", f"size={TMPFS_BYTES}", "tmpfs", str(folder)]
    if (result := subprocess.run(mount, capture_output=True, text=True)).returncode:
        pytest.skip(f"no tmpfs may be mounted here: {result.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run([program("umount"), "--lazy", str(folder)], check=True)


def test_a_killed_server_leaves_files_that_play_and_tells_of_them_when_it_is_back(serve: Serve, clips: Clips) -> None:
    server = serve(recording={"always": True, "min_free_bytes": 0})
    clip = clips.get(seconds=12.0, gop=50)
    done: list[Cycle] = []
    for number in range(CYCLES):
        done.append(cycle(server, clip, 1.3 + 0.37 * (number % 8)))
        wait_until(lambda: not server.live(), "the name to be free")
    assert [each for each in done if not each.whole] == []
    assert max(each.lost for each in done) <= MOST_LOST
    assert all(abs(each.seconds_told - len(each.recovered) / 25) < 0.2 for each in done)
    assert len({file.name for file in files(server)}) == CYCLES


def test_the_recording_of_a_server_that_is_stopped_is_whole(serve: Serve, peers: Peers, clips: Clips) -> None:
    server = serve(recording={"always": True, "min_free_bytes": 0, "split_duration": 1.0})
    with RtmpClient(server.rtmp("show")).publish() as publisher:
        publisher.send(tags_of(clips.get()))
        publisher.settle()
        server.stop()
    found = files(server)
    assert [number for file in found for number in numbers(file)] == list(range(100))
    assert [errors(file) for file in found] == [""] * len(found)
    assert len(found) == 4
    log = server.log()
    assert log.count("recording_started") == log.count("recording_finished") == 4
    assert "recovered=True" not in log


def loud(seconds: float, tags: list[Tag]) -> Iterator[Tag]:
    """A clip over and over, each picture with some 30 kB beside it that no decoder looks at."""
    filler = b"\x0c" + b"\xff" * 30_000 + b"\x80"  # filler data, ITU-T H.264, 7.3.2.7
    length = tags[-1][1] + 40
    shift = 0
    while shift < seconds * 1000:
        for type_id, timestamp, body in tags:
            if type_id == VIDEO and body[1] == 1:
                body = body + len(filler).to_bytes(4) + filler
            if shift == 0 or body[1] == 1:
                yield type_id, timestamp + shift, body
        shift += length


def test_a_disk_that_fills_up_stops_the_recording_and_not_the_stream(serve: Serve, clips: Clips, small_disk: Path) -> None:
    server = serve(recording={"always": True, "directory": str(small_disk), "min_free_bytes": 1_000_000})
    clip = clips.get(b_frames=0, audio="")
    room = small_disk / "somebody else's"
    with RtmpClient(server.rtmp("show")).publish() as publisher:
        sent = publisher.pace(loud(60.0, tags_of(clip)))
        next(sent)
        with LivePlayer(server.rtmp("show")) as player:
            # Two megabytes are left, and as soon as this is gone more than the second file can fill before the end.
            room.write_bytes(bytes(13 << 20))
            until(sent, lambda: "recording_failed" in server.log())
            full = sorted(small_disk.rglob("*.mp4"))
            room.unlink()
            until(sent, lambda: len(list(small_disk.rglob("*.mp4"))) > len(full))
            until(sent, lambda: server.log().count("recording_started") > 1)
            publisher.goodbye()
            wait_until(lambda: server.log().count("recording_finished") > 1, "the second file to be whole")
            player.wait_end()
        assert not breaks(player.seen.numbers, 100), "a live player saw a gap"
    first, second = oldest_first(small_disk.rglob("*.mp4"))
    for file in (first, second):
        seen = numbers(file)
        assert not breaks(seen, 100)
        assert seen[0] % 25 == 0
    assert errors(first) == errors(second) == ""
    assert "fewer than 1000000 bytes would stay free" in server.log()
    assert server.log().count("recording_failed") == 1


def until(sent: Iterator[Tag], question: "object") -> None:
    """Go on sending until the answer is yes; asked twice a second."""
    assert callable(question)
    asked = time.monotonic()
    for _ in sent:
        if time.monotonic() - asked > 0.5:
            asked = time.monotonic()
            if question():
                return
    raise AssertionError("not within a minute")


def test_many_streams_are_recorded_at_once(serve: Serve, clips: Clips) -> None:
    server = serve(recording={"always": True, "min_free_bytes": 0, "fsync": "never"})
    clip = clips.get(b_frames=0)
    names = [f"s{number}" for number in range(20)]
    clients = [RtmpClient(server.rtmp(name)).publish() for name in names]
    try:
        for client in clients:
            client.send(tags_of(clip))
        wait_until(lambda: server.log().count("recording_started") == len(names), "all of them to be recorded")
    finally:
        for client in clients:
            client.goodbye()
    wait_until(lambda: server.log().count("publish_ended") == len(names), "the streams to end")
    wait_until(lambda: server.log().count("recording_finished") == len(names), "the files to be whole")
    assert {len(in_a_row(numbers(file))) for file in files(server)[:3]} == {100}


def test_the_command_makes_a_plain_movie(serve: Serve, clips: Clips, tmp_path: Path) -> None:
    server = serve(recording={"always": True, "min_free_bytes": 0}, rtmp={"reconnect_grace": 0})
    with RtmpClient(server.rtmp("show")).publish() as publisher:
        publisher.send(tags_of(clips.get()))
        publisher.goodbye()
    wait_until(lambda: "recording_finished" in server.log(), "the file to be whole")
    (file,) = files(server)
    command = [*server.arguments[:3], "recording", "faststart", str(file), str(tmp_path / "plain.mp4")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (result.returncode, result.stderr) == (0, "")
    assert numbers(tmp_path / "plain.mp4") == list(range(100))
    assert ffprobe(tmp_path / "plain.mp4")["format"]["duration"] == ffprobe(file)["format"]["duration"]
