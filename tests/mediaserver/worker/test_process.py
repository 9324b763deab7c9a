"""A worker's process: what it is told, what it says, how it ends, and that it ends."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mediaserver.worker.child import Pipe
from mediaserver.worker.frames import Blob, Frame, Note, PacketFrame, TrackFrame
from mediaserver.worker.process import ORDER_ROOM, Worker
from protocols.media import Codec, MediaKind, Packet, Track
from tests.peers import ROOT, wait_until

MODULE = "tests.mediaserver.worker.odd_jobs"
PATIENCE = 30.0


class Ear:
    """A WorkerHandler that keeps everything."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.exits: list[tuple[int, str]] = []
        self.told = asyncio.Event()

    def on_frame(self, frame: Frame) -> None:
        self.frames.append(frame)
        self.told.set()

    def on_exit(self, status: int, words: str) -> None:
        self.exits.append((status, words))
        self.told.set()

    async def until(self, count: int = 0, exits: int = 0) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.frames) < count or len(self.exits) < exits:
                self.told.clear()
                await self.told.wait()


async def started(ear: Ear, *, backlog: int = 1 << 20, **settings: object) -> Worker:
    worker = Worker(MODULE, settings, ear, backlog)
    await worker.start()
    return worker


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_it_has_its_settings_a_low_priority_and_a_bound_on_its_memory() -> None:
    ear = Ear()
    worker = await started(ear, memory=300 << 20, words="x")
    worker.send(Note({"do": "tell"}))
    await ear.until(1)
    (said,) = ear.frames
    assert isinstance(said, Note)
    assert said.values["pid"] == worker.pid
    assert said.values["nice"] == min(19, os.nice(0) + 10)
    assert said.values["limit"] == 300 << 20
    assert said.values["settings"] == {"memory": 300 << 20, "words": "x"}
    await worker.close(PATIENCE)
    assert ear.exits == [(0, "")]


async def test_frames_come_back_in_order() -> None:
    ear = Ear()
    worker = await started(ear)
    sent = [PacketFrame(number % 256, Packet(MediaKind.VIDEO, number, False, bytes(3000), 5)) for number in range(200)]
    assert all(worker.send(frame) for frame in sent)
    await ear.until(200)
    assert ear.frames == sent
    await worker.close(PATIENCE)


async def test_more_memory_than_allowed_ends_it_with_words() -> None:
    ear = Ear()
    worker = await started(ear, memory=300 << 20)
    worker.send(Note({"do": "eat"}))
    await ear.until(exits=1)
    assert ear.exits[0][0] == 1
    assert "MemoryError" in ear.exits[0][1]
    await worker.close(PATIENCE)


@pytest.mark.parametrize(
    ("deed", "status", "words"), [("crash", 1, "RuntimeError: as it was told"), ("abort", -signal.SIGABRT, "")]
)
async def test_how_it_died_is_told_once(deed: str, status: int, words: str) -> None:
    ear = Ear()
    worker = await started(ear)
    worker.send(Note({"do": deed}))
    await ear.until(exits=1)
    await worker.close(PATIENCE)
    assert [found for found, _ in ear.exits] == [status]
    assert words in ear.exits[0][1]
    assert worker.send(Note({})) is False


async def test_one_that_does_not_listen_has_a_bounded_backlog_and_is_killed_when_it_must_end() -> None:
    ear = Ear()
    worker = await started(ear, backlog=1 << 16)
    worker.send(Note({"do": "sleep"}))
    accepted = 0
    while worker.send(Blob(1, bytes(10_000))):
        accepted += 1
        assert accepted < 1000
    assert worker.backlog < (1 << 16) + 20_000
    assert worker.send(Note({"do": "tell"})), "an order waits"
    await worker.close(0.1)
    await ear.until(exits=1)
    assert ear.exits == [(-signal.SIGKILL, "")]


async def test_one_that_hears_no_order_is_ended_before_they_take_the_memory() -> None:
    ear = Ear()
    worker = await started(ear, backlog=1 << 16)
    worker.send(Note({"do": "sleep"}))
    header = TrackFrame(0, Track(Codec.H264, bytes(1 << 20), b""))
    accepted = 0
    while worker.send(header):
        accepted += 1
        assert accepted < 100
    assert accepted > 10
    assert worker.backlog < (1 << 16) + ORDER_ROOM + (2 << 20)
    await ear.until(exits=1)
    assert ear.exits == [(-signal.SIGKILL, "")]
    assert not worker.send(Note({}))
    await worker.close(PATIENCE)


async def test_it_ends_when_the_server_s_end_of_the_socket_closes() -> None:
    ear = Ear()
    worker = await started(ear)
    worker.send(Note({"do": "flood"}))
    await ear.until(10)
    await worker.close(PATIENCE)
    assert ear.exits == [(0, "")]


def test_a_server_that_closed_before_it_had_read_everything_is_gone_like_any_other() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        pipe = Pipe(theirs)
        pipe.send(Note({"unread": True}))
        ours.close()
        with pytest.raises(BrokenPipeError):
            pipe.send(Note({}))
        with pytest.raises(BrokenPipeError):
            pipe.send(Note({}))
        assert list(pipe) == []


def test_it_ends_with_a_server_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import asyncio, time\n"
        "from tests.mediaserver.worker.test_process import Ear, started\n"
        "async def serve():\n"
        "    worker = await started(Ear())\n"
        "    print(worker.pid, flush=True)\n"
        "    await asyncio.sleep(1000)\n"
        "asyncio.run(serve())\n"
    )
    server = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert server.stdout is not None
    pid = int(server.stdout.readline())
    assert running(pid)
    server.kill()
    server.wait()
    server.stdout.close()
    wait_until(lambda: not running(pid), "the worker to end")
