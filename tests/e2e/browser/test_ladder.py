"""Players change from one rendition to another in mid-stream, and every picture is where it belongs."""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser import OpenTab, Tab
from tests.e2e.laddertown import DELAY, ROUND, LadderTown
from tests.media import BITS, Clips
from tests.peers import wait_until

FRAME_RATE = 25
FRAMES = ROUND * FRAME_RATE // 1000

#: Seconds from one keyframe of the clips to the next.
GOP = 1.0

#: Notes the number, the time and the height of every picture that is presented, and from when to when the page stood still.
_WATCH = """([bits]) => {
  const video = document.querySelector('video');
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d', {willReadFrequently: true});
  window.seen = [];
  window.stood = [];
  let before = Date.now() / 1000;
  setInterval(() => {
    const now = Date.now() / 1000;
    if (now - before > 0.1) window.stood.push([before, now]);
    before = now;
  }, 50);
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

#: A take in which the machine left the server or the page no time for ``BREATH`` of ``SPELL`` seconds, which is what players
#: have to play, proves nothing. It is done again, unless so much time has passed that the last one counts whatever happened.
BREATH, SPELL, ENOUGH = 0.5, 1.5, 50.0

#: Notes up to where each level was loaded, and the last of them. ``automatic``: it may choose its level itself.
_HLS = """async ([url, source, automatic]) => {
  const {default: Hls} = await import(url + 'vendor/hls.min.mjs');
  const hls = new Hls();
  window.player = hls;
  window.errors = [];
  window.loaded = {};
  hls.on(Hls.Events.ERROR, (_, {details, fatal, error, frag}) => {
    const left = frag?.type === 'main' && frag.level !== hls.loadLevel;
    const what = left ? `${details} on a level that was left` : details;
    window.errors.push([what, fatal, String(error?.message), frag?.sn]);
  });
  hls.on(Hls.Events.FRAG_LOADED, (_, {frag, part}) => {
    if (frag.type === 'main') window.loaded[frag.level] = window.loaded.last = (part ?? frag).end;
  });
  if (!automatic) hls.on(Hls.Events.MANIFEST_PARSED, () => { hls.loadLevel = hls.firstLevel; });
  hls.attachMedia(document.querySelector('video'));
  hls.loadSource(source + 'index.m3u8');
}"""

#: How much (seconds) there is to play.
_AHEAD = """(({buffered, currentTime}) => buffered.length && buffered.end(buffered.length - 1) - currentTime)(
  document.querySelector('video'))"""

#: The ends of what is buffered without a hole.
_BUFFERED = """() => {
  const {buffered} = document.querySelector('video');
  return [...Array(buffered.length).keys()].map((index) => buffered.end(index));
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


def start(page: Tab, server: LadderTown, script: str, *, automatic: bool = False) -> None:
    page.open(server.url("/healthz"))
    page.page.evaluate(_PAGE)
    page.page.evaluate(_WATCH, [BITS])
    page.page.evaluate(script, [server.url("/static/web/"), server.url("/live/show/"), automatic])
    page.wait("window.seen.length > 25")


def height(page: Tab, height: int) -> str:
    return f"window.seen.slice(-5).every(([, , h]) => h === {height}) && window.seen.length > 5"


def assert_seamless(page: Tab, since: float) -> None:
    """Every picture shows what belongs to its time, whatever rendition it is from, and none comes again."""
    seen = [entry for entry in page.page.evaluate("() => window.seen") if entry[1] >= since]
    first = seen[0][0] - seen[0][1] * FRAME_RATE
    strays: dict[int, list[float]] = {}
    for number, at, shown in seen:
        strays.setdefault(shown, []).append((number - at * FRAME_RATE - first + FRAMES / 2) % FRAMES - FRAMES / 2)
    # A slow machine draws the next picture now and then, before the one that it was told of was looked at.
    assert {shown: round(statistics.median(found)) for shown, found in strays.items()} == dict.fromkeys(strays, 0)
    times = [at for _, at, _ in seen]
    assert times == sorted(times)
    # Who was told of no picture may have been too slow to look; there was one only if there is no hole.
    assert len([end for end in page.page.evaluate(_BUFFERED) if end > since]) == 1


def complaints(page: Tab) -> list[Any]:
    """What hls.js met, but for an empty buffer, which a slow machine has, and for what it was about to load of a level that it
    was told to leave: it gives that up, and says so."""
    lawful = ("bufferStalledError", "aborted on a level that was left")
    return [error for error in page.page.evaluate("() => window.errors") if error[0] not in lawful]


def take(server: LadderTown, tab: OpenTab, attempt: Callable[[Tab], None], *, strict: bool = True) -> None:
    """Do it on a page of its own; and again, where it fails and the machine can be seen to have disturbed it."""
    first = time.time()
    while True:
        page, begun = tab(strict=strict), time.time()
        try:
            return attempt(page)
        except AssertionError:
            if time.time() - first > ENOUGH or not is_disturbed(server, page, begun):
                raise
        page.open("about:blank")


def is_disturbed(server: LadderTown, page: Tab, since: float) -> bool:
    """Whether the server or the page stood still, neither of its own accord."""
    for stood in (server.stood, page.page.evaluate("() => window.stood ?? []")):
        spells = [(begin, end) for begin, end in stood if begin >= since]
        if any(sum(end - begin for begin, end in spells if last - SPELL <= begin <= last) > BREATH for last, _ in spells):
            return True
    return False


def now(page: Tab) -> float:
    return float(page.video()["time"])


def test_hls_js_changes_level_without_a_seam(server: LadderTown, tab: OpenTab) -> None:
    take(server, tab, lambda page: change_levels(page, server))


def change_levels(page: Tab, server: LadderTown) -> None:
    start(page, server, _HLS)
    heights = page.page.evaluate("() => window.player.levels.map((level) => level.height)")
    assert sorted(heights) == [96, 192, 384]
    begun = now(page) + 0.5
    for wanted in (96, 384, 192, 96):
        level = heights.index(wanted)
        # It takes for loaded what it had of a level before, though another's pictures have come in the place of those: who
        # comes back within the same GOP is given the rest of it without its keyframe, and has a hole. And it seeks back where
        # it has played all that it has, and the other level has not come so far yet.
        elsewhere = f"window.loaded.last > (window.loaded[{level}] ?? 0) + {GOP} || window.player.loadLevel === {level}"
        page.wait(f"({elsewhere}) && {_AHEAD} > {2 * DELAY}")
        page.page.evaluate("(level) => { window.player.loadLevel = level; }", level)
        page.wait(height(page, wanted))
    assert_seamless(page, begun)
    assert complaints(page) == []


def test_dash_js_changes_representation_without_a_seam(server: LadderTown, tab: OpenTab) -> None:
    take(server, tab, lambda page: change_representations(page, server))


def change_representations(page: Tab, server: LadderTown) -> None:
    start(page, server, _DASH)
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
    assert page.page.evaluate("() => window.errors") == []


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
    take(server, tab, lambda page: lose_a_level(page, server), strict=False)


def lose_a_level(page: Tab, server: LadderTown) -> None:
    start(page, server, _HLS, automatic=True)
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
    page.page.evaluate(_HLS, [server.url("/static/web/"), server.url("/live/show/"), False])
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
