"""The watch page waits, starts by itself, and comes back after faults; nobody has to reload it."""

from tests.browser import OpenTab
from tests.conftest import Serve
from tests.media import Clips
from tests.peers import Peers, Server


def test_it_waits_starts_by_itself_and_waits_again(serve: Serve, peers: Peers, clips: Clips, tab: OpenTab) -> None:
    server = serve(rtmp={"reconnect_grace": 1.0})
    page = tab(own=server)
    page.open(server.url("/watch/show"))
    page.wait_state("waiting")
    assert page.text("#veil-title") == "The stream is offline"
    assert page.text("#badge").lower() == "offline"
    push = peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    page.wait_state("playing")
    page.numbers(4)
    push.stop()
    page.wait_state("waiting", timeout=60)
    peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    page.wait_state("playing", timeout=60)
    page.numbers(4)


def test_last_pictures_that_come_again_and_again_are_no_stream(serve: Serve, peers: Peers, clips: Clips, tab: OpenTab) -> None:
    """dash.js does that now and then when a stream is over: it seeks the live edge that it reckons with."""
    server = serve(rtmp={"reconnect_grace": 0.0})
    push = peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    page = tab(strict=False, own=server)
    page.open(server.url("/watch/show"))
    page.wait_state("playing")
    page.wait("document.querySelector('video').currentTime > 3")
    push.stop()
    page.page.evaluate("() => { setInterval(() => { document.querySelector('video').currentTime -= 0.5; }, 400); }")
    page.wait_state("waiting", timeout=30)


def test_a_publisher_that_comes_back_is_seen_again(server: Server, peers: Peers, clips: Clips, tab: OpenTab) -> None:
    push = peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    server.wait_live("show")
    page = tab(strict=False)
    page.open(server.url("/watch/show"))
    page.wait_state("playing")
    page.numbers(4)
    push.stop()
    page.wait("document.querySelector('#badge').textContent === 'Reconnecting'")
    peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    page.wait("document.querySelector('#badge').textContent === 'Live'")
    page.wait_state("playing")
    page.numbers(8)


def test_it_comes_back_after_the_server_was_killed_and_restarted(
    serve: Serve, server: Server, peers: Peers, clips: Clips, tab: OpenTab
) -> None:
    peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    server.wait_live("show")
    page = tab(strict=False)
    page.open(server.url("/watch/show"))
    page.wait_state("playing")
    server.kill()
    page.wait_state("lost")
    assert page.text("#veil-title") == "The server cannot be reached"
    server.start()
    server.wait_ready()
    page.wait_state("waiting")
    peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    page.wait_state("playing", timeout=60)
    page.numbers(8)


#: What a browser does before the first gesture. Not left to Chromium itself: every question that Playwright asks a page counts
#: as a gesture there.
_NO_SOUND = """
  const {play} = HTMLMediaElement.prototype;
  let gesture = false;
  addEventListener('pointerdown', () => { gesture = true; }, true);
  HTMLMediaElement.prototype.play = function () {
    if (this.muted || gesture) return play.call(this);
    return Promise.reject(new DOMException('play() failed because the user did not interact', 'NotAllowedError'));
  };
"""


def test_where_sound_needs_a_gesture_it_starts_muted_and_says_so(
    server: Server, peers: Peers, clips: Clips, tab: OpenTab
) -> None:
    peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    server.wait_live("show")
    page = tab()
    page.page.add_init_script(_NO_SOUND)
    page.open(server.url("/watch/show"))
    page.wait_state("playing")
    page.numbers(4)
    assert page.video()["muted"]
    page.page.click("#unmute")
    assert not page.video()["muted"]
    assert page.page.is_hidden("#unmute")
    page.numbers(4)
