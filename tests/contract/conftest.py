"""Started servers that several tests ask: a quiet one, and one with a stream on air that goes everywhere."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.asking import ROOMY, Caller, log_in
from tests.contract.document import new_stream
from tests.media import Clips
from tests.peers import Peers, Process, Server, ffprobe, running_server, wait_until

KEY = "a_key_that_nobody_guesses"
WIDTH, HEIGHT, FRAME_RATE = 640, 360, 25
#: Seconds on air, in minutes that are written down, from which an average tells what is pushed.
SETTLED = 5
#: Seconds by which an encoder, or what counts, may be behind where a minute is over, on a machine that is short of time: what was
#: due then is counted in the next one.
BEHIND = 3.0


@pytest.fixture(scope="session")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """The administrator of a server on which nothing is on air, and nothing limited. No test may stop it, or its RTMP ports."""
    with running_server(tmp_path_factory.mktemp("quiet"), ROOMY) as server:
        yield log_in(server)


@dataclass(frozen=True)
class Town:
    """A stream with a quality of its own, a recording and a destination, and who owns it. No test may end it."""

    server: Server
    admin: Caller
    stream_id: int
    destination_id: int
    clip: Path
    encoder: Process
    nginx_port: int
    #: Before the stream was.
    started: float

    @property
    def path(self) -> str:
        return f"/api/streams/{self.stream_id}"

    @property
    def clip_kilobits(self) -> float:
        """The bit rate of what is pushed."""
        return int(ffprobe(self.clip)["format"]["bit_rate"]) / 1000

    def tells_what_is_pushed(self, kilobits: float, seconds: float) -> bool:
        """Whether that is the average bit rate of so many seconds."""
        return abs(kilobits / self.clip_kilobits - 1) <= 0.2 + BEHIND / seconds

    def wait_for_an_average(self) -> None:
        """Until it was on air for so long that an average tells what is pushed. The first minute may be as short as it likes; a
        minute is written down a second or two after it is over."""
        path = f"{self.path}/stats?interval=1m"
        wait_until(lambda: self.admin.get(path).json["summary"]["uptime"] >= SETTLED, "a minute that is written", timeout=85)


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory, clips: Clips) -> Iterator[Town]:
    """On air, encoded, recorded and relayed to an nginx."""
    folder = tmp_path_factory.mktemp("town")
    (folder / "peers").mkdir()
    clip = clips.get(width=WIDTH, height=HEIGHT, bitrate=600_000)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running_server(folder, ROOMY | {"recording": {"min_free_bytes": 0}}))
        peers = Peers(folder / "peers")
        stack.callback(peers.stop)
        _, nginx_port = peers.nginx_rtmp()
        admin = log_in(server)
        destination = {"name": "Tutorial Platform", "platform": "tutorial", "rtmp_url": f"rtmp://127.0.0.1:{nginx_port}/live/"}
        stream = new_stream(
            server.rtmp_port, KEY, record_enabled=True, qualities=["240p"], destinations=[destination | {"stream_key": "out"}]
        )
        number = admin.made("/api/streams", stream)["id"]
        started = time.time()
        assert admin.post(f"/api/streams/{number}/start").status == 200
        encoder = peers.ffmpeg_push(clip, server.rtmp(KEY))
        admin.wait_for(f"/api/streams/{number}/status", status="running")
        server.wait_live(f"stream_{number}@240p")
        destination_id = admin.get(f"/api/streams/{number}").json["destinations"][0]["id"]
        admin.wait_for(f"/api/destinations/{destination_id}", status="active")
        yield Town(server, admin, number, destination_id, clip, encoder, nginx_port, started)
