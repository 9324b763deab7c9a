"""FFmpeg plays DASH, and reads the MPD anew each second meanwhile."""

from pathlib import Path

from tests.conftest import Serve
from tests.e2e.players import complaints, watch
from tests.media import Clips
from tests.peers import Peers

#: Seconds that are watched: what FFmpeg makes of an MPD that it reads again shows from the third segment on.
LENGTH = 6.0
SECONDS, PERIOD = 24, 600


def test_every_picture_comes_once_though_the_list_goes_on(serve: Serve, clips: Clips, peers: Peers, tmp_path: Path) -> None:
    server = serve(hls={"always": True})
    peers.ffmpeg_push(clips.get(seconds=SECONDS), server.rtmp("show"))
    server.wait_live("show")
    file = tmp_path / "show.mkv"
    recorder = peers.ffmpeg_record(server.url("/live/show/manifest.mpd"), file, seconds=LENGTH + 0.5)
    assert recorder.wait() == 0, recorder.log()
    assert not complaints(watch(file).head(LENGTH), period=PERIOD, least=LENGTH - 0.1)
