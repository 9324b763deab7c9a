"""Bodies that many ask for, in files without a name."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from mediaserver.delivery.sendfile import HotBodies


async def until_written(bodies: HotBodies) -> None:
    """Until the thread has written what it was given, and the loop knows."""
    await asyncio.to_thread(bodies._thread.shutdown)
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.mark.parametrize("there", [True, False], ids=["a disk", "no disk"])
async def test_a_hot_body_is_in_a_file_without_a_name(tmp_path: Path, there: bool) -> None:
    folder = tmp_path if there else tmp_path / "missing"
    body = os.urandom(200_000)
    bodies = HotBodies(folder)
    ours, theirs = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    reader, writer = await asyncio.open_connection(sock=theirs)
    assert [bodies.send(transport, b"head", body, 0.0) for _ in range(2)] == [False, False]
    await until_written(bodies)
    assert bodies.send(transport, b"head", body, 0.0)
    assert await reader.readexactly(4 + len(body)) == b"head" + body
    (hot,) = bodies._bodies.values()
    assert os.readlink(f"/proc/self/fd/{hot.fd}").startswith(str(tmp_path) if there else "/memfd:")
    assert os.listdir(tmp_path) == []
    bodies.close()
    transport.close()
    writer.close()


async def test_a_body_that_is_no_longer_asked_for_when_its_file_is_written(tmp_path: Path) -> None:
    """Nothing of it stays open."""
    before = set(os.listdir("/proc/self/fd"))
    bodies, body = HotBodies(tmp_path), bytes(1 << 20)
    for _ in range(2):
        assert not bodies.send(asyncio.Transport(), b"head", body, 0.0)
    assert bodies._open == 1
    bodies.close()
    await until_written(bodies)
    assert (bodies._open, bodies._bytes) == (0, 0)
    assert set(os.listdir("/proc/self/fd")) <= before


async def test_bodies_that_are_closed_write_nothing_more(tmp_path: Path) -> None:
    bodies, body = HotBodies(tmp_path), bytes(1 << 20)
    bodies.close()
    for _ in range(3):
        assert not bodies.send(asyncio.Transport(), b"head", body, 0.0)
    assert (bodies._open, bodies._bytes) == (0, 0)
