"""Webhooks: what a real receiver is sent, letter by letter."""

import base64
import hashlib
import hmac
import http.server
import json
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from typing import Any

import pytest

from tests.conftest import Serve
from tests.contract.asking import ROOMY, Caller, log_in
from tests.contract.document import STARTED_MESSAGE, STOPPED_MESSAGE, THRESHOLD_MESSAGE, new_stream
from tests.contract.shapes import Shape, differences
from tests.e2e.players import LivePlayer
from tests.media import Clips
from tests.peers import Peers, Process

PATIENCE = 30.0
KEY = "a_key_that_no_receiver_learns"


@dataclass(frozen=True)
class Post:
    """One message as it came."""

    path: str
    headers: Message
    body: bytes

    def fits(self, shape: Shape) -> Any:
        told = json.loads(self.body)
        wrong = list(differences(shape, told))
        assert not wrong, "\n".join(wrong)
        return told


class Receiver:
    """Somebody's own server."""

    def __init__(self) -> None:
        self.posts: queue.Queue[Post] = queue.Queue()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(204)
                self.end_headers()
                receiver.posts.put(Post(self.path, self.headers, body))

            def log_message(self, *_: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever)
        self.thread.start()

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.http.server_port}{path}"

    def next(self) -> Post:
        return self.posts.get(timeout=PATIENCE)

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    started = Receiver()
    yield started
    started.close()


@dataclass(frozen=True)
class Show:
    """A stream whose owner has a webhook."""

    admin: Caller
    stream_id: int
    secret: str
    encoder: Process


@pytest.fixture
def show(serve: Serve, clips: Clips, peers: Peers, receiver: Receiver) -> Show:
    """On air; the receiver has been told nothing yet that was taken."""
    admin = log_in(serve(**ROOMY, rtmp={"reconnect_grace": 0.0}))
    number = admin.made("/api/streams", new_stream(admin.server.rtmp_port, KEY, name="Tutorial Stream"))["id"]
    urls = {
        "stream.started": receiver.url("/stream-started"),
        "stream.stopped": receiver.url("/stream-stopped"),
        "viewers.threshold": receiver.url("/viewer-threshold"),
    }
    secret = admin.made("/api/webhooks", {"urls": urls, "thresholds": [2]})["secret"]
    return Show(admin, number, secret, peers.ffmpeg_push(clips.get(), admin.server.rtmp(KEY)))


def check_headers(post: Post, secret: str) -> None:
    """Both ways of signing, recomputed from the raw body."""
    assert post.headers["Content-Type"] == "application/json"
    assert post.headers["X-Webhook-Signature"] == hmac.new(secret.encode(), post.body, hashlib.sha256).hexdigest()
    message_id, seconds = post.headers["webhook-id"], post.headers["webhook-timestamp"]
    assert message_id.startswith("msg_")
    assert abs(int(seconds) - time.time()) < 60
    signed = f"{message_id}.{seconds}.".encode() + post.body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    assert post.headers["webhook-signature"] == "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    assert KEY.encode() not in post.body


def test_stream_started(show: Show, receiver: Receiver) -> None:
    post = receiver.next()
    assert post.path == "/stream-started"
    told = post.fits(STARTED_MESSAGE)
    assert (told["stream_id"], told["stream_name"]) == (show.stream_id, "Tutorial Stream")
    assert told["input_url"].startswith(f"rtmp://localhost:{show.admin.server.rtmp_port}/live/")
    check_headers(post, show.secret)


def test_stream_stopped(show: Show, receiver: Receiver) -> None:
    began = receiver.next()
    with LivePlayer(show.admin.server.rtmp(f"stream_{show.stream_id}")) as player:
        player.wait_for(5)
        show.admin.wait_for(f"/api/streams/{show.stream_id}/status", peak_viewers=1)
    time.sleep(max(0.0, 2.1 - (time.time() - int(began.headers["webhook-timestamp"]))))  # a duration that is told from none
    show.encoder.stop()
    post = receiver.next()
    assert post.path == "/stream-stopped"
    told = post.fits(STOPPED_MESSAGE)
    assert (told["stream_id"], told["stream_name"], told["peak_viewers"]) == (show.stream_id, "Tutorial Stream", 1)
    assert told["duration"] >= 1
    check_headers(post, show.secret)


def test_viewer_threshold(show: Show, receiver: Receiver) -> None:
    """Told at the second viewer, and once they have gone; not at the first."""
    receiver.next()
    address = show.admin.server.rtmp(f"stream_{show.stream_id}")
    with LivePlayer(address) as one:
        one.wait_for(5)
        with LivePlayer(address) as two:
            two.wait_for(5)
            up = receiver.next()
    down = receiver.next()
    for post, kind, viewers in ((up, "exceeded", {2}), (down, "dropped", {0, 1})):
        assert post.path == "/viewer-threshold"
        told = post.fits(THRESHOLD_MESSAGE)
        assert (told["stream_id"], told["threshold"], told["type"]) == (show.stream_id, 2, kind)
        assert told["current_viewers"] in viewers
        check_headers(post, show.secret)
    assert up.headers["webhook-id"] != down.headers["webhook-id"]


def test_one_address_for_all_events(serve: Serve, clips: Clips, peers: Peers, receiver: Receiver) -> None:
    """The form without paths of its own; and what is stopped over the API is told too."""
    admin = log_in(serve(**ROOMY, rtmp={"reconnect_grace": 0.0}))
    number = admin.made("/api/streams", new_stream(admin.server.rtmp_port, KEY))["id"]
    admin.made("/api/webhooks", {"url": receiver.url("/hook")})
    peers.ffmpeg_push(clips.get(), admin.server.rtmp(KEY))
    first = receiver.next()
    admin.post(f"/api/streams/{number}/stop")
    second = receiver.next()
    assert [(post.path, json.loads(post.body)["event"]) for post in (first, second)] == [
        ("/hook", "stream.started"),
        ("/hook", "stream.stopped"),
    ]
