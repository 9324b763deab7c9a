"""What people see and do on the pages."""

import pytest

from tests.browser import OpenTab
from tests.conftest import Serve
from tests.media import Clips
from tests.peers import Peers, Server

#: Notes every state that the player of the page comes into, however short.
_NOTE_STATES = """() => {
  const player = document.querySelector('#player');
  window.states = [];
  new MutationObserver(() => window.states.push(player.dataset.state)).observe(player, {attributeFilter: ['data-state']});
}"""


def test_home_lists_what_goes_live_and_what_ends(serve: Serve, peers: Peers, clips: Clips, tab: OpenTab) -> None:
    server = serve(rtmp={"reconnect_grace": 0.0})
    page = tab(own=server)
    page.open(server.url("/"))
    page.wait("!document.querySelector('#empty').hidden")
    push = peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    page.wait("document.querySelector('#streams')?.textContent.includes('show')")
    page.wait("/320.192 · 25(.\\d+)? fps · H.264/.test(document.querySelector('.stream .facts').textContent)")
    page.wait("/\\d (k|M)bit.s/.test(document.querySelector('.stream .facts').textContent)")
    page.page.click("text=Watch")
    page.wait_state("playing")
    assert page.page.url == server.url("/watch/show")
    page.page.go_back()
    push.stop()
    page.wait("!document.querySelector('#empty').hidden && !document.querySelector('.stream')", timeout=40)


def test_home_says_how_to_push_and_the_words_work(server: Server, peers: Peers, clips: Clips, tab: OpenTab) -> None:
    page = tab(permissions=["clipboard-read", "clipboard-write"])
    page.open(server.url("/"))
    page.page.fill("#name", "gala.2")
    assert page.text("#obs-server") == server.rtmp("").rstrip("/")
    assert page.text("#obs-key") == "gala.2"
    assert page.text("#command").endswith(f"-f flv {server.rtmp('gala.2')}")
    assert page.text("#then-link") == server.url("/watch/gala.2")
    page.page.click("[data-copy=obs-server]")
    page.wait("document.querySelector('#toast').textContent === 'Copied'")
    address = page.page.evaluate("() => navigator.clipboard.readText()")
    peers.ffmpeg_push(clips.get(), f"{address}/{page.text('#obs-key')}")
    server.wait_live("gala.2")
    page.page.fill("#name", "not/a name")
    assert page.page.get_attribute("#name", "aria-invalid") == "true"


def test_home_asks_for_the_configured_key_where_keys_are_needed(serve: Serve, tab: OpenTab) -> None:
    closed = serve(auth={"publish": "keys", "stream_keys": {"show": "canary-key-1"}})
    page = tab(own=closed)
    page.open(closed.url("/"))
    assert page.page.is_hidden("#name")
    assert page.page.is_visible("#key-hint")
    assert page.text("#command").endswith("/YOUR-STREAM-KEY")
    assert "canary" not in page.page.content()


def test_the_picker_changes_the_player_and_the_address(server: Server, peers: Peers, clips: Clips, tab: OpenTab) -> None:
    peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    server.wait_live("show")
    page = tab()
    page.open(server.url("/watch/show"))
    page.wait_state("playing")
    assert page.page.is_checked("#picker input[value='ll-hls']")
    page.page.evaluate(_NOTE_STATES)
    for kind in ("dash", "hls", "ll-hls"):
        page.page.evaluate("() => { window.states = []; }")
        page.page.check(f"#picker input[value='{kind}']", force=True)
        assert page.page.url.endswith(f"?player={kind}")
        page.wait("window.states.includes('connecting') && window.states.at(-1) === 'playing'", timeout=30)
        page.numbers(3)
    page.page.reload()
    assert page.page.is_checked("#picker input[value='ll-hls']")


def test_keys_and_buttons_pause_mute_and_go_live(server: Server, peers: Peers, clips: Clips, tab: OpenTab) -> None:
    peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    server.wait_live("show")
    page = tab()
    page.open(server.url("/watch/show"))
    page.wait_state("playing")
    page.page.keyboard.press("m")
    assert page.video()["muted"]
    assert page.page.get_attribute("#mute", "aria-pressed") == "true"
    page.page.keyboard.press("k")
    page.wait("document.querySelector('#video').paused")
    stopped = page.video()["time"]
    # Longer than a picture may stand still that nobody has stopped.
    page.page.wait_for_timeout(7000)
    assert page.video()["time"] == stopped
    assert page.state == "playing"
    page.page.click("#to-live", force=True)
    page.wait(f"document.querySelector('#video').currentTime > {stopped + 5}")
    page.numbers(3)
    page.page.click("#mute", force=True)
    assert not page.video()["muted"]
    page.page.reload()
    page.wait_state("playing")
    assert not page.video()["muted"]


def test_embedded_in_another_page_it_is_the_picture_alone(server: Server, peers: Peers, clips: Clips, tab: OpenTab) -> None:
    peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    server.wait_live("show")
    page = tab()
    page.open(server.url("/healthz"))
    page.page.evaluate(
        "(url) => { document.body.innerHTML = `<iframe src='${url}' width='640' height='360'></iframe>`; }",
        server.url("/watch/show"),
    )
    frame = page.page.frame_locator("iframe")
    frame.locator("#player[data-state=playing]").wait_for(timeout=30000)
    assert frame.locator("aside").is_hidden()
    assert frame.locator("header").is_hidden()
    assert frame.locator("#controls").is_visible()


@pytest.mark.parametrize("audio", ["", "aac"])
def test_what_hls_cannot_carry_is_said(audio: str, server: Server, peers: Peers, clips: Clips, tab: OpenTab) -> None:
    push = peers.ffmpeg_push(clips.get(video="flv1", audio=audio), server.rtmp("old"))
    server.wait_live("old")
    page = tab(strict=bool(audio))
    page.open(server.url("/watch/old"))
    if audio:
        page.wait_state("playing")
        page.wait("document.querySelector('#tracks').textContent.endsWith('H.263 · AAC · not seen here')")
    else:
        page.wait_state("uncarried")
        assert page.text("#veil-text") == "HLS and DASH cannot carry H.263. Players of RTMP and HTTP-FLV can."
        status, _, body = server.get("/live/old/index.m3u8")
        assert (status, body) == (404, b"HLS and DASH cannot carry flv1: play this stream by RTMP or HTTP-FLV\n")
        push.stop()
        peers.ffmpeg_push(clips.get(), server.rtmp("old"))
        page.wait_state("playing")
        page.numbers(4)
