"""What is reckoned before the start: how many connections there may be beside all that the server opens itself."""

import gc
import os
import socket
from pathlib import Path

import psutil
import pytest

from mediaserver import preflight
from mediaserver.config import Config, PullConfig, RecordingConfig, TranscodeConfig
from mediaserver.preflight import Listener, connections_within, descriptors, make_room
from mediaserver.recording.file import RecordingFile
from mediaserver.worker.frames import Frame
from mediaserver.worker.process import Worker

PLAIN = Config()
RECORDED = Config(recording=RecordingConfig(always=True))
BUSY = Config(transcode=TranscodeConfig(max_jobs=100), pull=PullConfig(max_jobs=500))


@pytest.mark.parametrize("config", [PLAIN, RECORDED, BUSY], ids=["plain", "recorded", "busy"])
@pytest.mark.parametrize("most", [1024, 4096, 65536])
def test_connections_take_what_is_left_and_no_more(config: Config, most: int) -> None:
    connections = connections_within(config, most)
    if connections > 1:
        assert descriptors(config, connections) <= most < descriptors(config, connections + 3)


def test_who_records_transcodes_or_pulls_more_has_fewer_connections() -> None:
    assert connections_within(RECORDED, 4096) < 0.6 * connections_within(PLAIN, 4096)
    assert connections_within(PLAIN, 4096) - connections_within(BUSY, 4096) == 3 * (92 + 450)


def test_there_is_always_one() -> None:
    assert connections_within(BUSY, 16) == 1


@pytest.mark.parametrize("host", ["a..b", "a" * 70])
def test_a_name_that_is_no_address_is_told_with_its_setting(host: str) -> None:
    listener = Listener("rtmp.port", host, 1935)
    assert preflight.obstacle(listener) == f"{host!r} is no address of this machine: correct rtmp.host"


def blocked(port: int) -> str:
    """What is said of it."""
    told = preflight.obstacle(Listener("http.port", "0.0.0.0", port))
    assert told.endswith(f", or choose another http.port (MEDIASERVER__HTTP__PORT={port + 1})")
    return told.removeprefix(f"port {port} is in use by ").partition(", or ")[0]


def test_who_has_a_port_is_told_as_far_as_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    me = f"{psutil.Process().name()} (process {os.getpid()})"
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        assert blocked(address[1]) == f"{me}: end that program"
        # Bound, so that it shares its port with no other connection.
        with socket.create_connection(address, None, ("127.0.0.1", 0)) as caller, server.accept()[0] as called:
            port = caller.getsockname()[1]
            assert blocked(port) == f"a connection of {me} to 127.0.0.1:{address[1]}: wait until it is over"
            caller.close()
            assert called.recv(1) == b""
        assert blocked(port) == f"a connection to 127.0.0.1:{address[1]} that has just been closed: try again in a minute"
        # As it is for who is not root.
        hidden = [each._replace(pid=None) for each in psutil.net_connections("tcp")]
        monkeypatch.setattr(psutil, "net_connections", lambda _: hidden)
        assert blocked(address[1]) == "a program of another user: end that program"
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert blocked(bound.getsockname()[1]) == "a program that cannot be named: end it"


def open_now() -> int:
    gc.collect()  # what another test left open is closed now, and not between two counts
    return len(os.listdir("/proc/self/fd"))


def test_a_recording_takes_what_is_reckoned(tmp_path: Path) -> None:
    before = open_now()
    file = RecordingFile.create(tmp_path, "show", "mp4", {}, "never", 0)
    assert open_now() - before == preflight._RECORDING
    file.finish(None)
    assert open_now() == before


class Nobody:
    def on_frame(self, frame: Frame) -> None: ...

    def on_exit(self, status: int, words: str) -> None: ...


async def test_a_worker_takes_no_more_than_is_reckoned() -> None:
    workers = [Worker("tests.mediaserver.worker.odd_jobs", {"job": "echo"}, Nobody(), 1 << 16) for _ in range(5)]
    await workers[0].start()  # the first one of a process opens what all of them share
    before = open_now()
    for worker in workers[1:]:
        await worker.start()
    assert open_now() - before <= preflight._WORKER * 4
    for worker in workers:
        await worker.close(5)


def test_room_for_descriptors_is_made_once_and_takes_none() -> None:
    def table() -> int:
        (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("FDSize:"))
        return int(line.split()[1])

    before = open_now()
    wanted = 2 * table()
    make_room(min(wanted, preflight.raise_descriptor_limit()))
    assert table() >= wanted
    assert open_now() == before
    make_room(preflight.MOST_DESCRIPTORS * 2)  # more than there may be: nothing is made, and nothing fails
    assert open_now() == before
