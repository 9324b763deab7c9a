"""One track falls silent and the other goes on: the player goes on with it, and has both again when both are back."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from protocols.flv import AUDIO, VIDEO
from tests.browser import OpenTab
from tests.e2e.rtmp import RtmpClient, tags_of
from tests.media import Clips
from tests.peers import Server


class Encoder(threading.Thread):
    """Sends a clip again and again in real time; ``left_out`` is what type of message it leaves out."""

    def __init__(self, client: RtmpClient, clips: Clips) -> None:
        super().__init__(daemon=True)
        self.left_out = 0
        self.stopped = False
        self._client = client
        self._tags = tags_of(clips.get())

    def run(self) -> None:
        looped = (
            (kind, at + 4000 * turn, body)
            for turn in range(1000)
            for kind, at, body in self._tags
            # Headers once.
            if turn == 0 or body[1] != 0 or kind not in (AUDIO, VIDEO)
        )
        for tag in self._client.pace(tag for tag in looped if tag[0] != self.left_out):
            if self.stopped or tag is None:
                return


@contextmanager
def encoding(server: Server, clips: Clips) -> Iterator[Encoder]:
    with RtmpClient(server.rtmp("show")).publish() as client:
        encoder = Encoder(client, clips)
        encoder.start()
        try:
            yield encoder
        finally:
            encoder.stopped = True
            encoder.join()


@pytest.mark.parametrize(
    ("silent", "kind"),
    [(AUDIO, "ll-hls"), (VIDEO, "ll-hls"), (AUDIO, "dash")],
    ids=["sound-ll-hls", "picture-ll-hls", "sound-dash"],
)
def test_it_goes_on_without(silent: int, kind: str, server: Server, clips: Clips, tab: OpenTab) -> None:
    with encoding(server, clips) as encoder:
        server.wait_live("show")
        page = tab()
        page.open(server.url(f"/watch/show?player={kind}"))
        page.wait_state("playing")
        page.numbers(10)
        before = page.video()["time"]
        encoder.left_out = silent
        # Beyond what was buffered, and what the server waits before it stands in.
        page.wait(f"document.querySelector('video').currentTime > {before + 15}", timeout=40)
        if silent == AUDIO:
            page.numbers(20)
        encoder.left_out = 0
        after = page.video()["time"]
        page.wait(f"document.querySelector('video').currentTime > {after + 8}", timeout=30)
        page.numbers(20)
        assert page.state == "playing"
