"""The whole server: an encoder comes and goes, and its owner's own server and open page are told."""

import contextlib
import hashlib
import hmac
import http.client
import http.server
import json
import queue
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Serve
from tests.media import Clips
from tests.peers import Peers, Server

PASSWORD = "correct horse battery"
KEY = "canary_stream_key"
PATIENCE = 40.0

Told = queue.Queue[tuple[str, dict[str, str], bytes]]


@pytest.fixture
def receiver() -> Iterator[tuple[str, Told]]:
    """Somebody's server: its address, and what it is told."""
    told: Told = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()
            told.put((self.path, dict(self.headers), body))

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", told
        server.shutdown()
        thread.join()


def ask(server: Server, method: str, path: str, body: object = None, token: str = "") -> Any:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.url(path), data, headers, method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return json.load(response)


def test_an_encoder_comes_and_goes(serve: Serve, clips: Clips, peers: Peers, receiver: tuple[str, Told]) -> None:
    url, told = receiver
    server = serve(auth={"admin_password": PASSWORD}, server={"allow_private_targets": True}, rtmp={"reconnect_grace": 0.0})
    token = ask(server, "POST", "/api/auth/login", {"username": "admin", "password": PASSWORD})["access_token"]
    stream = {"name": "Show", "input_url": f"rtmp://localhost:{server.rtmp_port}/live/{KEY}"}
    number = ask(server, "POST", "/api/streams", stream, token)["id"]
    urls = {
        "stream.started": f"{url}/stream-started",
        "stream.stopped": f"{url}/stream-stopped",
        "viewers.threshold": f"{url}/viewer-threshold",
    }
    secret = ask(server, "POST", "/api/webhooks", {"urls": urls, "thresholds": [1]}, token)["secret"]
    with urllib.request.urlopen(server.url(f"/api/events?token={token}"), timeout=PATIENCE) as page:
        encoder = peers.ffmpeg_push(clips.get(), server.rtmp(KEY))
        came = [told.get(timeout=PATIENCE)]
        viewer = peers.start("ffmpeg", ["ffmpeg", "-v", "error", "-i", server.rtmp(f"stream_{number}"), "-f", "null", "-"])
        came.append(told.get(timeout=PATIENCE))
        viewer.stop()
        came.append(told.get(timeout=PATIENCE))
        encoder.stop()
        came.append(told.get(timeout=PATIENCE))
        kinds = []
        while "stream.stopped" not in kinds:
            line = page.readline().decode().strip()
            if line.startswith("event: "):
                kinds.append(line.removeprefix("event: "))
    assert [path for path, _, _ in came] == ["/stream-started", "/viewer-threshold", "/viewer-threshold", "/stream-stopped"]
    begun, up, down, over = (json.loads(body) for _, _, body in came)
    assert begun["input_url"] == f"rtmp://localhost:{server.rtmp_port}/live/…"
    assert [(told["current_viewers"], told["threshold"], told["type"]) for told in (up, down)] == [
        (1, 1, "exceeded"),
        (0, 1, "dropped"),
    ]
    assert (over["stream_id"], over["stream_name"], over["peak_viewers"]) == (number, "Show", 1)
    assert over["duration"] >= 1
    for _, headers, body in came:
        assert headers["X-Webhook-Signature"] == hmac.digest(secret.encode(), body, hashlib.sha256).hex()
        assert KEY.encode() not in body
    assert {"stream.started", "stream.status", "viewers", "stream.stopped"} <= set(kinds)
    assert secret not in server.log()
    assert token not in server.log()
    assert KEY not in server.log()


def test_a_server_that_is_stopped_says_that_its_streams_are_over(
    serve: Serve, clips: Clips, peers: Peers, receiver: tuple[str, Told]
) -> None:
    url, told = receiver
    server = serve(auth={"admin_password": PASSWORD}, server={"allow_private_targets": True})
    token = ask(server, "POST", "/api/auth/login", {"username": "admin", "password": PASSWORD})["access_token"]
    stream = {"name": "Show", "input_url": f"rtmp://localhost:{server.rtmp_port}/live/{KEY}"}
    ask(server, "POST", "/api/streams", stream, token)
    ask(server, "POST", "/api/webhooks", {"url": url + "/hook"}, token)
    with urllib.request.urlopen(server.url(f"/api/events?token={token}"), timeout=PATIENCE) as page:
        peers.ffmpeg_push(clips.get(), server.rtmp(KEY))
        assert json.loads(told.get(timeout=PATIENCE)[2])["event"] == "stream.started"
        server.stop()
        assert json.loads(told.get(timeout=PATIENCE)[2])["event"] == "stream.stopped"
        with contextlib.suppress(http.client.IncompleteRead):
            page.read()
