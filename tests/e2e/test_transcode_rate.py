"""Playlists tell the pictures a second of what the encoders make, of every source that publishes under a name."""

import re
import subprocess
from pathlib import Path

from tests.conftest import Serve
from tests.peers import Peers, Server, program, wait_until


def film(folder: Path, rate: str, gop: int) -> Path:
    """Six seconds of ``rate`` pictures each."""
    file = folder / f"{gop}.flv"
    source = ["-f", "lavfi", "-i", f"testsrc2=size=320x256:rate={rate}:duration=6"]
    encoder = ["-c:v", "libx264", "-preset", "ultrafast", "-g", str(gop), "-sc_threshold", "0"]
    subprocess.run([program("ffmpeg"), "-v", "error", *source, *encoder, str(file)], check=True, timeout=60)
    return file


def told(server: Server) -> tuple[list[str], list[str]]:
    """By the playlist and by the last Period of the MPD, of the stream and its rendition."""
    listed, described = (server.get(f"/live/show/{text}")[2].decode() for text in ("index.m3u8", "manifest.mpd"))
    return re.findall(r"FRAME-RATE=([\d.]+)", listed), re.findall('frameRate="(.+?)"', described.rpartition("<Period")[2])


def test_renditions_have_the_rate_of_their_source_and_of_the_one_that_returns(serve: Serve, peers: Peers, tmp_path: Path) -> None:
    server = serve(transcode={"ladder": ["240p"]}, hls={"segment_duration": 1.0})
    television, slow = film(tmp_path, "60000/1001", 60), film(tmp_path, "25/2", 12)
    pushed = peers.ffmpeg_push(television, server.rtmp("show"), loop=False)
    wait_until(lambda: told(server) == (["59.940"] * 2, ["60000/1001"] * 2), "both rates of television")
    pushed.stop()
    peers.ffmpeg_push(slow, server.rtmp("show"), loop=False)
    wait_until(lambda: told(server) == (["12.500"] * 2, ["25/2"] * 2), "both rates of the one that returned")
