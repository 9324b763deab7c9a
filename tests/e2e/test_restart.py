"""The server is stopped, or killed, with players attached."""

import contextlib
import signal

from tests.conftest import Serve
from tests.e2e.players import LivePlayer, breaks, complaints
from tests.e2e.rtmp import RtmpClient
from tests.e2e.viewers import HlsViewer
from tests.media import Clips
from tests.peers import Peers, wait_until

#: A clip that does not begin anew within a test, as where it does the steps in time are odd: its length, and its pictures.
SECONDS, PERIOD = 24, 600
PLAYERS = 40


def test_sigterm_under_load_tells_everybody_and_ends_in_peace(serve: Serve, peers: Peers, clips: Clips) -> None:
    server = serve(hls={"segment_duration": 1.0})
    encoder = peers.ffmpeg_push(clips.get(b_frames=0, seconds=SECONDS), server.rtmp("show"))
    server.wait_live("show")
    dump = peers.rtmpdump(server.rtmp("show"), peers.folder / "show.flv")
    viewer = HlsViewer(server, "show")
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(RtmpClient(server.rtmp("show")).play()) for _ in range(PLAYERS)]
        rtmp = stack.enter_context(LivePlayer(server.rtmp("show")))
        flv = stack.enter_context(LivePlayer(server.url("/live/show.flv")))
        idler = stack.enter_context(RtmpClient(server.rtmp("show")).connect())
        viewer.follow(2)
        rtmp.wait_for(10)
        flv.wait_for(10)
        server.process.signal(signal.SIGTERM)
        for player in crowd:
            player.wait_closed()
            assert player.statuses("NetStream.Play.UnpublishNotify")
        idler.wait_closed()
        rtmp.wait_end()
        flv.wait_end()
        assert rtmp.error is None
        assert not breaks(rtmp.seen.numbers, PERIOD)
        assert server.process.wait() == 0
    assert dump.wait() == 0, dump.log()
    assert encoder.wait() != 0
    log = server.log()
    assert "Traceback" not in log
    others = (dump, rtmp, flv, viewer)
    assert log.count("play_ended") == log.count("play_started") == PLAYERS + len(others)
    assert log.count("publish_ended") == 1


def test_viewers_who_poll_go_on_after_the_server_was_killed(serve: Serve, peers: Peers, clips: Clips) -> None:
    server = serve(hls={"segment_duration": 1.0, "window": 20})
    clip = clips.get(b_frames=0, seconds=SECONDS)
    viewer = HlsViewer(server, "show")
    listed: list[int] = []
    for _ in range(2):
        encoder = peers.ffmpeg_push(clip, server.rtmp("show"))
        server.wait_live("show")
        viewer.follow(3)
        assert not listed or min(number for number in viewer.kept if number not in listed) > max(listed)
        listed = sorted(viewer.kept)
        server.kill()
        encoder.wait()
        assert viewer.poll() is None
        server.start()
        server.wait_ready()
    # Each life of the server is a stretch of its own that decodes; HlsViewer has seen that no number went back.
    assert len(viewer.stretches()) == 2
    for seen in viewer.seen():
        assert not complaints(seen, period=PERIOD, sound=False)


def test_an_encoder_that_reconnects_finds_its_name_free_after_a_kill(serve: Serve, peers: Peers, clips: Clips) -> None:
    server = serve()
    with RtmpClient(server.rtmp("show")).publish() as publisher:
        server.kill()
        publisher.wait_closed()
    server.start()
    server.wait_ready()
    peers.ffmpeg_push(clips.get(seconds=SECONDS), server.rtmp("show"))
    server.wait_live("show")
    with LivePlayer(server.rtmp("show")) as player:
        player.wait_for(25)
        assert not breaks(player.seen.numbers, PERIOD)
    wait_until(lambda: not server.live()["show"]["viewers"], "the player to be gone")
