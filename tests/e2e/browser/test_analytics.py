"""The whole server before a real audience: it is counted by session, written down, and the API's figures are what happened."""

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.browser import OpenTab
from tests.conftest import Serve
from tests.e2e.audience import PASSWORD, HlsClient, Panel, ended
from tests.media import Clips
from tests.peers import Peers, Server, program, wait_until

KEY = "canary_stream_key"
#: Seconds by which the server may see a session shorter or longer than the player does: it looks once a second, at the beginning
#: and at the end, and a player begins before it asks and ends after it.
GRAIN = 4.0


@pytest.fixture
def server(serve: Serve, tmp_path: Path) -> Server:
    countries = tmp_path / "countries.csv"
    countries.write_text("127.0.0.0,127.255.255.255,DE\n")
    return serve(
        auth={"admin_password": PASSWORD},
        rtmp={"reconnect_grace": 0.0},
        analytics={"engaged_after": 2.0, "country_file": str(countries)},
    )


def test_every_player_is_one_session_and_figures_are_what_happened(
    server: Server, clips: Clips, peers: Peers, tab: OpenTab
) -> None:
    panel = Panel(server)
    number = panel.new_stream("Show", KEY)
    name = f"stream_{number}"
    peers.ffmpeg_push(clips.get(), server.rtmp(KEY))
    server.wait_live(name)
    quiet = [program("ffmpeg"), "-v", "error", "-i"]
    with ExitStack() as stack:
        begun = time.time()
        by_connection = [
            peers.start("rtmp", [*quiet, server.rtmp(name), "-f", "null", "-"]),
            peers.start("flv", [*quiet, server.url(f"/live/{name}.flv"), "-f", "null", "-"]),
        ]
        clients = [
            stack.enter_context(HlsClient(server.url(""), name, "a client/1.0", session))
            for session in ("", "", "token-one", "token-two")
        ]
        page = tab()
        page.open(server.url(f"/watch/{name}?player=hls"))
        page.wait_state("playing")
        # Two clients without tokens behind one address cannot be told apart; two with tokens can.
        wait_until(lambda: panel.viewers(number) == 6, "six viewers", 30)
        panel.wait_sessions(6)
        page.page.click("#picker label:has(input[value=dash])")
        wires = {"rtmp": 1, "http-flv": 1, "hls": 3, "dash": 1}
        wait_until(lambda: server.live()[name]["viewersByWire"] == wires, "the page by DASH", 30)
        page.wait_state("playing")
        assert panel.viewers(number) == 6
        all_there, position = time.time(), page.video()["time"]
        page.numbers(40)
        played = page.video()["time"] - position
        # The page is left: its last word goes out with that.
        page.open(server.url("/healthz"))
        for client in clients:
            client.stop()
        for process in by_connection:
            process.stop()
        sessions = panel.wait_sessions(6, ended)
        # The server may hear late that somebody has gone.
        over = time.time()
    figures = panel.ask("GET", f"/api/analytics/streams/{number}")["metrics"]
    dashboard = panel.ask("GET", "/api/analytics/dashboard")

    # By session, whatever it was played by.
    assert len(sessions) == 6
    assert all(session["country"] == "DE" for session in sessions)
    assert (figures["total_sessions"], figures["peak_concurrent_viewers"], dashboard["peak_concurrent_viewers"]) == (6, 6, 6)
    # ffmpeg calls itself otherwise by each protocol; the three clients are alike.
    assert figures["unique_viewers"] == dashboard["total_viewers"] == 4

    # For as long as it lasted.
    for session in sessions:
        assert begun - GRAIN <= session["started"] <= all_there
        assert all_there - GRAIN <= session["ended"] <= over
    seconds = sum(session["ended"] - session["started"] for session in sessions)
    assert figures["total_watch_time"] == dashboard["total_watch_time"] == round(seconds)
    for client in clients[2:]:
        assert min(abs(session["ended"] - session["started"] - client.seconds) for session in sessions) <= GRAIN
    assert figures["engagement_rate"] == dashboard["stream_metrics"][0]["engagement_rate"] == 1.0
    assert dashboard["stream_metrics"][0]["watch_time"] == figures["total_watch_time"]

    # On what: of four viewers one is Chromium on Linux; ffmpeg and a client do not say.
    assert dashboard["platform_distribution"] == {"linux": 25}
    assert dashboard["geographic_distribution"] == {"DE": 100}

    # How well, as the page told.
    (told,) = [session for session in sessions if session["played"] is not None]
    assert told["platform"] == "linux"
    assert 0 < told["startup"] < all_there - begun
    # A tick of the page's clock may be missing.
    assert 1.0 < played <= told["played"] + 0.3
    assert told["played"] + told["stalled"] <= over - begun
    quality = figures["quality_metrics"]
    assert quality["reported_sessions"] == 1
    assert quality["startup_time"] == pytest.approx(told["startup"], abs=0.001)
    assert quality["buffer_rate"] == pytest.approx(told["stalled"] / (told["played"] + told["stalled"]), abs=0.001)

    # And nothing of it tells who that was.
    data = (Path(server.folder) / "data" / "mediaserver.db").read_bytes()
    assert b"token-one" not in data
    assert b"a client/1.0" not in data


def test_a_picture_that_stood_still_is_in_the_buffer_rate(server: Server, clips: Clips, peers: Peers, tab: OpenTab) -> None:
    panel = Panel(server)
    number = panel.new_stream("Show", KEY)
    peers.ffmpeg_push(clips.get(), server.rtmp(KEY))
    server.wait_live(f"stream_{number}")
    page = tab(strict=False)
    page.open(server.url(f"/watch/stream_{number}"))
    page.wait_state("playing")
    page.numbers(20)
    page.page.context.set_offline(True)
    page.wait_state("stalled")
    page.page.context.set_offline(False)
    page.wait_state("playing")
    page.numbers(20)
    page.open(server.url("/healthz"))

    def told() -> tuple[float, float]:
        """Seconds that moved, and that stood still. Who was away for long is a session anew."""
        sessions = [session for session in panel.sessions() if session["played"] is not None]
        return sum(session["played"] for session in sessions), sum(session["stalled"] for session in sessions)

    wait_until(lambda: told()[1] >= 0.5, "a report of the picture that stood still", 30)

    def summed_up() -> bool:
        """The page's last report may come between the two looks."""
        played, stalled = told()
        quality = panel.ask("GET", f"/api/analytics/streams/{number}")["metrics"]["quality_metrics"]
        rate = stalled / (played + stalled)
        return 0 < rate < 1 and abs(quality["buffer_rate"] - rate) <= 0.001

    wait_until(summed_up, "a buffer rate that is the session's")


_LOOK = """async ([url, looks]) => {
  const {Quality} = await import(url);
  const quality = new Quality();
  let [at, position] = [1000, 0];
  quality.begin(at);
  for (const [times, moves, ready, forgiven] of looks) {
    for (let each = 0; each < times; each += 1) {
      at += 250;
      position += moves ? 0.25 : 0;
      if (forgiven) quality.forgive();
      quality.look(at, position, ready);
    }
  }
  return quality.figures();
}"""

# How often, whether the picture moves, whether there is one, whether standing still is in order.
_STARTING, _PLAYING, _STILL, _PAUSED = (False, False, False), (True, True, False), (False, True, False), (False, True, True)
_TOLD = {
    "nothing was seen": ([(8, *_STARTING)], None),
    "a start and a minute": (
        [(7, *_STARTING), (240, *_PLAYING)],
        {"startup": 2.0, "played": 60.0, "stalled": 0},
    ),
    "a moment that nobody notices": (
        [(1, *_PLAYING), (1, *_STILL), (3, *_PLAYING)],
        {"startup": 0.25, "played": 1.0, "stalled": 0},
    ),
    "two that somebody does": (
        [(1, *_PLAYING), (4, *_STILL), (1, *_PLAYING), (2, *_STARTING), (1, *_PLAYING)],
        {"startup": 0.25, "played": 0.75, "stalled": 1.5},
    ),
    "one that was not over when he left": (
        [(4, *_PLAYING), (4, *_STILL)],
        {"startup": 0.25, "played": 1.0, "stalled": 1.0},
    ),
    "a pause": (
        [(4, *_PLAYING), (40, *_PAUSED), (8, *_STILL), (4, *_PLAYING), (4, *_STILL)],
        {"startup": 0.25, "played": 2.0, "stalled": 1.0},
    ),
    "nobody who would wait any more": (
        [(4, *_PLAYING), (4 * 600, *_STILL)],
        {"startup": 0.25, "played": 1.0, "stalled": 60},
    ),
    "a start that waited for a hand": (
        [(4, *_PAUSED[:1], False, True), (4, *_PLAYING)],
        {"startup": None, "played": 1.0, "stalled": 0},
    ),
}


def test_what_the_page_tells_is_what_a_viewer_would_say(server: Server, tab: OpenTab) -> None:
    page = tab()
    page.open(server.url("/healthz"))
    for name, (looks, figures) in _TOLD.items():
        told = page.page.evaluate(_LOOK, [server.url("/static/web/quality.js"), [list(look) for look in looks]])
        assert told == figures, name
