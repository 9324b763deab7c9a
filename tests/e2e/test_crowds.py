"""Many at once, and players who do not play along: what they cost, and that others do not notice."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise

import psutil
import pytest

from protocols.rtmp.message import Control
from tests.conftest import Serve
from tests.e2e.hostile import HANDSHAKE, OPEN, message
from tests.e2e.players import LivePlayer, breaks
from tests.e2e.rtmp import RtmpClient, headers, is_keyframe, number_of, numbered, tags_of
from tests.media import Clips
from tests.peers import Peers, Server, free_port, program, wait_until

#: Hostile connections at a time; HOSTILE=10000 for the whole crowd (ulimit -n permitting).
HOSTILE = int(os.environ.get("HOSTILE", "300"))
STALLED = 20
BITRATE = 12_000_000
MB = 1 << 20


class Figures:
    """What the server's process weighs now."""

    def __init__(self, server: Server) -> None:
        self.process = psutil.Process(server.process.pid)
        self.before = self.memory()
        self.descriptors = self.process.num_fds()

    def memory(self) -> int:
        return int(self.process.memory_info().rss)

    def growth(self) -> int:
        return self.memory() - self.before

    def as_before(self) -> bool:
        return self.process.num_fds() <= self.descriptors


@contextlib.contextmanager
def load(server: Server, clips: Clips, bitrate: int = BITRATE) -> Iterator[None]:
    """Somebody publishes numbered frames as ``show``, in real time, until the block ends."""
    begin = headers(tags_of(clips.get(audio="")))
    over = threading.Event()

    def publish() -> None:
        with RtmpClient(server.rtmp("show")).publish() as publisher:
            publisher.send(begin)
            for _ in publisher.pace(numbered(600, bitrate), hurry=False):
                if over.is_set():
                    break
            publisher.goodbye()

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        server.wait_live("show")
        yield
    finally:
        over.set()
        thread.join()


def unread(server: Server, buffer: int = 4096) -> RtmpClient:
    """A player with a receive buffer of so many bytes, who does not read."""
    player = RtmpClient(server.rtmp("show"))
    player.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    return player.play()


def numbers(player: RtmpClient) -> list[int]:
    return [number_of(event.body) for event in player.media if event.body[1] == 1]


def tell(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{text}\n")


def test_a_crowd_of_hostile_connections_costs_little_and_goes(
    serve: Serve, peers: Peers, clips: Clips, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(rtmp={"handshake_timeout": 4.0})
    peers.ffmpeg_push(clips.get(), server.rtmp("good"))
    server.wait_live("good")
    with LivePlayer(server.rtmp("good")) as player, contextlib.ExitStack() as stack:
        player.wait_for(25)
        figures = Figures(server)
        crowd = []
        for number in range(HOSTILE):
            offender = stack.enter_context(socket.create_connection(("127.0.0.1", server.rtmp_port)))
            # Nothing, half a handshake, a whole one, a connect: each never goes on.
            offender.sendall((b"", HANDSHAKE[:700], HANDSHAKE, OPEN)[number % 4])
            crowd.append(offender)
        player.wait_for(5)
        most = 0

        def all_told_off() -> bool:
            nonlocal most
            most = max(most, figures.growth())
            return server.log().count("neither published nor played in time") == HOSTILE

        wait_until(all_told_off, "all to be told that they have had their time")
        wait_until(figures.as_before, "all to be gone")
        each = most / HOSTILE
        player.wait_for(5)
        assert not breaks(player.seen.numbers, 100)
    tell(capsys, f"{HOSTILE} hostile connections: {each / 1024:.1f} kB each")
    assert each <= 4096 + MB / HOSTILE


def test_players_that_never_read_are_cut_off_and_cost_little(
    serve: Serve, clips: Clips, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(rtmp={"slow_timeout": 2.0})
    with load(server, clips), RtmpClient(server.rtmp("show")).play() as good:
        good.wait_for(lambda: len(good.media) > 50, "the stream to flow")
        figures = Figures(server)
        with contextlib.ExitStack() as stack:
            for _ in range(STALLED):
                stack.enter_context(unread(server))
            most = 0

            def all_cut_off() -> bool:
                nonlocal most
                good.read(0.02)
                most = max(most, figures.growth())
                return metric(server, "mediaserver_players_cut_off_total") == STALLED

            wait_until(all_cut_off, "the stalled players to be cut off", timeout=40)
        good.wait_for(lambda: len(good.media) > 200, "the stream to flow on")
        got = numbers(good)
    tell(capsys, f"{STALLED} stalled players at {BITRATE / 1e6:.0f} Mbit/s: {most / MB:.1f} MB more at most")
    assert got == list(range(got[0], got[0] + len(got)))
    assert server.log().count("took nothing for too long") == STALLED
    assert most <= 8 * MB


def metric(server: Server, name: str) -> float:
    return float(server.get("/metrics")[2].decode().split(f"\n{name} ")[1].split()[0])


def test_a_slow_player_goes_on_at_a_keyframe_and_what_it_missed_is_counted(serve: Serve, clips: Clips) -> None:
    server = serve(rtmp={"slow_timeout": 60.0})
    with load(server, clips, bitrate=20_000_000), unread(server, MB // 4) as player:
        wait_until(lambda: stands_still(server), "the player's buffers to be full")
        player.wait_for(lambda: bool(gaps(player)), "a gap", timeout=30)
        found = gaps(player)
        for before, after in found:
            assert after > before + 1
            first = next(event for event in player.media if event.body[1] == 1 and number_of(event.body) == after)
            assert is_keyframe(first)
            assert after % 25 == 0
        missed = sum(after - before - 1 for before, after in found)
        wait_until(lambda: metric(server, "mediaserver_dropped_packets") >= missed, "what it missed to be counted")


def stands_still(server: Server) -> bool:
    """Whether a megabyte comes in while nothing goes out."""
    into, out = metric(server, "mediaserver_bytes_in_total"), metric(server, "mediaserver_bytes_out_total")
    wait_until(lambda: metric(server, "mediaserver_bytes_in_total") > into + MB, "a megabyte more")
    return metric(server, "mediaserver_bytes_out_total") == out


def gaps(player: RtmpClient) -> list[tuple[int, int]]:
    got = numbers(player)
    return [(one, two) for one, two in pairwise(got) if two != one + 1]


@pytest.mark.parametrize("trick", ["pause and play again", "play again", "ping"])
def test_a_player_that_asks_for_more_without_reading_does_not_fill_the_memory(trick: str, serve: Serve, clips: Clips) -> None:
    server = serve(rtmp={"slow_timeout": 60.0})
    with load(server, clips, bitrate=8_000_000), unread(server) as player:
        figures = Figures(server)
        player.socket.settimeout(3)  # until the server reads no more of it
        with contextlib.suppress(ConnectionError, TimeoutError):
            for _ in range(300):
                if trick == "ping":
                    player.socket.sendall(message(Control.USER_CONTROL, b"\0\6\0\0\0\1") * 5000)
                elif trick == "play again":
                    player.session._call("play", None, "show", -2.0, stream_id=1, answered=False)
                else:
                    player.session.pause(paused=True)
                    player.session.pause(paused=False)
                player.flush()
        with RtmpClient(server.rtmp("show")).play() as good:
            good.wait_for(lambda: len(good.media) > 50, "the stream to flow")
        assert figures.growth() < 12 * MB


def test_a_publisher_that_asks_without_reading_is_sent_away(serve: Serve) -> None:
    server = serve(rtmp={"reconnect_grace": 0})
    figures = Figures(server)
    with RtmpClient(server.rtmp("show")) as publisher:
        publisher.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        publisher.publish()
        with pytest.raises(OSError, match=r"Connection reset|Broken pipe"):
            flood(publisher, message(Control.USER_CONTROL, b"\0\6\0\0\0\1") * 5000)
    assert figures.growth() < 8 * MB
    wait_until(lambda: "connection_refused" in server.log(), "the reason in the log")


def flood(client: RtmpClient, data: bytes) -> None:
    for _ in range(2000):
        client.socket.sendall(data)


def test_players_that_vanish_without_a_word_are_noticed(serve: Serve, clips: Clips) -> None:
    """In a network namespace of its own, whose cable is then cut. What is on its way then would fill no buffer for minutes."""
    if os.geteuid() != 0:
        pytest.skip("root is missing (network namespaces)")
    ip = program("ip")
    server = serve(rtmp={"host": "0.0.0.0", "slow_timeout": 2.0}, http={"host": "0.0.0.0"})
    name, ours, theirs = f"mediaserver{os.getpid()}", f"msh{os.getpid()}", f"msg{os.getpid()}"
    # Of the range for benchmarks (RFC 2544), and not what a run beside this one has.
    number = free_port()
    net = f"198.{18 + (number >> 14 & 1)}.{number >> 6 & 255}"
    here, there = (f"{net}.{(number << 2 & 255) + host}" for host in (1, 2))

    def run(*words: str) -> None:
        subprocess.run([ip, *words], check=True, capture_output=True)

    with contextlib.ExitStack() as stack:
        try:
            run("netns", "add", name)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces are missing: {error.stderr.decode().strip()}")
        stack.callback(run, "netns", "del", name)
        run("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
        # A namespace takes its time to go, and its end of the cable with it.
        stack.callback(run, "link", "del", ours)
        run("addr", "add", f"{here}/30", "dev", ours)
        run("link", "set", ours, "up")
        run("-n", name, "addr", "add", f"{there}/30", "dev", theirs)
        run("-n", name, "link", "set", theirs, "up")
        stack.enter_context(load(server, clips, bitrate=200_000))
        url = f"rtmp://{here}:{server.rtmp_port}/live/show"
        inside = [ip, "netns", "exec", name]
        stack.enter_context(vanishing([*inside, program("rtmpdump"), "--live", "-r", url, "-o", "/dev/null"]))
        url = f"http://{here}:{server.http_port}/live/show.flv"
        stack.enter_context(vanishing([*inside, program("ffmpeg"), "-i", url, "-c", "copy", "-f", "null", "-"]))
        wait_until(lambda: server.live()["show"]["viewers"] == 2, "the players to play")
        run("-n", name, "link", "set", theirs, "down")
        wait_until(lambda: server.live()["show"]["viewers"] == 0, "the players to be missed")
        gone = [line for line in server.log().splitlines() if "play_ended" in line]
        assert metric(server, "mediaserver_players_cut_off_total") == 2, gone
    assert server.log().count("took nothing for too long") == 2


@contextlib.contextmanager
def vanishing(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_players_that_reset_their_connection_are_gone_at_once(serve: Serve, clips: Clips) -> None:
    server = serve()
    with load(server, clips):
        figures = Figures(server)
        players = [RtmpClient(server.rtmp("show")).play() for _ in range(50)]
        for player in players:
            player.abort()
        wait_until(figures.as_before, "all to be gone")
        with RtmpClient(server.rtmp("show")).play() as good:
            good.wait_for(lambda: len(good.media) > 30, "the stream to flow on")
    assert server.log().count("play_ended") >= 50
