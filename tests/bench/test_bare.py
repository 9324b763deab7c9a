"""The load's least: writes with no server around them, connections that are only taken."""

import contextlib
import socket

from bench.load.bare import BareReport, BareSpec, take, write
from bench.load.process import LoadProcess
from bench.measure import window_from_now
from bench.servers import free_ports


def test_every_player_gets_a_write_for_each_picture() -> None:
    port = free_ports(1)[0]
    reader: LoadProcess[int, None] = LoadProcess(take, port, None)
    with reader:
        reader.wait_ready()
        writer: LoadProcess[BareSpec, BareReport] = LoadProcess(write, BareSpec(port, 3, 240_000.0), None)
        with writer:
            writer.wait_ready()
            writer.measure(window_from_now(0.5))
            report = writer.report()
    assert report.bytes_sent > 0
    assert report.bytes_sent % (3 * 1000) == 0
    assert report.cpu_seconds > 0


def test_who_is_only_taken_is_let_go_in_the_end() -> None:
    port = free_ports(1)[0]
    taker: LoadProcess[int, None] = LoadProcess(take, port, None)
    with taker:
        taker.wait_ready()
        links = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(5)]
        for link in links:
            link.sendall(b"nothing that anybody answers")
    for link in links:
        # Reset, where what it said had not been read yet.
        with link, contextlib.suppress(ConnectionResetError):
            assert link.recv(100) == b""
