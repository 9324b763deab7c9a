"""What people see and do on the pages."""

from pathlib import Path

import pytest

from tests.browser import OpenTab
from tests.conftest import Serve
from tests.e2e.audience import PASSWORD, Panel
from tests.e2e.authority import Authority
from tests.media import Clips
from tests.peers import Peers, Server, free_port

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
    # Asked for before there is nothing any more.
    page.wait("document.querySelector('.stream .still img.shown')")
    push.stop()
    page.wait("!document.querySelector('#empty').hidden && !document.querySelector('.stream')", timeout=40)


def test_a_stream_of_the_api_is_called_what_its_owner_calls_it(serve: Serve, peers: Peers, clips: Clips, tab: OpenTab) -> None:
    server = serve(auth={"admin_password": PASSWORD})
    number = Panel(server).new_stream("Aunt <b>May</b> on air", "a-secret-key-4711")
    name = f"stream_{number}"
    page, home = tab(own=server), tab(own=server)
    page.open(server.url(f"/watch/{name}"))
    page.wait_state("waiting")
    # Nobody is told what there is to come.
    assert page.text("#title") == name
    peers.ffmpeg_push(clips.get(), server.rtmp("a-secret-key-4711"))
    page.wait_state("playing")
    page.wait("document.querySelector('#title').textContent === 'Aunt <b>May</b> on air'")
    assert page.page.title() == "Aunt <b>May</b> on air · mediaserver"
    assert page.page.url == server.url(f"/watch/{name}")
    home.open(server.url("/"))
    home.wait("document.querySelector('.stream h2 a')?.textContent === 'Aunt <b>May</b> on air'")
    assert home.page.get_attribute(".stream h2 a", "href") == f"/watch/{name}"
    assert "secret" not in page.page.content() + home.page.content()


def test_home_shows_a_picture_of_what_is_live_and_an_icon_of_sound(
    server: Server, peers: Peers, clips: Clips, tab: OpenTab
) -> None:
    peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    peers.ffmpeg_push(clips.get(video=""), server.rtmp("radio"))
    server.wait_live("show")
    server.wait_live("radio")
    page = tab()
    page.open(server.url("/"))
    page.wait("document.querySelector('[data-name=show] .still img.shown')?.naturalWidth === 320")
    page.wait("document.querySelector('[data-name=radio] .still.sound-only')")
    assert not any("/live/radio/thumbnail.jpg" in url for url in page.asked)
    page.page.click("[data-name=show] .still")
    page.wait_state("playing")


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
    assert "API" in page.text("#key-hint")
    assert "auth.stream_keys" in page.text("#key-hint")
    assert page.page.get_attribute("#key-hint a", "href") == "/api/docs"
    assert page.page.is_hidden("#obs-tls-row")
    assert "canary" not in page.page.content()


def test_both_pages_name_the_address_with_tls_where_there_is_one(serve: Serve, tab: OpenTab, tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).issue("IP:127.0.0.1")
    port = free_port()
    server = serve(rtmp={"tls_port": port, "tls_cert": certificate, "tls_key": key})
    page = tab(own=server)
    page.open(server.url("/"))
    assert page.text("#obs-tls") == f"rtmps://127.0.0.1:{port}/live"
    page.open(server.url("/watch/show"))
    page.page.click("summary")
    assert page.text("#a-rtmps") == f"rtmps://127.0.0.1:{port}/live/show"


def test_on_a_narrow_screen_every_address_is_there_in_full(idle: Server, tab: OpenTab) -> None:
    page = tab(own=idle)
    page.page.set_viewport_size({"width": 360, "height": 740})
    for path, opener in (("/", ""), (f"/watch/{'long-name-' * 8}", "summary")):
        page.open(idle.url(path))
        if opener:
            page.page.click(opener)
        page.wait("document.querySelector('.copyables output').textContent")
        cut = "[...document.querySelectorAll('.copyables output')].filter((each) => each.scrollWidth > each.clientWidth).length"
        assert page.page.evaluate(cut) == 0
        assert page.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_what_is_offline_has_nothing_to_pause_and_starts_by_itself(
    server: Server, peers: Peers, clips: Clips, tab: OpenTab
) -> None:
    page = tab()
    page.open(server.url("/watch/show"))
    page.wait_state("waiting")
    assert page.page.is_hidden("#play")
    assert page.page.is_hidden("#to-live")
    page.page.keyboard.press("k")
    peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    page.wait_state("playing")
    page.numbers(4)
    assert page.page.is_visible("#play")
    assert not page.video()["paused"]


#: The page is told that the publisher is away only once ``tell`` is true.
_TELL_LATE = """() => {
  const {json} = Response.prototype;
  Response.prototype.json = async function () {
    const answer = await json.call(this);
    if (answer.stream?.state === 'away' && !window.tell) answer.stream.state = 'live';
    return answer;
  };
}"""


def test_who_waits_for_the_publisher_is_not_told_that_the_line_is_slow(
    serve: Serve, peers: Peers, clips: Clips, tab: OpenTab
) -> None:
    server = serve(rtmp={"reconnect_grace": 120.0})
    push = peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    server.wait_live("show")
    page = tab(own=server)
    page.page.add_init_script(f"({_TELL_LATE})()")
    page.open(server.url("/watch/show"))
    page.wait_state("playing")
    push.stop()
    page.wait_state("stalled")
    page.page.evaluate("() => { window.tell = true; }")
    page.wait("document.querySelector('#badge').textContent === 'Reconnecting'")
    page.wait("document.querySelector('#veil-title').textContent === 'The publisher lost its connection'")
    peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    page.wait_state("playing")
    page.numbers(4)


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
