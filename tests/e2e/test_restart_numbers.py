"""Playlists over a restart of the server: no number in them goes back, however many breaks a stream has had."""

import time

import pytest

from mediaserver.packaging.numbers import Numbers, first_numbers
from mediaserver.packaging.numbersfile import NAME, read
from tests.conftest import Serve
from tests.e2e.rtmp import RtmpClient, tags_of
from tests.e2e.viewers import HlsViewer
from tests.media import Clips
from tests.peers import Server, wait_until

#: Breaks of the stream in one life of the server: more than the clock has numbers for.
BREAKS = 5


def broadcast(server: Server, clips: Clips) -> None:
    """A publisher that comes, sends four seconds at once, and leaves."""
    with RtmpClient(server.rtmp("show")).publish() as publisher:
        publisher.send(tags_of(clips.get(b_frames=0)))
        publisher.goodbye()


def is_safe(server: Server, used: Numbers) -> bool:
    """Whether a server that begins now begins behind these numbers."""
    kept, clock = read(server.folder / "data" / NAME).get("show", Numbers(0, 0)), first_numbers(time.time())
    return (
        max(kept.sequence, clock.sequence) > used.sequence and max(kept.discontinuity, clock.discontinuity) > used.discontinuity
    )


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_the_discontinuity_sequence_does_not_go_back(serve: Serve, clips: Clips, end: str) -> None:
    server = serve(hls={"always": True, "segment_duration": 1.0, "window": 3})
    viewer = HlsViewer(server, "show")
    for count in range(BREAKS):
        broadcast(server, clips)
        wait_until(lambda count=count: viewer.poll() and len(viewer.kept) >= 3 * (count + 1), "segments of it")
    wait_until(lambda: viewer.poll() and viewer.discontinuity_sequences[-1] >= viewer.discontinuity_sequences[0] + 3, "breaks")
    before = Numbers(max(viewer.kept), viewer.discontinuity_sequences[-1])
    # Nobody watches segments of a stream that is live as fast as these come: what is shown is written, or the clock is there.
    wait_until(lambda: is_safe(server, before), "the numbers to be kept")
    getattr(server, end)()
    server.start()
    server.wait_ready()
    broadcast(server, clips)
    # HlsViewer has seen that no number went back.
    wait_until(lambda: viewer.poll() and len(viewer.kept) >= 3 * (BREAKS + 1), "segments of the new life")
    assert viewer.discontinuity_sequences[-1] > before.discontinuity, "the restart was a break, too"
