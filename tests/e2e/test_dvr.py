"""With ``hls.dvr`` set, players go back that far over the same playlist."""

import io
import threading
from itertools import takewhile
from urllib.parse import urljoin

import m3u8  # type: ignore[import-untyped]
import pytest

from tests.browser import OpenTab, chromium, tab
from tests.conftest import Serve
from tests.e2e.players import breaks, watch
from tests.e2e.rtmp import RtmpClient, Tag, tags_of, until
from tests.media import Clips
from tests.peers import Server, wait_until

__all__ = ["chromium", "tab"]

DVR = 26
#: Seconds that were sent before anybody looks; the clip is longer, and numbers its pictures through.
SENT = 36
#: Seconds that the player in the browser goes back: more than the window would allow.
BACK = 10
#: Milliseconds of the stream that come while the viewer pauses: more than dash.js lets it fall behind by itself.
PAUSE = 5000
#: The viewer drags the slider, and lets go.
_WIND = """(value) => {
  const slider = document.querySelector('#timeline');
  slider.value = value;
  slider.dispatchEvent(new Event('input'));
  slider.dispatchEvent(new Event('change'));
}"""
#: The viewer takes another player; is the slider of the last one gone?
_CHANGE = """() => {
  document.querySelector('#picker input:not(:checked)').click();
  return document.querySelector('#timeline').hidden;
}"""
#: What plays asks every five seconds whether there is a stream: here twice a second, so that the test is short.
_ASK_OFTEN = """
  const {setTimeout: later} = window;
  window.setTimeout = (work, wait, ...more) => later(work, wait > 4000 && wait < 6000 ? 500 : wait, ...more);
"""
HLS = {"dvr": DVR, "window": 3, "segment_duration": 1.0}
#: No history is asked for, but to be packaged before anybody looks.
NO_DVR = {**HLS, "dvr": 0, "always": True}


def long_clip(clips: Clips) -> list[Tag]:
    return tags_of(clips.get(seconds=84.0, b_frames=0))


def playlist(server: Server, kind: str = "video") -> m3u8.M3U8:
    status, _, body = server.get(f"/live/show/{kind}.m3u8")
    assert status == 200
    return m3u8.loads(body.decode())


def span(listed: m3u8.M3U8) -> float:
    """Seconds of whole segments that it lists."""
    return sum(segment.duration for segment in listed.segments if segment.uri and not segment.gap_tag)


def full(listed: m3u8.M3U8) -> m3u8.M3U8 | None:
    return listed if span(listed) >= DVR else None


def filled(server: Server, kind: str = "video") -> m3u8.M3U8:
    """The playlist, once it goes back as far as it may."""
    wait_until(lambda: server.get("/live/show/index.m3u8")[0] == 200, "the stream to be packaged")
    return wait_until(lambda: full(playlist(server, kind)), "the window to be full")


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_the_playlist_holds_what_was_asked_for_and_every_segment_in_it_is_there(kind: str, serve: Serve, clips: Clips) -> None:
    server = serve(hls=HLS)
    with RtmpClient(server.rtmp("show")).publish() as publisher:
        publisher.send(until(long_clip(clips), SENT * 1000))
        publisher.settle()  # else what is listed may be gone before it is fetched
        listed = filled(server, kind)
        assert DVR <= span(listed) < DVR + 2
        oldest = listed.segments[0]
        data = b"".join(
            server.get(urljoin("/live/show/", uri))[2]
            for uri in (oldest.init_section.uri, *(each.uri for each in listed.segments if each.uri))
        )
        assert server.get(urljoin("/live/show/", oldest.uri))[0] == 200
    seen = watch(io.BytesIO(data))
    if kind == "video":
        assert not breaks(seen.numbers, 1 << 16)
        assert len(seen.numbers) >= DVR * 25
        assert seen.numbers[0] <= (SENT - DVR) * 25
    else:
        assert seen.seconds_of_sound >= DVR - 0.1


def test_without_it_only_the_window_is_there(serve: Serve, clips: Clips) -> None:
    server = serve(hls=NO_DVR)
    with RtmpClient(server.rtmp("show")).publish() as publisher:
        publisher.send(until(long_clip(clips), SENT * 1000))
        publisher.settle()
        wait_until(lambda: server.get("/live/show/index.m3u8")[0] == 200, "the stream to be packaged")
        assert span(playlist(server)) < 6


@pytest.mark.parametrize("kind", ["ll-hls", "hls", "dash"])
def test_the_page_goes_back_and_to_live_again(kind: str, serve: Serve, clips: Clips, tab: OpenTab) -> None:
    server = serve(hls=HLS)
    tags = long_clip(clips)
    with RtmpClient(server.rtmp("show")).publish() as publisher:
        publisher.send(until(tags, SENT * 1000))
        filled(server)  # else there is less to go back in than the page's slider says a moment later
        done = threading.Event()
        rest = takewhile(lambda _: not done.is_set(), (tag for tag in tags if tag[1] >= SENT * 1000))
        sent = [SENT * 1000]
        thread = threading.Thread(target=lambda: sent.extend(tag[1] for tag in publisher.pace(rest)))
        thread.start()
        page = tab(own=server)
        page.open(server.url(f"/watch/show?player={kind}"))
        page.wait_state("playing")
        page.wait("!document.querySelector('#timeline').hidden")
        live = page.numbers(2)[-1]
        assert live > (SENT - DVR / 2) * 25  # nearer to live than to the beginning, however slowly it begins
        page.page.evaluate(_WIND, -BACK)
        page.wait("document.querySelector('#to-live').dataset.live === 'false'")
        page.wait("!document.querySelector('video').seeking")
        page.wait_state("playing")
        back = page.numbers(6)
        page.page.click("#play")
        page.wait("document.querySelector('video').paused")
        rested = page.number()
        if kind == "dash":
            edge = len(sent)
            wait_until(lambda: sent[-1] >= sent[edge - 1] + PAUSE, "the live edge to move on")
        page.page.click("#play")
        page.wait("!document.querySelector('video').paused")
        on = page.numbers(20)
        page.page.click("#to-live")
        page.wait("document.querySelector('#to-live').dataset.live === 'true'")
        page.wait("!document.querySelector('video').seeking")
        again = page.numbers(2)
        page.wait("document.querySelector('#timeline').value === '0'")
        page.page.press("#timeline", "ArrowLeft")
        page.wait("document.querySelector('#to-live').dataset.live === 'false'")
        page.wait("!document.querySelector('video').seeking")
        step, shown = page.numbers(2), page.page.input_value("#timeline")
        hidden = page.page.evaluate(_CHANGE)
        done.set()
        thread.join()
    assert back == sorted(back)
    assert live - (BACK + 3) * 25 < back[0] < live - (BACK - 5) * 25, f"{back} is not {BACK} s behind {live}"
    assert back[-1] <= rested <= on[0] < rested + 25, "it goes on where it was"
    # Twenty pictures are looked at one by one; a busy machine shows more meanwhile. A jump to live is over more than these.
    assert on[-1] < rested + BACK // 2 * 25, "and does not jump after that"
    assert again[0] > live
    assert shown == "-5"
    assert hidden, "there is nothing to go back in while another player begins"
    assert again[0] - 6 * 25 < step[0] < again[-1] - 3 * 25, "a key goes back by a step"


def test_a_pause_and_the_end_of_the_stream_take_nothing_from_who_has_gone_back(serve: Serve, clips: Clips, tab: OpenTab) -> None:
    server = serve(hls=HLS, rtmp={"reconnect_grace": 0.0})
    page = tab(strict=False, own=server)
    page.page.add_init_script(_ASK_OFTEN)
    tags = long_clip(clips)
    with RtmpClient(server.rtmp("show")).publish() as publisher:
        publisher.send(until(tags, SENT * 1000))
        filled(server)
        page.open(server.url("/watch/show?player=hls"))
        page.wait_state("playing")
        page.wait("!document.querySelector('#timeline').hidden")
        page.page.evaluate(_WIND, -BACK)
        page.wait("!document.querySelector('video').seeking")
        page.wait_state("playing")
        page.numbers(2)
        page.page.click("#play")
        page.wait("document.querySelector('video').paused")
        rested = page.number()
        publisher.send(tag for tag in tags if SENT * 1000 <= tag[1] < SENT * 1000 + PAUSE)
        page.wait(f"document.querySelector('#timeline').value <= {-BACK - PAUSE / 1000}")
        page.page.click("#play")
        on = page.numbers(2)
        publisher.goodbye()
    page.wait("document.querySelector('#badge').textContent === 'Offline'")
    over = page.numbers(70)
    assert rested <= on[0] < rested + 25
    assert over == sorted(over)
    assert page.state == "playing"


def test_without_dvr_a_long_playlist_is_no_place_to_go_back_in(serve: Serve, clips: Clips, tab: OpenTab) -> None:
    server = serve(hls={**NO_DVR, "window": DVR})
    with RtmpClient(server.rtmp("show")).publish() as publisher:
        publisher.send(until(long_clip(clips), SENT * 1000))
        publisher.settle()
        page = tab(own=server)
        page.open(server.url("/watch/show?player=hls"))
        page.wait_state("playing")
        page.numbers(2)
        assert span(playlist(server)) > DVR - 2
        page.wait("document.querySelector('#to-live').dataset.live === 'true'")
        assert page.page.is_hidden("#timeline")
