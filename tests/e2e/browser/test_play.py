"""A push from ffmpeg is seen in Chromium: decoded pictures whose numbers advance, by every way to play."""

import itertools
import re

import pytest

from tests.browser import OpenTab, Tab
from tests.media import Clips
from tests.peers import Peers, Server

FRAMES = 100
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


def assert_plays(tab: Tab) -> None:
    """Pictures are decoded, are those of the clip, and go on."""
    numbers = tab.numbers(8)
    assert all(0 <= number < FRAMES for number in numbers), numbers
    # One loop of the clip may end in between; any other step is forward and small.
    assert sum((b - a) % FRAMES > 25 for a, b in itertools.pairwise(numbers)) == 0, numbers
    before = tab.video()
    assert (before["width"], before["height"], before["error"]) == (320, 192, None)
    tab.wait(f"document.querySelector('video').currentTime > {before['time'] + 1}")
    after = tab.video()
    assert after["frames"] > before["frames"]


@pytest.mark.parametrize("kind", ["ll-hls", "hls", "dash"])
def test_the_page_plays(kind: str, server: Server, peers: Peers, clips: Clips, tab: OpenTab) -> None:
    peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    server.wait_live("show")
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


@pytest.mark.parametrize("library", ["hls.js", "dash.js"])
def test_the_library_with_its_own_defaults_plays(library: str, server: Server, peers: Peers, clips: Clips, tab: OpenTab) -> None:
    peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    server.wait_live("show")
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
    page.wait("document.querySelector('#tracks').textContent.startsWith('Audio only')")


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


def test_codecs_that_the_browser_cannot_decode_are_told_in_words(
    server: Server, peers: Peers, clips: Clips, tab: OpenTab
) -> None:
    peers.pyav_push(clips.get(video="hevc"), server.rtmp("hevc"))
    server.wait_live("hevc")
    page = tab(strict=False)
    page.open(server.url("/watch/hevc"))
    if page.page.evaluate("() => MediaSource.isTypeSupported('video/mp4; codecs=\"hvc1.1.6.L93.B0\"')"):
        page.wait_state("playing")
        return
    page.wait_state("failed")
    assert "cannot decode" in page.text("#veil-text")
    assert page.page.is_visible("#retry")
