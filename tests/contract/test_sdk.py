"""The clients that the document prints, run as they stand: only the server's address and the token are the user's own."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.conftest import Serve
from tests.contract.asking import ROOMY, Caller, log_in
from tests.contract.document import STREAM_CREATED, STREAM_STARTED
from tests.contract.shapes import differences
from tests.media import Clips
from tests.peers import Peers, program

CLIENTS = Path(__file__).parent / "clients"
#: What the user writes behind the example, to see what came of it.
SHOW = {
    "python": "\nimport json\nprint(json.dumps([stream, result]))\n",
    "javascript": "\nconsole.log(JSON.stringify([stream, result]));\n",
}


def run(language: str, interpreter: Sequence[str], suffix: str, admin: Caller) -> list[Any]:
    """What the example's ``stream`` and ``result`` are."""
    text = (CLIENTS / f"{language}.txt").read_text("utf-8")
    text = text.replace("https://your-domain.com", admin.server.url("").rstrip("/")).replace("your-token", admin.token)
    file = admin.server.folder / f"example{suffix}"
    file.write_text(text + SHOW[language])
    done = subprocess.run([*interpreter, str(file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def check(admin: Caller, stream: Any, result: Any, peers: Peers, clips: Clips) -> None:
    """What the example made is there, and what is pushed to its address goes on air."""
    assert not list(differences(STREAM_CREATED, stream)), stream
    assert not list(differences(STREAM_STARTED, result)), result
    path = f"/api/streams/{stream['id']}"
    made = admin.get(path).json
    assert (made["name"], made["input_url"]) == ("My Stream", "rtmp://localhost:1935/live/test")
    assert (made["latency_mode"], made["qualities"], made["status"]) == ("tutorial", ["720p", "480p"], "starting")
    encoder = peers.ffmpeg_push(clips.get(), admin.server.rtmp("test"))
    admin.wait_for(f"{path}/status", status="running")
    encoder.stop()
    admin.wait_for(f"{path}/status", status="starting")


def test_python_sdk(serve: Serve, clips: Clips, peers: Peers) -> None:
    admin = log_in(serve(**ROOMY, rtmp={"reconnect_grace": 0.0}))
    check(admin, *run("python", [sys.executable], ".py", admin), peers, clips)


def test_javascript_sdk(serve: Serve, clips: Clips, peers: Peers) -> None:
    admin = log_in(serve(**ROOMY, rtmp={"reconnect_grace": 0.0}))
    check(admin, *run("javascript", [program("node")], ".mjs", admin), peers, clips)


def test_the_examples_run_one_after_the_other_and_twice(serve: Serve, clips: Clips, peers: Peers) -> None:
    """All of them print the same name and the same address: the one that was started last has what is pushed there."""
    admin = log_in(serve(**ROOMY, rtmp={"reconnect_grace": 0.0}))
    numbers = []
    for language, interpreter, suffix in (("python", sys.executable, ".py"), ("javascript", program("node"), ".mjs")) * 2:
        stream, result = run(language, [interpreter], suffix, admin)
        check(admin, stream, result, peers, clips)
        numbers.append(stream["id"])
    assert len(set(numbers)) == len(numbers)
    states = {number: admin.get(f"/api/streams/{number}").json["status"] for number in numbers}
    assert states == dict.fromkeys(numbers[:-1], "stopped") | {numbers[-1]: "starting"}
