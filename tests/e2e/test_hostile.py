"""Hostile connections against the running server, while one good publisher and one good player go on."""

import contextlib
import socket
import sys
import time
from collections.abc import Iterator

import pytest

from protocols.rtmp.chunk_reader import ChunkReader
from protocols.rtmp.limits import SessionLimits
from protocols.rtmp.message import Control
from tests.conftest import Serve
from tests.e2e.hostile import CANARY, GOOD, Case, Fate, cases, message
from tests.e2e.players import LivePlayer, breaks
from tests.media import Clips
from tests.peers import Peers, Server, wait_until

PERIOD = 100
#: What a deadline says when it closes.
DEADLINES = ("neither published nor played in time", "idle for too long")
#: Seconds to wait for an end that is sure to come.
PATIENCE = 30.0


class Offender:
    """One connection that sends a case's bytes, however the server takes them."""

    def __init__(self, server: Server, case: Case) -> None:
        self.case = case
        self.socket = socket.create_connection(("127.0.0.1", server.rtmp_port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):
            for piece in case.pieces:
                self.socket.sendall(piece)

    def closed(self) -> bool:
        """Wait for the server to close. False if it does not."""
        deadline = time.monotonic() + PATIENCE
        self.socket.settimeout(PATIENCE)
        try:
            while self.socket.recv(1 << 16):
                if time.monotonic() > deadline:
                    return False
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True

    def answers(self) -> bool:
        """Whether a ping, sent behind the case, is answered."""
        # In chunks of one byte for who has made them so small.
        ping, size = b"\0\6\x01\x02\x03\x04", 1 if "chunk size 1" in self.case.name else 128
        body = b"".join(b"\xc2" * (at > 0) + ping[at : at + size] for at in range(0, len(ping), size))
        reader = ChunkReader(SessionLimits())
        try:
            self.socket.sendall(message(Control.USER_CONTROL, ping)[:12] + body)
            skip = 1 + 2 * 1536
            while data := self.socket.recv(1 << 16):
                data, skip = data[skip:], max(0, skip - len(data))
                for each in reader.receive(data):
                    if each.type_id == Control.USER_CONTROL and each.body == b"\0\7\x01\x02\x03\x04":
                        return True
        except (ConnectionError, TimeoutError):
            pass
        return False


@pytest.fixture
def town(serve: Serve, peers: Peers, clips: Clips) -> Iterator[tuple[Server, LivePlayer]]:
    """A server with short deadlines, a good publisher, and a good player who must not notice anything."""
    server = serve(rtmp={"handshake_timeout": 6.0, "idle_timeout": 6.0, "reconnect_grace": 0, "slow_timeout": 6.0})
    peers.ffmpeg_push(clips.get(), server.rtmp(GOOD))
    server.wait_live(GOOD)
    with LivePlayer(server.rtmp(GOOD)) as player:
        player.wait_for(1)
        yield server, player


def test_every_hostile_case_ends_while_others_notice_nothing(
    town: tuple[Server, LivePlayer], capsys: pytest.CaptureFixture[str]
) -> None:
    server, player = town
    table: dict[str, str] = {}
    wrong: list[str] = []
    with contextlib.ExitStack() as stack:
        slow = [Offender(server, case) for case in cases() if case.fate is Fate.WAITED]
        for case in (case for case in cases() if case.fate is not Fate.WAITED):
            before = len(server.log())
            offender = Offender(server, case)
            stack.enter_context(offender.socket)
            ended = offender.answers() if case.fate is Fate.IGNORED else offender.closed()
            table[case.name] = case.fate.value if ended else "WRONG"
            if not ended:
                wrong.append(f"{case.name}: not {case.fate.value}")
            elif case.fate is Fate.REFUSED:
                wait_until(lambda before=before: reasons(server.log()[before:]), f"a line that says why: {case.name}")
            player.wait_for(1)
            if lost := breaks(player.seen.numbers, PERIOD):
                wrong.append(f"{case.name}: the good player lost {lost}")
                break
        for offender in slow:
            stack.enter_context(offender.socket)
            table[offender.case.name] = offender.case.fate.value if offender.closed() else "WRONG"
        player.wait_for(1)
    log = server.log()
    show(table, player, capsys)
    assert sum(fate.startswith("closed") for fate in table.values()) <= sum("reason=" in line for line in log.splitlines())
    assert not wrong
    assert "WRONG" not in table.values()
    assert len(table) >= 43
    assert sum(fate.startswith("closed") for fate in table.values()) >= 40
    assert not breaks(player.seen.numbers, PERIOD)
    assert CANARY not in log


def show(table: dict[str, str], player: LivePlayer, capsys: pytest.CaptureFixture[str]) -> None:
    closed = sum(fate.startswith("closed") for fate in table.values())
    with capsys.disabled():
        sys.stdout.write("\n" + "".join(f"  {name:50} {fate}\n" for name, fate in table.items()))
        sys.stdout.write(f"  {len(table)} cases, {closed} closed, the good player saw {len(player.seen.numbers)} pictures\n")


def reasons(log: str) -> list[str]:
    """The lines that name a session and a reason which is no deadline's."""
    lines = [line for line in log.splitlines() if "session" in line and "reason=" in line]
    return [line for line in lines if not any(deadline in line for deadline in DEADLINES)]
