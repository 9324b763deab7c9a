"""A push from ffmpeg is seen in Chromium: decoded pictures whose numbers advance, by every way to play."""

import itertools
import re
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.browser import OpenTab, Tab
from tests.media import Clips
from tests.peers import Peers, Server, running_server

FRAMES = 100
FRAME_RATE = 25

#: The page plays no faster than this where it is late.
MOST_HURRY = 1.5
_PART = re.compile(r"/[0-9]+\.[0-9]+\.m4s$")

#: A bare player on a bare page, with the library's own defaults: what somebody else's site would do.
_BARE = {
    "hls.js": """async ([url, source]) => {
      const {default: Hls} = await import(url + 'vendor/hls.min.mjs');
      const hls = new Hls();
      hls.attachMedia(document.querySelector('video'));
      hls.loadSource(source + 'index.m3u8');
      window.player = hls;
    }""",
    "dash.js": """async ([url, source]) => {
      const {MediaPlayer} = await import(url + 'vendor/dash.min.mjs');
      const player = MediaPlayer().create();
      player.initialize(document.querySelector('video'), source + 'manifest.mpd', true);
      window.player = player;
    }""",
}

#: Half a second was played without a seek.
_UNDER_WAY = """(() => {
  const {played} = document.querySelector('video');
  const last = played.length - 1;
  return last >= 0 && played.end(last) - played.start(last) > 0.5;
})()"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all: each stream has a name of its own."""
    with running_server(tmp_path_factory.mktemp("play")) as started:
        yield started


@pytest.fixture(scope="module")
def show(server: Server, clips: Clips, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """``show`` is live, and nobody ends it."""
    peers = Peers(tmp_path_factory.mktemp("peers"))
    peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    try:
        server.wait_live("show", 30)
        yield
    finally:
        peers.stop()


def assert_plays(tab: Tab) -> None:
    """Pictures are decoded, are those of the clip, and go on as its time does."""
    looks = [look(tab, -1)]
    while len(looks) < 8:
        looks.append(look(tab, looks[-1].number))
    assert all(0 <= seen.number < FRAMES for seen in looks), looks
    for before, after in itertools.pairwise(looks):
        # On a slow machine much may pass between two looks, and a picture may be late; it is not a second beside its time.
        elapsed = after.time - before.time
        astray = (after.number - before.number - elapsed * FRAME_RATE + FRAMES / 2) % FRAMES - FRAMES / 2
        assert abs(astray) < FRAME_RATE, looks
        assert 0 <= elapsed < MOST_HURRY * (after.at - before.at) + 1, looks
    begun = tab.video()
    assert (begun["width"], begun["height"], begun["error"]) == (320, 192, None)
    tab.wait(f"document.querySelector('video').currentTime > {begun['time'] + 1}")
    assert tab.video()["frames"] > begun["frames"]


class Look(NamedTuple):
    """When (seconds, any clock) the picture at ``time`` was looked at, and its number."""

    at: float
    time: float
    number: int


def look(tab: Tab, last: int) -> Look:
    """At another picture than the last, and no longer than a few pictures."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        begun, number, at = tab.video()["time"], tab.number(), time.monotonic()
        if number not in (-1, last) and tab.video()["time"] < begun + 0.2:
            return Look(at, begun, number)
        tab.page.wait_for_timeout(30)
    raise AssertionError(f"no other picture than {last}: {tab.describe()}")


@pytest.mark.usefixtures("show")
@pytest.mark.parametrize("kind", ["ll-hls", "hls", "dash"])
def test_the_page_plays(kind: str, server: Server, tab: OpenTab) -> None:
    page = tab()
    page.open(server.url(f"/watch/show?player={kind}"))
    page.wait_state("playing")
    assert_plays(page)
    page.wait("/^[0-9.]+ s$/.test(document.querySelector('#stat-latency').textContent)")
    page.wait("/bit.s$/.test(document.querySelector('#stat-bitrate').textContent)")
    assert page.text("#stat-size") == "320\u00d7192"
    assert page.page.is_checked(f"#picker input[value='{kind}']")
    wanted = "manifest.mpd" if kind == "dash" else "index.m3u8"
    assert any(wanted in url for url in page.asked)
    assert any(_PART.search(url) for url in page.asked) == (kind == "ll-hls")


@pytest.mark.usefixtures("show")
@pytest.mark.parametrize("library", ["hls.js", "dash.js"])
def test_the_library_with_its_own_defaults_plays(library: str, server: Server, tab: OpenTab) -> None:
    page = tab()
    page.open(server.url("/healthz"))
    page.page.evaluate("() => { document.body.innerHTML = '<video muted autoplay playsinline></video>'; }")
    page.page.evaluate(_BARE[library], [server.url("/static/web/"), server.url("/live/show/")])
    # A library shows the first picture that it has loaded, and then may seek to where it wants to play.
    page.wait(_UNDER_WAY)
    assert_plays(page)


def test_sound_alone_plays(server: Server, peers: Peers, clips: Clips, tab: OpenTab) -> None:
    peers.ffmpeg_push(clips.get(video=""), server.rtmp("radio"))
    server.wait_live("radio")
    page = tab()
    page.open(server.url("/watch/radio"))
    page.wait_state("playing")
    before = page.video()
    assert before["width"] == 0
    page.wait(f"document.querySelector('video').currentTime > {before['time'] + 1}")
    page.wait("document.querySelector('#tracks').textContent.startsWith('Sound only')")
    assert page.text(".no-picture") == "Sound only"
    assert page.page.is_visible(".no-picture")


def test_a_picture_alone_plays(server: Server, peers: Peers, clips: Clips, tab: OpenTab) -> None:
    peers.ffmpeg_push(clips.get(audio=""), server.rtmp("silent"))
    server.wait_live("silent")
    page = tab()
    page.open(server.url("/watch/silent"))
    page.wait_state("playing")
    assert_plays(page)


def test_av1_and_opus_by_enhanced_rtmp_play(server: Server, peers: Peers, clips: Clips, tab: OpenTab) -> None:
    peers.pyav_push(clips.get(video="av1", audio="opus"), server.rtmp("modern"))
    server.wait_live("modern")
    page = tab()
    page.open(server.url("/watch/modern"))
    page.wait_state("playing")
    assert_plays(page)
    page.wait("document.querySelector('#tracks').textContent.includes('AV1 · Opus')")


def test_hevc_plays_or_its_sound_does_and_the_page_says_why(server: Server, peers: Peers, clips: Clips, tab: OpenTab) -> None:
    peers.pyav_push(clips.get(video="hevc"), server.rtmp("hevc"))
    server.wait_live("hevc")
    page = tab(strict=False)
    page.open(server.url("/watch/hevc"))
    page.wait_state("playing")
    if page.page.evaluate("() => MediaSource.isTypeSupported('video/mp4; codecs=\"hvc1.1.6.L93.B0\"')"):
        assert_plays(page)
        return
    page.wait("!document.querySelector('#lacking').hidden")
    assert page.text("#lacking") == "The picture is HEVC, which this browser cannot play: push H.264 (-c:v libx264)."
