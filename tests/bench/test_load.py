"""The load against real servers: what a publisher sends, all players get, and the verifying ones say so."""

import pytest

from bench.load.play import Drain
from bench.measure import Scene, run_scene
from bench.servers import Settings, nginx_binary, rtmp_module
from tests.peers import missing


@pytest.mark.parametrize(
    ("http", "drain"),
    [
        pytest.param(False, Drain.READY, id="rtmp"),
        pytest.param(False, Drain.BEAT, id="rtmp-on-a-beat"),
        pytest.param(True, Drain.READY, id="http-flv"),
    ],
)
def test_our_players_get_everything(http: bool, drain: Drain) -> None:
    scene = Scene(("one", "two"), 1_000_000, ("one", "two", "one", "two"), http=http, sampled=2, drain=drain)
    figures = run_scene("ours", scene, Settings(seconds=4.0))
    assert (figures.lost, figures.faults) == (0, [])
    assert figures.frames > 100
    assert figures.p99 is not None
    assert figures.gigabytes > 0
    assert figures.cpu_seconds > 0
    assert figures.rss_load is not None


def test_nginx_players_get_everything() -> None:
    if not (nginx_binary() and rtmp_module()):
        missing("nginx with its RTMP module")
    figures = run_scene("nginx", Scene(("one",), 1_000_000, ("one",) * 4, sampled=2), Settings(seconds=4.0))
    assert (figures.lost, figures.faults) == (0, [])
    assert figures.frames > 100
