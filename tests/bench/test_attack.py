"""The hostile load: what it says to the server, and that it is sent away."""

import pytest

from bench import hostile_row
from bench.hostile_row import HostileRow
from bench.load.attack import openings
from bench.options import parse
from bench.servers import Ours
from protocols.rtmp.events import ConnectRequested
from protocols.rtmp.session import ServerSession, SessionLimits


def test_only_the_last_opening_comes_to_a_connect() -> None:
    heard = []
    for said in openings():
        server = ServerSession(SessionLimits())
        heard.append([type(event) for event in server.receive_data(said)])
    assert [ConnectRequested in events for events in heard] == [False] * (len(heard) - 1) + [True]
    assert sorted(map(len, openings())) == [len(said) for said in openings()]


def test_a_crowd_beside_good_players_is_counted_and_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostile_row, "HOSTILE", 200)
    # They are sent away sooner than by default: nobody has to wait for that.
    monkeypatch.setattr(Ours, "environment", lambda _: {"MEDIASERVER__RTMP__HANDSHAKE_TIMEOUT": "4"})
    figures = HostileRow().run("hostile", parse(["--players", "4", "--seconds", "3"], ["hostile"]), {})
    assert figures.notes["hostile"] == 200
    assert figures.notes["hostile_left"] == 0
    assert figures.notes["hostile_gone_s"] > 0
    assert (figures.lost, figures.faults) == (0, [])
    assert figures.metric == figures.p99
