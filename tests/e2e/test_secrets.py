"""A stream key, and a token in a query, are known to those who sent them, and to nobody who asks or reads the log."""

import json
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.conftest import Serve
from tests.e2e.players import LivePlayer, breaks
from tests.e2e.rtmp import RtmpClient
from tests.media import Clips
from tests.peers import Peers, Server, wait_until

KEY = "canary-stream-key-51c7"
WRONG = "canary-wrong-key-9f02"
TOKEN = "canary-token-3ab8"
NAME = "concert"
#: What is asked of the HTTP port: whatever lists, describes, plays or fails.
PATHS = (
    "/", f"/watch/{NAME}", "/api/live", "/metrics", "/healthz", "/readyz", f"/live/{NAME}/index.m3u8", f"/live/{NAME}/video.m3u8",
    f"/live/{NAME}/audio.m3u8", f"/live/{NAME}/manifest.mpd", f"/live/{NAME}/video.m3u8?_HLS_msn=x&token={TOKEN}",
    f"/live/nobody/index.m3u8?token={TOKEN}", f"/live/{NAME}/video/1.m4s?token={TOKEN}",
    f"/live/{WRONG[:3]}%2f..%2f?token={TOKEN}",
    f"/nothing?token={TOKEN}", f"/api/nothing?token={TOKEN}", f"/watch/nobody?token={TOKEN}", f"/live/{NAME}.flv/?token={TOKEN}",
)  # fmt: skip


def test_no_secret_is_seen_in_logs_metrics_lists_playlists_or_errors(serve: Serve, peers: Peers, clips: Clips) -> None:
    server = serve(auth={"publish": "keys", "stream_keys": {NAME: KEY, "other": "another-key-of-no-use"}}, hls={"always": True})
    peers.ffmpeg_push(clips.get(), f"{server.rtmp(KEY)}?token={TOKEN}")
    server.wait_live(NAME)
    refused = peers.ffmpeg_push(clips.get(), f"{server.rtmp(WRONG)}?token={TOKEN}")
    assert refused.wait() != 0
    assert "unknown stream key" in refused.log()
    astray = peers.ffmpeg_push(clips.get(), f"rtmp://127.0.0.1:{server.rtmp_port}/other-{WRONG}/{KEY}?token={TOKEN}")
    assert astray.wait() != 0
    # Who plays with the key instead of the name gets nothing, and gives nothing away.
    assert peers.ffmpeg_record(server.rtmp(KEY), peers.folder / "key.mkv", seconds=1).wait() != 0
    play_by_a_key(server, WRONG)
    with LivePlayer(f"{server.rtmp(NAME)}?token={TOKEN}") as player, RtmpClient(f"{server.rtmp(NAME)}?token={TOKEN}") as watcher:
        player.wait_for(25)
        assert not breaks(player.seen.numbers, 100)
        watcher.play()
        heard = str(watcher.events)
        wait_until(lambda: server.get(f"/live/{NAME}/video.m3u8")[0] == 200, "a playlist")
        answers = {path: server.get(path, {"Cookie": f"session={TOKEN}", "Authorization": f"Bearer {TOKEN}"}) for path in PATHS}
    assert {path for path, (status, _, _) in answers.items() if status >= 500} == set()
    assert json.loads(answers["/api/live"][2])["streams"][0]["name"] == NAME
    server.stop()
    shown = {path: f"{headers}{body.decode('utf-8', 'replace')}" for path, (_, headers, body) in answers.items()}
    shown |= {"the log": server.log(), "what a player hears": heard}
    for secret in (KEY, WRONG, TOKEN):
        assert [where for where, text in shown.items() if secret in text] == []
    assert "publish_refused" in server.log()
    assert "play refused: no stream of this name is live" in server.log()


def play_by_a_key(server: Server, key: str) -> None:
    """Ask for ``key`` as for a name by every protocol: no configuration knows it, so nothing could strike it out of the log."""
    with RtmpClient(server.rtmp(key)).connect() as player:
        player.session.play(key)
        player.wait_for_status("NetStream.Play.StreamNotFound")
    handshake = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "a" * 22 + "==",
    }
    assert server.get(f"/live/{key}.flv", handshake)[0] == 404
    for path in (f"{key}.flv", f"{key}/index.m3u8", f"{key}/manifest.mpd", f"{key}/video/1.m4s", f"{key}/thumbnail.jpg"):
        assert server.get(f"/live/{path}")[0] == 404
    for path in (f"/watch/{key}", f"/static/hls/{key}/index.m3u8", f"/api/{key}", f"/{key}"):
        assert server.get(path)[0] < 500
    asked = Request(server.url("/api/rtmp/auth"), f"name={key}&app={key}&addr=192.0.2.1&secret={key}".encode())
    with pytest.raises(HTTPError, match="Forbidden") as refused:
        urlopen(asked, timeout=15)
    refused.value.close()
