"""Viewers' sessions and the end of the server: one that is stopped writes everything down, one that is cut off loses little."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.conftest import Serve
from tests.e2e.audience import PASSWORD, HlsClient, Panel, ended
from tests.media import Clips
from tests.peers import Peers, Server, program, wait_until

KEY = "canary_stream_key"


def lives(server: Server) -> list[tuple[str, float]]:
    with closing(sqlite3.connect(Path(server.folder) / "data" / "mediaserver.db")) as database:
        return [tuple(row) for row in database.execute("SELECT id, seen_at FROM viewer_lives")]


def test_a_server_that_is_stopped_knows_who_watched_until_then(serve: Serve, clips: Clips, peers: Peers) -> None:
    server = serve(auth={"admin_password": PASSWORD})
    panel = Panel(server)
    number = panel.new_stream("Show", KEY)
    peers.ffmpeg_push(clips.get(), server.rtmp(KEY))
    server.wait_live(f"stream_{number}")
    peers.start("rtmp", [program("ffmpeg"), "-v", "error", "-i", server.rtmp(f"stream_{number}"), "-f", "null", "-"])
    client = HlsClient(server.url(""), f"stream_{number}", "a player", "a-token-of-its-own")
    client.start()
    panel.wait_sessions(2)
    assert [life[0] for life in lives(server)] == [panel.sessions()[0]["life"]]
    wait_until(lambda: panel.viewers(number) == 2, "both viewers")
    server.stop()
    client.stop(failed=True)
    sessions = panel.sessions()
    assert len(sessions) == 2
    assert all(map(ended, sessions))
    assert all(session["ended"] > session["started"] for session in sessions)
    assert lives(server) == []


def test_a_server_that_is_cut_off_has_written_down_who_came(serve: Serve, clips: Clips, peers: Peers) -> None:
    server = serve(auth={"admin_password": PASSWORD})
    panel = Panel(server)
    number = panel.new_stream("Show", KEY)
    peers.ffmpeg_push(clips.get(), server.rtmp(KEY))
    server.wait_live(f"stream_{number}")
    viewer = peers.start("rtmp", [program("ffmpeg"), "-v", "error", "-i", server.rtmp(f"stream_{number}"), "-f", "null", "-"])
    (session,) = panel.wait_sessions(1)
    server.kill()
    viewer.stop()
    server.start()
    server.wait_ready()
    # It goes on counting where it was; the session is there, and whoever looks after it knows when its server was seen last.
    assert [row["id"] for row in panel.sessions()] == [session["id"]]
    ((life, seen_at),) = lives(server)
    assert (life, session["started"] <= seen_at + 5.0) == (session["life"], True)
    panel = Panel(server)
    assert panel.ask("GET", f"/api/analytics/streams/{number}")["metrics"]["total_sessions"] == 1
