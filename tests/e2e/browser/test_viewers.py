"""Who watches is counted, however they play, and gone when they are gone."""

import pytest

from tests.browser import OpenTab
from tests.conftest import Serve
from tests.media import Clips
from tests.peers import Peers, wait_until


@pytest.mark.parametrize(("player", "wire"), [("ll-hls", "hls"), ("hls", "hls"), ("dash", "dash")])
def test_viewers_are_seen_and_leave(player: str, wire: str, serve: Serve, peers: Peers, clips: Clips, tab: OpenTab) -> None:
    server = serve(rtmp={"reconnect_grace": 1.0})
    push = peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    server.wait_live("show")
    # Not strict: at the end of a stream dash.js may wait for a segment that never comes, and the browser calls that an error.
    first, second = tab(strict=False, own=server), tab(strict=False, own=server, user_agent="another browser")
    for page in (first, second):
        page.open(server.url(f"/watch/show?player={player}"))
        page.wait_state("playing")
    wait_until(lambda: server.live()["show"]["viewersByWire"] == {wire: 2}, "both viewers to be counted", 30)
    first.wait("document.querySelector('#viewers').textContent === '2 viewers'")
    second.open(server.url("/healthz"))
    wait_until(lambda: server.live()["show"]["viewers"] == 1, "one viewer to be gone", timeout=30)
    first.wait("document.querySelector('#viewers').textContent === '1 viewer'")
    assert not first.errors + second.errors
    push.stop()
    wait_until(lambda: "show" not in server.live(), "the stream to be over", timeout=30)
    first.wait_state("waiting", timeout=30)
    first.wait("document.querySelector('#viewers').textContent === ''")
