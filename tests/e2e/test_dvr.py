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
BACK = 9
#: The viewer drags the slider, and lets go.
_WIND = """(value) => {
  const slider = document.querySelector('#timeline');
  slider.value = value;
  slider.dispatchEvent(new Event('input'));
  slider.dispatchEvent(new Event('change'));
}"""
HLS = {"always": True, "dvr": DVR, "window": 3, "segment_duration": 1.0}


def long_clip(clips: Clips) -> list[Tag]:
    return tags_of(clips.get(seconds=46.0, b_frames=0))


def playlist(server: Server, kind: str = "video") -> m3u8.M3U8:
    status, _, body = server.get(f"/live/show/{kind}.m3u8")
    assert status == 200
    return m3u8.loads(body.decode())


def span(listed: m3u8.M3U8) -> float:
    """Seconds of whole segments that it lists."""
    return sum(segment.duration for segment in listed.segments if segment.uri and not segment.gap_tag)


def full(listed: m3u8.M3U8) -> m3u8.M3U8 | None:
    return listed if span(listed) >= DVR else None


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_the_playlist_holds_what_was_asked_for_and_every_segment_in_it_is_there(kind: str, serve: Serve, clips: Clips) -> None:
    server = serve(hls=HLS)
    with RtmpClient(server.rtmp("show")).publish() as publisher:
        publisher.send(until(long_clip(clips), SENT * 1000))
        publisher.settle()  # else what is listed may be gone before it is fetched
        wait_until(lambda: server.get("/live/show/index.m3u8")[0] == 200, "the stream to be packaged")
        listed = wait_until(lambda: full(playlist(server, kind)), "the window to be full")
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
    server = serve(hls={**HLS, "dvr": 0})
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
        done = threading.Event()
        rest = takewhile(lambda _: not done.is_set(), (tag for tag in tags if tag[1] >= SENT * 1000))
        thread = threading.Thread(target=lambda: [None for _ in publisher.pace(rest)])
        thread.start()
        page = tab(own=server)
        page.open(server.url(f"/watch/show?player={kind}"))
        page.wait_state("playing")
        page.wait("!document.querySelector('#timeline').hidden")
        live = page.numbers(2)[-1]
        assert live > (SENT - 8) * 25
        page.page.evaluate(_WIND, -BACK)
        page.wait("document.querySelector('#to-live').dataset.live === 'false'")
        page.wait("!document.querySelector('video').seeking")
        page.wait_state("playing")
        back = page.numbers(6)
        page.page.click("#play")
        page.wait("document.querySelector('video').paused")
        page.page.click("#play")
        page.wait("!document.querySelector('video').paused")
        on = page.numbers(3)
        page.page.click("#to-live")
        page.wait("document.querySelector('#to-live').dataset.live === 'true'")
        page.wait("!document.querySelector('video').seeking")
        again = page.numbers(2)
        done.set()
        thread.join()
    assert back == sorted(back)
    assert live - (BACK + 3) * 25 < back[0] < live - (BACK - 5) * 25, f"{back} is not {BACK} s behind {live}"
    assert back[-1] <= on[0] < live - 25, "it goes on where it was"
    assert again[0] > live
