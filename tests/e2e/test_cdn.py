"""Behind a real cache: viewers are told apart by their sessions' tokens, and what is the same for all is fetched once."""

import os
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from tests.conftest import Serve
from tests.e2e.audience import PASSWORD, HlsClient, Panel
from tests.media import Clips
from tests.peers import Peers, Server, answers, free_port, program, wait_until

KEY = "canary_stream_key"


def nginx_cache(peers: Peers, folder: Path, server: Server) -> int:
    """nginx as a CDN does it: what the origin allows to keep is kept by its address, and asked for once. Its port."""
    port = free_port()
    folder.mkdir()
    (folder / "nginx.conf").write_text(
        f"{'user root;' if os.geteuid() == 0 else ''}\n"
        f"daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;\nevents {{}}\n"
        f"http {{ access_log off; proxy_cache_path {folder}/cache keys_zone=all:1m; proxy_temp_path {folder}/temp;"
        f" client_body_temp_path {folder}/body; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;"
        f" scgi_temp_path {folder}/s;"
        f" server {{ listen 127.0.0.1:{port};"
        f" location / {{ proxy_pass http://127.0.0.1:{server.http_port}; proxy_http_version 1.1;"
        f" proxy_cache all; proxy_cache_key $request_uri; proxy_cache_lock on;"
        # Who waits for another's request waits for as long as a busy machine takes.
        " proxy_cache_lock_timeout 60s; proxy_cache_lock_age 60s; } } }\n"
    )
    peers.start("nginx", [program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"])
    wait_until(lambda: answers(port), f"nginx on port {port}")
    return port


def asked(server: Server, kind: str) -> int:
    """How many requests of that kind have come to the server itself."""
    lines = server.get("/metrics")[2].decode().splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if "_requests" in line and f'kind="{kind}"' in line)


def test_viewers_behind_a_cache_are_counted_and_segments_are_fetched_once(
    serve: Serve, clips: Clips, peers: Peers, tmp_path: Path
) -> None:
    server = serve(auth={"admin_password": PASSWORD})
    panel = Panel(server)
    number = panel.new_stream("Show", KEY)
    name = f"stream_{number}"
    cdn = f"http://127.0.0.1:{nginx_cache(peers, tmp_path / 'cdn', server)}"
    peers.ffmpeg_push(clips.get(), server.rtmp(KEY))
    server.wait_live(name)
    with ExitStack() as stack:
        clients = [stack.enter_context(HlsClient(cdn, name, "a player", f"a-token-{each}")) for each in range(3)]
        wait_until(lambda: panel.viewers(number) == 3, "three viewers", 30)
        wait_until(lambda: all(len(client.segments) >= 4 for client in clients), "four segments each", 30)
        panel.wait_sessions(3)
        for client in clients:
            client.stop()
    fetched = [url for client in clients for url in client.asked if url.endswith(".m4s")]
    assert len(fetched) >= 12
    assert "session=" not in "".join(fetched)
    assert asked(server, "segment") == len(set(fetched))
    # The playlists were each one's own, and came through.
    playlists = [url for client in clients for url in client.asked if ".m3u8" in url]
    assert all("session=a-token-" in url for url in playlists)
    assert len(panel.sessions()) == 3


def test_lists_that_many_poll_are_asked_for_seldom(serve: Serve, clips: Clips, peers: Peers, tmp_path: Path) -> None:
    server = serve()
    peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    server.wait_live("show")
    for resource in ("video.m3u8", "manifest.mpd"):
        wait_until(lambda resource=resource: server.get(f"/live/show/{resource}")[0] == 200, "the stream to be packaged")  # type: ignore[misc]
    cdn = f"http://127.0.0.1:{nginx_cache(peers, tmp_path / 'cdn', server)}"
    for resource, kind in (("video.m3u8", "playlist"), ("manifest.mpd", "manifest")):
        for _ in range(100):
            with urllib.request.urlopen(f"{cdn}/live/show/{resource}", timeout=60) as response:
                assert response.status == 200
        # Each is kept for a second.
        assert asked(server, kind) < 50
