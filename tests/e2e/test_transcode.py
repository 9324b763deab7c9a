"""One push becomes a ladder: real clips in, every rung's pictures decoded and counted."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.conftest import Serve
from tests.e2e.players import LivePlayer, complaints, seconds, watch
from tests.e2e.rtmp import RtmpClient
from tests.media import Clips
from tests.peers import Peers, Server, wait_until

SECONDS, PERIOD = 24, 600  # of the clip, which is sent once, while a busy machine may take long to start an encoder


@contextlib.contextmanager
def players(server: Server, *rungs: str) -> Iterator[list[LivePlayer]]:
    """An RTMP player for each of these rungs, as soon as it is there."""
    with contextlib.ExitStack() as stack:
        playing = []
        for rung in rungs:
            server.wait_live(f"show@{rung}")
            playing.append(stack.enter_context(LivePlayer(server.rtmp(f"show@{rung}"))))
        yield playing


@pytest.fixture
def ladder(serve: Serve) -> Server:
    return serve(transcode={"ladder": ["720p", "480p", "360p", "240p", "audio"]})


def test_every_rung_has_every_picture_in_its_size_and_all_the_sound(ladder: Server, clips: Clips, peers: Peers) -> None:
    peers.ffmpeg_push(clips.get(width=640, height=480, seconds=SECONDS), ladder.rtmp("show"), loop=False)
    with players(ladder, "480p", "360p", "240p") as playing:
        for player in playing:
            player.wait_for(60)
    for player, size in zip(playing, [(640, 480), (480, 360), (320, 240)], strict=True):
        assert player.seen.sizes == [size]
        assert complaints(player.seen, period=PERIOD) == []
        assert player.seen.codecs == ["h264", "aac"]
    assert "show@720p" not in ladder.live(), "made larger than the source"


def test_a_rung_plays_over_http_like_any_name(ladder: Server, clips: Clips, peers: Peers) -> None:
    peers.ffmpeg_push(clips.get(width=320, height=256, seconds=SECONDS), ladder.rtmp("show"), loop=False)
    ladder.wait_live("show@240p")
    seen = watch(ladder.url("/live/show@240p.flv"), enough=seconds(2))
    assert seen.sizes == [(300, 240)]
    assert complaints(seen, period=PERIOD) == []


def test_sound_alone_is_a_rung(ladder: Server, clips: Clips, peers: Peers) -> None:
    peers.ffmpeg_push(clips.get(width=320, height=240, seconds=SECONDS), ladder.rtmp("show"), loop=False)
    with players(ladder, "audio") as (player,):
        wait_until(lambda: player.seen.seconds_of_sound > 2, "sound")
    assert player.seen.codecs == ["aac"]
    assert complaints(player.seen) == []


def test_the_names_of_renditions_are_played_and_published_by_nobody(ladder: Server) -> None:
    with RtmpClient(ladder.rtmp("show@720p")).connect() as encoder:
        encoder.session.publish("show@720p")
        refused = encoder.wait_for_status("NetStream.Publish.Rejected")
        encoder.wait_closed()
    assert "names with @ are those of renditions" in refused.description
    assert ladder.live() == {}
