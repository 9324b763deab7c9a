"""Players change from one rendition to another in mid-stream, and every picture is where it belongs."""

import statistics
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser import OpenTab, Tab
from tests.e2e.laddertown import ROUND, LadderTown
from tests.media import BITS, Clips
from tests.peers import wait_until

FRAME_RATE = 25
FRAMES = ROUND * FRAME_RATE // 1000

#: Notes the number, the time and the height of every picture that is presented.
_WATCH = """([bits]) => {
  const video = document.querySelector('video');
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d', {willReadFrequently: true});
  window.seen = [];
  const look = (_now, frame) => {
    const {videoWidth: width, videoHeight: height} = video;
    [canvas.width, canvas.height] = [width, height];
    context.drawImage(video, 0, 0);
    let number = 0;
    for (let bit = 0; bit < bits; bit += 1) {
      const {data} = context.getImageData(Math.floor((bit + 0.5) * width / bits) - 1, Math.floor(height / 8), 2, 2);
      number = number * 2 + (data[0] > 125 ? 1 : 0);
    }
    window.seen.push([number, frame.mediaTime, height]);
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
}"""

_PAGE = "() => { document.body.innerHTML = '<video muted autoplay playsinline></video>'; }"

_HLS = """async ([url, source, settings]) => {
  const {default: Hls} = await import(url + 'vendor/hls.min.mjs');
  const hls = new Hls(settings);
  window.player = hls;
  window.errors = [];
  hls.on(Hls.Events.ERROR, (_, {details, fatal, error, frag}) => {
    window.errors.push([details, fatal, String(error?.message), frag?.sn]);
  });
  hls.attachMedia(document.querySelector('video'));
  hls.loadSource(source + 'index.m3u8');
}"""

_DASH = """async ([url, source]) => {
  const {MediaPlayer} = await import(url + 'vendor/dash.min.mjs');
  const player = MediaPlayer().create();
  player.updateSettings({streaming: {abr: {autoSwitchBitrate: {video: false}}}});
  player.initialize(document.querySelector('video'), source + 'manifest.mpd', true);
  window.player = player;
  window.errors = [];
  player.on(MediaPlayer.events.ERROR, ({error}) => window.errors.push(error.message));
}"""


@pytest.fixture(scope="module")
def server(clips: Clips) -> Iterator[LadderTown]:
    """What the tabs take for their server."""
    with LadderTown(clips) as town:
        wait_until(lambda: "EXT-X-GAP" not in town.get("96p/video.m3u8"), "a playlist without gaps", 30)
        yield town


def start(tab: OpenTab, server: LadderTown, script: str, *settings: dict[str, Any]) -> Tab:
    page = tab()
    page.open(server.url("/healthz"))
    page.page.evaluate(_PAGE)
    page.page.evaluate(_WATCH, [BITS])
    page.page.evaluate(script, [server.url("/static/web/"), server.url("/live/show/"), *settings])
    page.wait("window.seen.length > 25")
    return page


def height(page: Tab, height: int) -> str:
    return f"window.seen.slice(-5).every(([, , h]) => h === {height}) && window.seen.length > 5"


def assert_seamless(page: Tab, since: float) -> None:
    """Every picture shows what belongs to its time, whatever rendition it is from, and none comes again."""
    seen = [entry for entry in page.page.evaluate("() => window.seen") if entry[1] >= since]
    first = seen[0][0] - seen[0][1] * FRAME_RATE
    strays: dict[int, list[float]] = {}
    for number, time, shown in seen:
        strays.setdefault(shown, []).append((number - time * FRAME_RATE - first + FRAMES / 2) % FRAMES - FRAMES / 2)
    # A slow machine draws the next picture now and then, before the one that it was told of was looked at.
    assert {shown: round(statistics.median(found)) for shown, found in strays.items()} == dict.fromkeys(strays, 0)
    times = [time for _, time, _ in seen]
    assert times == sorted(times)


def complaints(page: Tab) -> list[Any]:
    """What the library met, but for an empty buffer: a slow machine has that."""
    return [error for error in page.page.evaluate("() => window.errors") if not str(error[0]).startswith("bufferStalled")]


def now(page: Tab) -> float:
    return float(page.video()["time"])


def test_hls_js_changes_level_without_a_seam(server: LadderTown, tab: OpenTab) -> None:
    page = start(tab, server, _HLS, {})
    heights = page.page.evaluate("() => window.player.levels.map((level) => level.height)")
    assert sorted(heights) == [96, 192, 384]
    begun = now(page) + 0.5
    for wanted in (96, 384, 192, 96):
        page.page.evaluate("(level) => { window.player.loadLevel = level; }", heights.index(wanted))
        page.wait(height(page, wanted))
    assert_seamless(page, begun)
    assert complaints(page) == []


def test_dash_js_changes_representation_without_a_seam(server: LadderTown, tab: OpenTab) -> None:
    page = start(tab, server, _DASH)
    begun = now(page) + 1.0
    page.wait(f"document.querySelector('video').currentTime > {begun}")
    for wanted in (96, 384, 192):
        page.page.evaluate(
            """(height) => {
              const found = window.player.getRepresentationsByType('video').find((each) => each.height === height);
              window.player.setRepresentationForTypeById('video', found.id);
            }""",
            wanted,
        )
        page.wait(height(page, wanted))
    assert_seamless(page, begun)
    assert complaints(page) == []


@pytest.mark.parametrize("kind", ["ll-hls", "hls", "dash"])
def test_the_page_lets_the_viewer_choose(kind: str, server: LadderTown, tab: OpenTab) -> None:
    page = tab()
    page.open(server.url(f"/watch/show?player={kind}"))
    page.wait_state("playing")
    page.page.wait_for_selector("#quality:not([hidden])", state="attached")
    offered = page.page.evaluate("() => [...document.querySelectorAll('#quality option')].map((each) => each.textContent)")
    assert offered == ["Auto", "384p", "192p", "96p"]
    for height in (96, 384):
        page.page.select_option("#quality", f"{height}p", force=True)
        page.wait(f"document.querySelector('video').videoHeight === {height}", timeout=40)
    page.page.select_option("#quality", "", force=True)
    page.numbers(8)


def test_hls_js_goes_on_where_its_rendition_is_given_up_and_takes_it_again(server: LadderTown, tab: OpenTab) -> None:
    page = tab(strict=False)
    page.open(server.url("/healthz"))
    page.page.evaluate(_PAGE)
    page.page.evaluate(_WATCH, [BITS])
    page.page.evaluate(_HLS, [server.url("/static/web/"), server.url("/live/show/"), {}])
    page.wait("window.seen.length > 25")
    heights = page.page.evaluate("() => window.player.levels.map((level) => level.height)")
    # It takes this one by its own choice, so it may choose again.
    page.page.evaluate("(level) => { window.player.autoLevelCapping = level; }", heights.index(192))
    page.wait(height(page, 192))
    try:
        server.give_up("192p")
        page.page.evaluate("() => { window.player.autoLevelCapping = -1; }")
        page.wait("window.seen.slice(-5).every(([, , h]) => h !== 192)")
        assert "192p" not in server.get("index.m3u8")
    finally:
        server.restore("192p")
    assert not [error for error in complaints(page) if error[1]], "a fatal error"
    wait_until(lambda: "192p" in server.get("index.m3u8"), "the rendition in the list")
    # A rendition that has come back is there for whoever reads the list now.
    page.page.evaluate("() => { window.player.destroy(); window.seen = []; }")
    page.page.evaluate(_HLS, [server.url("/static/web/"), server.url("/live/show/"), {}])
    page.wait("window.seen.length > 25")
    page.page.evaluate("() => { window.player.loadLevel = window.player.levels.findIndex(({height}) => height === 192); }")
    page.wait(height(page, 192))
    assert complaints(page) == []


@pytest.mark.parametrize("kind", ["ll-hls", "dash"])
def test_the_page_goes_on_where_the_chosen_rendition_is_given_up(kind: str, server: LadderTown, tab: OpenTab) -> None:
    page = tab(strict=False)
    page.open(server.url(f"/watch/show?player={kind}"))
    page.wait_state("playing")
    page.page.wait_for_selector("#quality:not([hidden])", state="attached")
    page.page.select_option("#quality", "192p", force=True)
    page.wait("document.querySelector('video').videoHeight === 192", timeout=40)
    try:
        server.give_up("192p")
        page.wait("[96, 384].includes(document.querySelector('video').videoHeight)", timeout=40)
        page.wait_state("playing")
        page.numbers(8)
    finally:
        server.restore("192p")
        wait_until(lambda: "192p" in server.get("index.m3u8"), "the rendition in the list")
