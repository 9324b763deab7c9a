"""Publishers that leave, return, come second or never: what players and encoders see of it."""

import signal

from tests.conftest import Serve
from tests.e2e.players import LivePlayer, breaks, complaints
from tests.e2e.rtmp import RtmpClient, is_keyframe, tags_of, until
from tests.e2e.viewers import HlsViewer
from tests.media import Clips
from tests.peers import Peers, wait_until

#: A clip that does not begin anew within a test, as where it does the steps in time are odd: its length, and its pictures.
SECONDS, PERIOD = 24, 600
#: A viewer who is kept from asking for a while finds what has come meanwhile.
SHORT = {"segment_duration": 1.0, "window": 20}


def test_players_go_on_when_a_publisher_comes_back_in_time(serve: Serve, peers: Peers, clips: Clips) -> None:
    server = serve(hls=SHORT, rtmp={"reconnect_grace": 20})
    clip = clips.get(b_frames=0, seconds=SECONDS)
    first = peers.ffmpeg_push(clip, server.rtmp("show"))
    server.wait_live("show")
    viewers = [HlsViewer(server, "show", "video"), HlsViewer(server, "show", "audio")]
    with LivePlayer(server.rtmp("show")) as player:
        for viewer in viewers:
            viewer.follow(2)
        player.wait_for(10)
        first.signal(signal.SIGKILL)
        wait_until(lambda: server.live()["show"]["state"] != "live", "the publisher to be missed")
        peers.ffmpeg_push(clip, server.rtmp("show"))
        wait_until(lambda: server.live()["show"]["state"] == "live", "the publisher to be back")
        for viewer in viewers:
            viewer.follow(3)
        player.wait_for(50)
        seen = player.seen
    # One break, where the second publisher's first picture follows: nothing else is lost or doubled.
    assert [two for _, two in breaks(seen.numbers, PERIOD)] == [0]
    assert seen.times == sorted(seen.times)
    for viewer in viewers:
        stretches = viewer.stretches()
        assert len(stretches) == 2
        assert stretches[1][0].discontinuity
        assert [kept.sequence for stretch in stretches for kept in stretch] == sorted(viewer.kept)
    before, after = viewers[0].seen()
    assert not complaints(before, period=PERIOD, sound=False)
    assert not complaints(after, period=PERIOD, sound=False)
    assert after.numbers[0] == 0
    assert server.log().count("publish_started") == 2
    assert "resumed=True" in server.log()


def test_players_are_told_when_a_publisher_does_not_come_back(serve: Serve, peers: Peers, clips: Clips) -> None:
    server = serve(hls=SHORT, rtmp={"reconnect_grace": 0.5})
    encoder = peers.ffmpeg_push(clips.get(b_frames=0, seconds=SECONDS), server.rtmp("show"))
    server.wait_live("show")
    viewer = HlsViewer(server, "show")
    dump = peers.rtmpdump(server.rtmp("show"), peers.folder / "show.flv")
    with (
        LivePlayer(server.rtmp("show")) as rtmp,
        LivePlayer(server.url("/live/show.flv")) as flv,
        RtmpClient(server.rtmp("show")).play() as watcher,
    ):
        viewer.follow(2)
        rtmp.wait_for(10)
        flv.wait_for(10)
        encoder.signal(signal.SIGKILL)
        watcher.wait_closed()
        rtmp.wait_end()
        assert rtmp.error is None
        # FFmpeg takes the end of an HTTP body without a length for an I/O error.
        flv.wait_end()
    assert watcher.statuses("NetStream.Play.UnpublishNotify")
    assert dump.wait() == 0, dump.log()
    viewer.follow_to_end()
    assert not complaints(viewer.seen()[-1], period=PERIOD, sound=False)
    assert server.live() == {}
    assert server.log().count("publish_ended") == 1


def test_a_second_publisher_is_refused_and_told_why(serve: Serve, peers: Peers, clips: Clips) -> None:
    server = serve()
    peers.ffmpeg_push(clips.get(seconds=SECONDS), server.rtmp("show"))
    server.wait_live("show")
    with LivePlayer(server.rtmp("show")) as player:
        player.wait_for(5)
        second = peers.ffmpeg_push(clips.get(seconds=SECONDS), server.rtmp("show"))
        assert second.wait() != 0
        player.wait_for(25)
        assert not breaks(player.seen.numbers, PERIOD)
    assert "show is being published already" in second.log()
    assert server.log().count("publish_refused") == 1


def test_takeover_lets_the_newcomer_win_and_players_go_on(serve: Serve, peers: Peers, clips: Clips) -> None:
    server = serve(rtmp={"takeover": True, "reconnect_grace": 0})
    clip = clips.get(b_frames=0, seconds=SECONDS)
    first = peers.ffmpeg_push(clip, server.rtmp("show"))
    server.wait_live("show")
    with LivePlayer(server.rtmp("show")) as player:
        player.wait_for(5)
        peers.ffmpeg_push(clip, server.rtmp("show"))
        assert first.wait() != 0
        player.wait_for(50)
        assert [two for _, two in breaks(player.seen.numbers, PERIOD)] == [0]
        assert player.seen.times == sorted(player.seen.times)
    assert server.log().count("publish_started") == 2
    assert server.log().count("play_started") == 1


def test_a_play_of_a_name_that_is_not_live_ends_with_a_reason(serve: Serve, peers: Peers) -> None:
    server = serve()
    player = peers.ffmpeg_record(server.rtmp("nobody"), peers.folder / "nothing.mkv", seconds=1)
    assert player.wait() != 0
    assert "nobody is not live" in player.log()
    dump = peers.rtmpdump(server.rtmp("nobody"), peers.folder / "nothing.flv")
    assert dump.wait() != 0


def test_a_play_waits_for_its_publisher_where_the_configuration_says_so(serve: Serve, clips: Clips) -> None:
    server = serve(rtmp={"wait_for_publisher": 30})
    tags = tags_of(clips.get())
    with RtmpClient(server.rtmp("show")).connect() as player:
        player.session.play("show")
        player.flush()
        with RtmpClient(server.rtmp("show")).publish() as publisher:
            publisher.send(tags)
            player.wait_for(lambda: any(map(is_keyframe, player.media)), "the first picture")
            publisher.goodbye()


def test_a_player_that_joins_between_two_keyframes_sees_a_picture_at_once(serve: Serve, clips: Clips) -> None:
    server = serve()
    tags = until(tags_of(clips.get(gop=100)), 2000)
    with RtmpClient(server.rtmp("show")).publish() as publisher:
        publisher.send(tags)
        wait_until(lambda: (server.live()["show"]["video"] or {}).get("width"), "the stream's headers")
        # Nothing more is published: whatever the player sees comes from what was kept since the keyframe.
        with RtmpClient(server.rtmp("show")).play() as player:
            wanted = [tag for tag in tags if tag[0] == 9]
            player.wait_for(lambda: len([m for m in player.media if m.type_id == 9]) == len(wanted), "the GOP so far")
            pictures = [event for event in player.media if event.type_id == 9]
            assert pictures[0].body == wanted[0][2], "the sequence header comes first"
            assert is_keyframe(pictures[1])
            assert [event.body for event in pictures] == [body for _, _, body in wanted]
        publisher.goodbye()
