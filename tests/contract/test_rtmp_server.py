"""RTMP server management: what is connected, and ports that really open and close."""

import socket
from pathlib import Path
from urllib.parse import urlencode

from tests.conftest import Serve
from tests.contract.asking import ROOMY, Caller, log_in, make_user
from tests.contract.conftest import KEY, Town
from tests.contract.document import RTMP_STARTED, RTMP_STATUS, RTMP_STOPPED, error, new_stream
from tests.media import Clips
from tests.peers import NGINX_RTMP, Peers, Process, Server, answers, ffprobe, free_port, missing, program, wait_until

FORM = "application/x-www-form-urlencoded"
SECRET = "only nginx knows this"


def test_get_rtmp_server_status(town: Town) -> None:
    seen = town.admin.get("/api/rtmp/status").fits(RTMP_STATUS)
    assert (seen["running"], seen["port"], seen["active_streams"]) == (True, town.server.rtmp_port, 1)
    assert seen["total_connections"] >= 1
    (stream,) = seen["streams"]
    assert (stream["stream_key"], stream["client_ip"]) == (KEY, "127.0.0.1")
    # It is measured over the last seconds, in which the encoder may have been kept waiting.
    wait_until(lambda: 0.7 <= _bitrate(town) / town.clip_kilobits <= 1.3, "the bit rate of what is pushed", 60)
    _, other = make_user(town.admin, "curious")
    masked = other.get("/api/rtmp/status").fits(RTMP_STATUS)
    assert KEY not in str(masked)
    assert masked["streams"][0]["client_ip"] == ""
    assert (masked["active_streams"], masked["running"]) == (1, True)


def _bitrate(town: Town) -> float:
    return float(town.admin.get("/api/rtmp/status").fits(RTMP_STATUS)["streams"][0]["bitrate"])


def test_stop_rtmp_server(serve: Serve, clips: Clips, peers: Peers) -> None:
    """The port is closed and who was on it is gone; pages and API go on."""
    admin = log_in(serve(**ROOMY))
    server = admin.server
    encoder = peers.ffmpeg_push(clips.get(), server.rtmp("demo"))
    server.wait_live("demo")
    for _ in range(2):  # harmless twice
        stopped = admin.post("/api/rtmp/stop").fits(RTMP_STOPPED)
        assert stopped == {"status": "success", "message": "RTMP server stopped successfully"}
    assert encoder.wait() != 0
    assert not answers(server.rtmp_port)
    seen = admin.get("/api/rtmp/status").fits(RTMP_STATUS, empty=("streams",))
    assert (seen["running"], seen["active_streams"], seen["uptime"], seen["streams"]) == (False, 0, 0, [])
    assert admin.get("/api/system/status").json["services"]["rtmp_server"] == "stopped"
    assert admin.get("/api/system/health").status == 503


def test_start_rtmp_server(serve: Serve, clips: Clips, peers: Peers) -> None:
    admin = log_in(serve(**ROOMY))
    server = admin.server
    assert admin.post("/api/rtmp/stop").status == 200
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", server.rtmp_port))
        squatter.listen()
        refused = admin.post("/api/rtmp/start").fits(error("RTMP_SERVER_ERROR"), 500)
        assert str(server.rtmp_port) in refused["error"]["message"]
        assert admin.get("/api/rtmp/status").json["running"] is False
    # What was not done after all is written down too; the newest is first.
    told = [entry["action"] for entry in admin.get("/api/audit").json["entries"]]
    assert told[:2] == ["rtmp.not_started", "rtmp.started"]
    for _ in range(2):  # harmless twice
        started = admin.post("/api/rtmp/start").fits(RTMP_STARTED)
        assert started == {
            "status": "success",
            "message": "RTMP server started successfully",
            "port": server.rtmp_port,
            "url": f"rtmp://127.0.0.1:{server.rtmp_port}/live/",
        }
    peers.ffmpeg_push(clips.get(), started["url"] + "demo")
    server.wait_live("demo")
    assert admin.get("/api/rtmp/status").json["running"] is True


def ask(server: Server, headers: dict[str, str] | None = None, path: str = "/api/rtmp/auth", **fields: str) -> int:
    """Whether nginx-rtmp would let it in: the status."""
    data = urlencode({"call": "publish", "addr": "192.168.1.100", "app": "live", **fields}).encode()
    answer = Caller(server).post(path, data=data, headers={"Content-Type": FORM, **(headers or {})})
    assert answer.status in (200, 403, 415, 422), answer
    if answer.status == 403:
        answer.fits(error("FORBIDDEN"), 403)
    return answer.status


def test_rtmp_authentication(serve: Serve, clips: Clips, peers: Peers) -> None:
    """An nginx-rtmp elsewhere asks for each push; without a bearer token, but not whoever likes."""
    admin = log_in(serve(**ROOMY | {"rtmp": {"auth_secret": SECRET}, "auth": ROOMY["auth"] | {"publish": "keys"}}))
    server = admin.server
    admin.made("/api/streams", new_stream(server.rtmp_port, "known"))
    stopped = admin.made("/api/streams", new_stream(server.rtmp_port, "stopped", auto_start=False))["id"]
    assert ask(server, name="known", secret=SECRET) == 200
    assert ask(server, path=f"/api/rtmp/auth?secret={SECRET.replace(' ', '%20')}", name="known") == 200
    assert ask(server, name="unknown", secret=SECRET) == 403
    assert ask(server, name="stopped", secret=SECRET) == 403
    admin.post(f"/api/streams/{stopped}/start")
    assert ask(server, name="stopped", secret=SECRET) == 200
    # Who may ask: not everybody, and not whoever says to come from elsewhere.
    assert ask(server, name="known") == 403
    assert ask(server, name="known", secret="guessed") == 403
    assert ask(server, {"X-Forwarded-For": "127.0.0.1"}, name="known") == 403
    # nginx sends what stands behind the key's question mark too: nobody slips a second name in.
    doubled = f"name=unknown&secret={SECRET}&name=known".replace(" ", "+").encode()
    assert Caller(server).post("/api/rtmp/auth", data=doubled, headers={"Content-Type": FORM}).status == 422
    assert Caller(server).post("/api/rtmp/auth", {"name": "known", "secret": SECRET}).status == 415
    nginx_port = nginx_that_asks(peers, server.url(f"/api/rtmp/auth?secret={SECRET.replace(' ', '%20')}"))
    refused = peers.ffmpeg_push(clips.get(), f"rtmp://127.0.0.1:{nginx_port}/live/unknown")
    assert refused.wait() != 0
    peers.ffmpeg_push(clips.get(), f"rtmp://127.0.0.1:{nginx_port}/live/known")
    assert {stream["codec_type"] for stream in ffprobe(f"rtmp://127.0.0.1:{nginx_port}/live/known")["streams"]} == {
        "video",
        "audio",
    }
    assert SECRET not in server.log()


def test_a_trusted_proxy_asks_without_a_secret(serve: Serve) -> None:
    admin = log_in(serve(**ROOMY | {"http": {"trusted_proxies": ["127.0.0.1"]}, "auth": ROOMY["auth"] | {"publish": "keys"}}))
    admin.made("/api/streams", new_stream(admin.server.rtmp_port, "known"))
    assert ask(admin.server, name="known") == 200
    assert ask(admin.server, name="unknown") == 403
    # A proxy in front of the whole API hands on what anybody asks.
    assert ask(admin.server, {"X-Forwarded-For": "203.0.113.9"}, name="known") == 403


def nginx_that_asks(peers: Peers, url: str) -> int:
    """An nginx-rtmp with ``on_publish``; its port."""
    binary = program("nginx")
    if not NGINX_RTMP.exists():
        missing("libnginx-mod-rtmp")
    port, folder = free_port(), peers.folder / "asking-nginx"
    folder.mkdir()
    _configure(folder, port, url)
    nginx: Process = peers.start("nginx", [binary, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"])
    wait_until(lambda: answers(port), f"nginx on port {port}: {nginx.log()}")
    return port


def _configure(folder: Path, port: int, url: str) -> None:
    (folder / "nginx.conf").write_text(
        f"load_module {NGINX_RTMP};\nuser root;\ndaemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;\n"
        f"events {{}}\nrtmp {{ access_log off; server {{ listen 127.0.0.1:{port};"
        f" application live {{ live on; on_publish {url}; }} }} }}\n"
    )
