"""A camera that stops while its microphone goes on: what players of the renditions get."""

from collections.abc import Iterator
from itertools import takewhile

import pytest

from protocols.flv import VIDEO
from tests.conftest import Serve
from tests.e2e.players import LivePlayer
from tests.e2e.rtmp import RtmpClient, Tag, tags_of
from tests.e2e.viewers import HlsViewer
from tests.media import Clips
from tests.peers import wait_until

#: When the camera stops and is back (ms), and how long all of it lasts.
STOPS, BACK, END = 4_000, 12_000, 15_000
#: Pictures until then.
SHOWN = STOPS * 25 // 1000


@pytest.fixture
def tags(clips: Clips) -> list[Tag]:
    every = tags_of(clips.get(width=320, height=256, seconds=END / 1000, b_frames=0))
    return [tag for tag in every if tag[0] != VIDEO or not STOPS <= tag[1] < BACK]


def test_they_hear_all_of_it_and_see_the_picture_stand_still_until_it_is_back(serve: Serve, tags: list[Tag]) -> None:
    server = serve(transcode={"ladder": ["240p"]}, hls={"always": True, "segment_duration": 1.0, "dvr": 30})
    source, rung = HlsViewer(server, "show"), HlsViewer(server, "show@240p")
    with RtmpClient(server.rtmp("show")).publish() as publisher:
        sending: Iterator[Tag] = publisher.pace(tags)
        send(sending, 2_000)
        server.wait_live("show@240p")
        with LivePlayer(server.rtmp("show@240p")) as player:
            send(sending, BACK - 100)
            # Nothing more is sent meanwhile: what is there comes without it.
            wait_until(lambda: player.seen.sound and player.seen.sound[-1][0] > BACK / 1000 - 1, "the sound")
            # The player's own decoder keeps two back, for B-frames.
            assert player.seen.numbers[-1] >= SHOWN - 3, "the last pictures"
            wait_until(lambda: source.poll() and latest(source) >= 10, "all segments")
            wait_until(lambda: rung.poll() and max(rung.kept, default=0) == max(source.kept), "the picture that stands still")
            send(sending, END)
            wait_until(lambda: player.seen.numbers[-1] > BACK * 25 // 1000, "the picture again")
            wait_until(lambda: source.poll() and latest(source) >= 13, "all segments")
            wait_until(lambda: rung.poll() and max(rung.kept) == max(source.kept), "it in the playlist")
            publisher.goodbye()
            player.wait_end()
    assert len(rung.stretches()) == 1, "nothing is missing, and nothing breaks"
    (seen,) = rung.seen()
    before = seen.numbers.index(SHOWN - 1)
    still = next(place for place, number in enumerate(seen.numbers) if number >= BACK * 25 // 1000) - before - 1
    assert still > 20, "five a second and more"
    assert set(seen.numbers[before + 1 : before + 1 + still]) == {SHOWN - 25}, "its last keyframe"
    log = server.log()
    assert log.index("picture stands still") < log.index("picture is back")


def send(sending: Iterator[Tag], end: int) -> None:
    """In real time, up to ``end`` (ms)."""
    for _ in takewhile(lambda tag: tag[1] < end, sending):
        pass


def latest(viewer: HlsViewer) -> int:
    """How many segments there are of its stream."""
    return max(viewer.kept) - min(viewer.kept) + 1 if viewer.kept else 0
