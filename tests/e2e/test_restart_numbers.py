"""Playlists over a restart of the server: no number in them goes back, however many breaks a stream has had."""

import pytest

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


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_the_discontinuity_sequence_does_not_go_back(serve: Serve, clips: Clips, end: str) -> None:
    server = serve(hls={"always": True, "segment_duration": 1.0, "window": 3})
    viewer = HlsViewer(server, "show")
    for count in range(BREAKS):
        broadcast(server, clips)
        wait_until(lambda count=count: viewer.poll() and len(viewer.kept) >= 3 * (count + 1), "segments of it")
    wait_until(lambda: viewer.poll() and viewer.discontinuity_sequences[-1] >= viewer.discontinuity_sequences[0] + 3, "breaks")
    before = viewer.discontinuity_sequences[-1]
    # Nobody watches segments of a stream that is live as fast as these come: what is shown has been written.
    wait_until(lambda: read(server.folder / "data" / NAME).get("show", 0) > before, "the number to be kept")
    getattr(server, end)()
    server.start()
    server.wait_ready()
    broadcast(server, clips)
    # HlsViewer has seen that no number went back.
    wait_until(lambda: viewer.poll() and len(viewer.kept) >= 3 * (BREAKS + 1), "segments of the new life")
    assert viewer.discontinuity_sequences[-1] > before, "the restart was a break, too"
