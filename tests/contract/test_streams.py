"""Stream management, with real encoders, players, files and a real nginx-rtmp as a destination."""

import re
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Serve
from tests.contract.asking import ROOMY, Answer, Caller, log_in
from tests.contract.conftest import BEHIND, FRAME_RATE, HEIGHT, KEY, SETTLED, WIDTH, Town
from tests.contract.document import (
    MESSAGE,
    STREAM,
    STREAM_CREATED,
    STREAM_STARTED,
    STREAM_STATS,
    STREAM_STATUS,
    STREAM_STOPPED,
    STREAMS,
    error,
    new_stream,
)
from tests.e2e.players import LivePlayer
from tests.media import Clips, frames
from tests.peers import Peers, Process, Server, ffprobe, program, wait_until

BFRAMES = 3
#: Seconds after a minute within which it is written down on a busy machine.
LATE = 10
MISSING = error("STREAM_NOT_FOUND")


@pytest.fixture
def here(serve: Serve) -> Caller:
    """The administrator of a server of the test's own."""
    return log_in(serve(**ROOMY, rtmp={"reconnect_grace": 0.0}, recording={"min_free_bytes": 0}))


def make_stream(admin: Caller, key: str, **fields: Any) -> int:
    return int(admin.made("/api/streams", new_stream(admin.server.rtmp_port, key, **fields))["id"])


def is_refused(peers: Peers, clip: Path, url: str) -> bool:
    """Whether an encoder is turned away: ffmpeg then ends by itself."""
    return peers.ffmpeg_push(clip, url).wait() != 0


def is_sent_away(encoder: Process) -> bool:
    return encoder.wait() != 0


def recordings(server: Server, stream_id: int) -> list[Path]:
    return sorted((server.folder / "data" / "recordings").rglob(f"*stream_{stream_id}*.mp4"))


# -- what is there ----------------------------------------------------------------------------------------------------


def test_list_streams(town: Town) -> None:
    listed = town.admin.get("/api/streams").fits(STREAMS)
    assert (listed["page"], listed["per_page"]) == (1, 10)
    (stream,) = [stream for stream in listed["streams"] if stream["id"] == town.stream_id]
    assert (stream["name"], stream["status"], stream["latency_mode"]) == ("My Tutorial Stream", "running", "normal")
    assert stream["input_url"] == f"rtmp://localhost:{town.server.rtmp_port}/live/{KEY}"
    assert stream["destinations"] == [{"platform": "tutorial", "status": "active"}]


def test_a_list_comes_in_pages(quiet: Caller) -> None:
    numbers = [make_stream(quiet, f"page_{number}") for number in range(12)]
    first = quiet.get("/api/streams").json
    assert len(first["streams"]) == min(10, first["total"])
    found = []
    for page in range(1, first["total"] // 5 + 2):
        part = quiet.get(f"/api/streams?page={page}&per_page=5").fits(STREAMS, empty=("destinations",))
        assert (part["page"], part["per_page"], part["total"]) == (page, 5, first["total"])
        found += [stream["id"] for stream in part["streams"]]
    assert found == sorted(set(found))
    assert set(numbers) <= set(found)
    assert len(found) == first["total"]


def test_get_stream_details(town: Town) -> None:
    stream = town.admin.get(town.path).fits(STREAM)
    assert town.admin.get(f"/api/streams/stream_{town.stream_id}").json["id"] == town.stream_id
    assert (stream["id"], stream["status"], stream["input_type"]) == (town.stream_id, "running", "rtmp")
    assert (stream["record_enabled"], stream["video_codec"], stream["audio_codec"]) == (True, "h264", "aac")
    (destination,) = stream["destinations"]
    assert destination["rtmp_url"] == f"rtmp://127.0.0.1:{town.nginx_port}/live/"
    assert destination["enabled"] is True
    sizes = {"240p": (426, 240), "source": (WIDTH, HEIGHT)}
    outputs = {(output["format_type"], output["resolution"]): output["output_path"] for output in stream["outputs"]}
    assert set(outputs) == {(kind, size) for kind in ("hls", "dash") for size in sizes}
    assert outputs["hls", "240p"] == f"/static/streams/hls/stream_{town.stream_id}_240p.m3u8"
    (rung,) = town.server.live()[f"stream_{town.stream_id}"]["rungs"]
    told = {output["resolution"]: output["bitrate"] for output in stream["outputs"]}
    assert told == {"240p": round(rung["bitrate"] / 1000), "source": 0}
    for (kind, resolution), path in outputs.items():
        seen = ffprobe(town.server.url(path))
        pictures = {(s["width"], s["height"]) for s in seen["streams"] if s["codec_type"] == "video"}
        # The whole stream offers every quality; a quality is itself.
        assert sizes[resolution] in pictures, (kind, resolution, pictures)
        assert resolution == "source" or pictures == {sizes[resolution]}


def test_the_documented_addresses_play_in_ffmpeg(town: Town) -> None:
    """Decoded by the program that people have; PyAV's knows no DASH."""
    for path in (f"hls/stream_{town.stream_id}_240p.m3u8", f"dash/stream_{town.stream_id}_240p.mpd"):
        assert _decoded(town.server.url(f"/static/streams/{path}")) >= FRAME_RATE, path


def _decoded(url: str) -> int:
    """How many pictures ffmpeg decodes in the first second."""
    command = [program("ffmpeg"), "-v", "error", "-nostdin", "-i", url, "-t", "1", "-map", "0:v:0", "-f", "rawvideo", "-"]
    done = subprocess.run([*command[:-3], "-pix_fmt", "gray", "-s", "16x16", *command[-3:]], capture_output=True, timeout=40)
    assert done.returncode == 0, done.stderr.decode()
    return len(done.stdout) // 256


# -- making and changing ----------------------------------------------------------------------------------------------


def test_create_stream(quiet: Caller) -> None:
    body = new_stream(
        quiet.server.rtmp_port,
        "my_stream",
        input_type="rtmp",
        latency_mode="tutorial",
        record_enabled=True,
        video_codec="h264",
        audio_codec="aac",
        qualities=["720p", "480p", "360p"],
        destinations=[
            {
                "name": "Tutorial Platform",
                "platform": "tutorial",
                "rtmp_url": "rtmp://tutorial-platform.com/live/",
                "stream_key": "your_stream_key",
            }
        ],
    )
    made = quiet.post("/api/streams", body).fits(STREAM_CREATED, 201)
    assert made | {"id": 0} == {
        "id": 0,
        "name": "My Tutorial Stream",
        "status": "stopped",
        "message": "Stream created successfully",
    }
    stream = quiet.get(f"/api/streams/{made['id']}").fits(STREAM)
    kept = ("name", "input_url", "input_type", "latency_mode", "record_enabled", "video_codec", "audio_codec", "qualities")
    assert {name: stream[name] for name in kept} == {name: body[name] for name in kept}
    (destination,) = stream["destinations"]
    assert destination["status"] == "inactive"
    assert "your_stream_key" not in str(stream)
    assert stream["created_at"] == stream["updated_at"]
    # What the encoder would be told for pictures of 16:9.
    assert {o["resolution"]: o["bitrate"] for o in stream["outputs"]} == {"720p": 2800, "480p": 1420, "360p": 870, "source": 0}


def test_what_is_left_out_has_its_default(quiet: Caller) -> None:
    stream = quiet.get(f"/api/streams/{make_stream(quiet, 'least')}").fits(STREAM, empty=("destinations", "qualities"))
    defaults = {
        "input_type": "rtmp",
        "latency_mode": "normal",
        "record_enabled": False,
        "auto_start": True,
        "video_codec": "h264",
        "audio_codec": "aac",
        "bitrate_mode": "vbr",
        "keyframe_interval": 2,
        "qualities": [],
        "destinations": [],
    }
    assert {name: stream[name] for name in defaults} == defaults


def test_update_stream(quiet: Caller) -> None:
    number = make_stream(quiet, "before", record_enabled=True, qualities=["720p"])
    before = quiet.get(f"/api/streams/{number}").json
    wanted = {"name": "Updated Stream Name", "latency_mode": "low", "record_enabled": False}
    changed = quiet.put(f"/api/streams/{number}", wanted).fits(STREAM, empty=("destinations",))
    assert changed == before | wanted | {"updated_at": changed["updated_at"]}
    assert quiet.get(f"/api/streams/{number}").json == changed
    nothing = quiet.put(f"/api/streams/{number}", {}).fits(STREAM, empty=("destinations",))
    assert nothing == changed
    quiet.put("/api/streams/999999", wanted).fits(MISSING, 404)


def test_a_stream_that_is_changed_on_air_is_recorded_and_relayed_as_it_says(
    here: Caller, serve: Serve, clips: Clips, peers: Peers
) -> None:
    """Recording and destinations follow at once: what was taken out gets nothing any more."""
    there = serve(rtmp={"reconnect_grace": 0.0})
    destination = {"name": "There", "rtmp_url": f"rtmp://127.0.0.1:{there.rtmp_port}/live/", "stream_key": "first"}
    number = make_stream(here, "on_air", destinations=[destination])
    path = f"/api/streams/{number}"
    peers.ffmpeg_push(clips.get(), here.server.rtmp("on_air"))
    there.wait_live("first")
    here.put(path, {"record_enabled": True, "destinations": [destination | {"stream_key": "second"}]})
    there.wait_live("second")
    wait_until(lambda: set(there.live()) == {"second"}, "the end of the first relay")
    # There it is live before its answer has come here.
    wait_until(lambda: [each["status"] for each in here.get(path).json["destinations"]] == ["active"], "the second relay")
    wait_until(lambda: recordings(here.server, number), "a file")
    with LivePlayer(there.rtmp("second")) as player:
        player.wait_for(10)
        here.put(path, {"record_enabled": False, "destinations": []})
        player.wait_end()
    assert here.get(path).json["destinations"] == []
    wait_until(lambda: "recording_finished" in here.server.log(), "the end of the recording")
    (file,) = recordings(here.server, number)
    assert list(frames(file))
    assert here.get(f"{path}/status").json["status"] == "running"
    assert there.live() == {}


def test_what_is_on_air_is_shown_as_it_plays(here: Caller, clips: Clips, peers: Peers) -> None:
    """Neither what is larger than the source, nor what was asked for since it began, is among its outputs."""
    number = make_stream(here, "as_it_plays", qualities=["1080p", "240p"])
    path, name, clip = f"/api/streams/{number}", f"stream_{number}", clips.get(width=WIDTH, height=HEIGHT, bitrate=600_000)
    encoder = peers.ffmpeg_push(clip, here.server.rtmp("as_it_plays"))
    here.server.wait_live(f"{name}@240p")
    changed = here.put(path, {"qualities": ["360p", "240p"], "latency_mode": "low"}).fits(STREAM, empty=("destinations",))
    assert (changed["qualities"], changed["latency_mode"]) == (["360p", "240p"], "low")
    assert set(changed["pending"]) == {"qualities", "latency_mode"}
    wait_until(lambda: _sizes(here, path) == {"240p": (426, 240), "source": (WIDTH, HEIGHT)}, "the outputs that are made")
    for output in here.get(path).json["outputs"]:
        seen = ffprobe(here.server.url(output["output_path"]))
        pictures = {(s["width"], s["height"]) for s in seen["streams"] if s["codec_type"] == "video"}
        assert (output["width"], output["height"]) in pictures
    encoder.stop()
    here.wait_for(f"{path}/status", status="stopped")
    assert _sizes(here, path) == {"360p": (0, 0), "240p": (0, 0), "source": (0, 0)}
    peers.ffmpeg_push(clip, here.server.rtmp("as_it_plays"))
    for quality in ("360p", "240p"):
        here.server.wait_live(f"{name}@{quality}")
    assert here.get(path).json["pending"] == []
    made = {"360p": (WIDTH, HEIGHT), "240p": (426, 240), "source": (WIDTH, HEIGHT)}
    wait_until(lambda: _sizes(here, path) == made, "the outputs that are made")


def _sizes(here: Caller, path: str) -> dict[str, tuple[int, int]]:
    return {output["resolution"]: (output["width"], output["height"]) for output in here.get(path).json["outputs"]}


def test_delete_stream(here: Caller, clips: Clips, peers: Peers) -> None:
    number = make_stream(here, "short_lived")
    encoder = peers.ffmpeg_push(clips.get(), here.server.rtmp("short_lived"))
    here.wait_for(f"/api/streams/{number}/status", status="running")
    assert here.delete(f"/api/streams/{number}").fits(MESSAGE) == {"message": "Stream deleted successfully"}
    assert is_sent_away(encoder)
    here.get(f"/api/streams/{number}").fits(MISSING, 404)
    here.delete(f"/api/streams/{number}").fits(MISSING, 404)
    assert here.get("/api/streams").json["total"] == 0


# -- on air and off ---------------------------------------------------------------------------------------------------


def test_start_stream(here: Caller, clips: Clips, peers: Peers) -> None:
    server, clip = here.server, clips.get()
    number = make_stream(here, "asked_for", auto_start=False, qualities=["720p"])
    path = f"/api/streams/{number}"
    assert is_refused(peers, clip, server.rtmp("asked_for")), "an encoder may push before the stream is started"
    started = here.post(f"{path}/start").fits(STREAM_STARTED)
    assert (started["stream_id"], started["message"]) == (number, "Stream started successfully")
    urls = [(output["format"], output["url"]) for output in started["outputs"]]
    assert ("hls", server.url(f"/static/streams/hls/stream_{number}_720p.m3u8")) in urls
    assert ("dash", server.url(f"/static/streams/dash/stream_{number}_720p.mpd")) in urls
    here.post(f"{path}/start").fits(error("STREAM_ALREADY_RUNNING"), 409)
    assert here.get(f"{path}/status").json["status"] == "starting"
    peers.ffmpeg_push(clip, server.rtmp("asked_for"))
    here.wait_for(f"{path}/status", status="running")
    here.post(f"{path}/start").fits(error("STREAM_ALREADY_RUNNING"), 409)
    # 720p of a smaller picture is the picture itself.
    for _, url in urls:
        assert {(s.get("width"), s.get("height")) for s in ffprobe(url)["streams"]} == {(320, 192), (None, None)}, url
    here.post("/api/streams/999999/start").fits(MISSING, 404)


def test_a_push_starts_a_stream_that_may_start_by_itself(here: Caller, clips: Clips, peers: Peers) -> None:
    number = make_stream(here, "by_itself")
    assert here.get(f"/api/streams/{number}/status").json["status"] == "stopped"
    encoder = peers.ffmpeg_push(clips.get(), here.server.rtmp("by_itself"))
    here.wait_for(f"/api/streams/{number}/status", status="running")
    encoder.stop()
    here.wait_for(f"/api/streams/{number}/status", status="stopped")


def test_stop_stream(here: Caller, clips: Clips, peers: Peers) -> None:
    """Publisher, players, relay, recording and renditions: all of it ends."""
    server, clip = here.server, clips.get(width=WIDTH, height=HEIGHT, bitrate=600_000)
    _, port = peers.nginx_rtmp()
    destination = {"name": "There", "rtmp_url": f"rtmp://127.0.0.1:{port}/live/", "stream_key": "out"}
    number = make_stream(here, "all_of_it", qualities=["240p"], record_enabled=True, destinations=[destination])
    path = f"/api/streams/{number}"
    encoder = peers.ffmpeg_push(clip, server.rtmp("all_of_it"))
    server.wait_live(f"stream_{number}@240p")
    with LivePlayer(server.rtmp(f"stream_{number}")) as player:
        player.wait_for(10)
        with LivePlayer(f"rtmp://127.0.0.1:{port}/live/out") as there:
            there.wait_for(10)
        stopped = here.post(f"{path}/stop").fits(STREAM_STOPPED)
        assert stopped == {"status": "success", "message": "Stream stopped successfully", "stream_id": number}
        assert is_sent_away(encoder)
        player.wait_end()
        wait_until(lambda: not server.live(), "nothing to be live")
        assert here.get(f"{path}/status").json["status"] == "stopped"
        wait_until(lambda: "recording_finished" in server.log(), "the end of the recording")
        (file,) = recordings(server, number)
        numbers = [picture for picture, _ in frames(file)]
        # Where it was cut off, pictures that others refer to may be missing.
        assert numbers[:-BFRAMES] == [(numbers[0] + n) % 100 for n in range(len(numbers) - BFRAMES)]
        wait_until(lambda: not _transcoding(server), "the transcoder's process to end")
    here.post(f"{path}/stop").fits(STREAM_STOPPED)
    assert is_refused(peers, clip, server.rtmp("all_of_it")), "an encoder that was sent away comes back by itself"
    here.post(f"{path}/start").fits(STREAM_STARTED)
    peers.ffmpeg_push(clip, server.rtmp("all_of_it"))
    here.wait_for(f"{path}/status", status="running")
    here.post("/api/streams/999999/stop").fits(MISSING, 404)


def _transcoding(server: Server) -> list[str]:
    """The command lines of processes below the server's."""
    listed = subprocess.run(["ps", "--ppid", str(server.process.pid), "-o", "args="], capture_output=True, text=True)
    return [line for line in listed.stdout.splitlines() if "transcod" in line]


def test_a_stream_that_is_fetched_is_started_and_stopped_like_any(here: Caller, town: Town, clips: Clips) -> None:
    """``input_url`` elsewhere: it is pulled from there, here from another server's HTTP-FLV, and again after a stop."""
    url = town.server.url(f"/live/stream_{town.stream_id}.flv")
    number = here.made("/api/streams", {"name": "Fetched", "input_url": url, "input_type": "http"})["id"]
    path = f"/api/streams/{number}"
    for _ in range(2):
        here.post(f"{path}/start").fits(STREAM_STARTED)
        here.post(f"{path}/start").fits(error("STREAM_ALREADY_RUNNING"), 409)
        # Its headers may come a moment after it.
        here.wait_for(f"{path}/status", status="running", resolution=f"{WIDTH}x{HEIGHT}")
        here.post(f"{path}/stop").fits(STREAM_STOPPED)
        here.wait_for(f"{path}/status", status="stopped")


def test_the_latency_mode_decides_how_long_segments_parts_and_the_window_are(here: Caller, clips: Clips, peers: Peers) -> None:
    """In seconds. Parts hold whole pictures, of which there are 25 a second, so they are a little shorter or longer."""
    modes = {"low": (1.0, 0.1, 6.0), "normal": (2.0, 0.2, 14.0), "tutorial": (2.0, 0.2, 14.0), "high": (6.0, 1.0, 36.0)}
    for mode, (segment, part, window) in modes.items():
        number = make_stream(here, f"mode_{mode}", latency_mode=mode)
        encoder = peers.ffmpeg_push(clips.get(), here.server.rtmp(f"mode_{mode}"))
        here.wait_for(f"/api/streams/{number}/status", status="running")
        seen = wait_until(lambda number=number: _pacing(here.server, number), "a playlist")
        assert (seen[0], seen[2]) == (segment, window), mode
        assert abs(seen[1] - part) <= 1 / 25, mode
        encoder.stop()


def _pacing(server: Server, number: int) -> tuple[float, float, float] | None:
    """A segment, a part and how far back one can go, as playlist and MPD tell it; None while there are none."""
    texts = [server.get(f"/live/stream_{number}/{file}") for file in ("video.m3u8", "manifest.mpd")]
    if any(status != 200 for status, _, _ in texts):
        return None
    words = (r"#EXT-X-TARGETDURATION:(\d+)", r"PART-TARGET=([\d.]+)", r'timeShiftBufferDepth="PT([\d.]+)S"')
    told = "".join(body.decode() for _, _, body in texts)
    found = [re.search(word, told) for word in words]
    segment, part, window = (0.0 if each is None else float(each[1]) for each in found)
    return (segment, part, window) if all(found) else None


def test_what_is_asked_of_the_encoder_is_what_comes_out(here: Caller, clips: Clips, peers: Peers, tmp_path: Path) -> None:
    """``video_codec``, ``audio_codec``, ``bitrate_mode`` and ``keyframe_interval``, in what players of a quality get."""
    clip = clips.get(width=426, height=240, gop=50, audio="mp3", container="mkv")  # a keyframe every 2 s
    asked: dict[str, dict[str, Any]] = {
        "plain": {},
        "closer": {"keyframe_interval": 1.0},
        "hevc": {"video_codec": "hevc"},
        "steady": {"bitrate_mode": "cbr", "keyframe_interval": 1.0},
    }
    numbers = {key: make_stream(here, key, audio_codec="aac", qualities=["240p", "audio"], **asked[key]) for key in asked}
    for key in asked:
        peers.ffmpeg_push(clip, here.server.rtmp(key))
    recorded = {}
    for key in ("plain", "closer", "steady"):
        here.server.wait_live(f"stream_{numbers[key]}@240p", 30)
        url, file = here.server.url(f"/live/stream_{numbers[key]}@240p.flv"), tmp_path / f"{key}.mkv"
        recorded[key] = file, peers.ffmpeg_record(url, file, seconds=6)
    name = f"stream_{numbers['hevc']}"
    for quality in ("240p", "audio"):
        here.server.wait_live(f"{name}@{quality}", 30)
    assert _codecs(here.server.url(f"/static/streams/hls/{name}_240p.m3u8")) == {"hevc", "aac"}
    assert _codecs(here.server.url(f"/live/{name}@audio.flv")) == {"aac"}
    assert _codecs(here.server.url(f"/live/{name}.flv")) == {"h264", "mp3"}
    seen = {key: _rendition(file) for key, (file, player) in recorded.items() if player.wait(60) == 0}
    # What is like the source already is passed on as it comes, unless keyframes of its own are asked for.
    outputs = {key: here.get(f"/api/streams/{numbers[key]}").json["outputs"] for key in seen}
    told = {key: next(o["bitrate"] for o in outputs[key] if o["resolution"] == "240p") for key in seen}
    assert (seen["plain"].apart, told["plain"]) == ({2.0}, 0)
    assert seen["closer"].apart == seen["steady"].apart == {1.0}
    assert 0.9 <= seen["steady"].kilobits / told["steady"] <= 1.1
    assert seen["closer"].kilobits < 0.8 * told["closer"], "a picture as plain as this needs less than it may have"


@dataclass(frozen=True)
class Rendition:
    """What a player got: all the spans from one keyframe to the next, in seconds, and the bit rate of the pictures in them."""

    apart: set[float]
    kilobits: float


def _codecs(source: str) -> set[str]:
    return {stream["codec_name"] for stream in ffprobe(source)["streams"]}


def _rendition(file: Path) -> Rendition:
    packets = [each for each in ffprobe(file, "-show_packets")["packets"] if each["codec_type"] == "video"]
    keys = [number for number, packet in enumerate(packets) if "K" in packet["flags"]]
    seconds, size, apart = 0.0, 0, set()
    for begin, end in pairwise(keys):
        span = float(packets[end]["pts_time"]) - float(packets[begin]["pts_time"])
        # Where a machine was short of time the pictures up to a keyframe are left out, and that one may be among them.
        if end - begin == round(span * FRAME_RATE):
            apart.add(round(span, 1))  # a clip's times are whole milliseconds, and its sound may be longer than its picture
            seconds, size = seconds + span, size + sum(int(packet["size"]) for packet in packets[begin:end])
    assert seconds, f"no picture but the last came with all that follow it: {keys}"
    return Rendition(apart, size * 8 / 1000 / seconds)


# -- figures ----------------------------------------------------------------------------------------------------------


def test_get_stream_status(town: Town) -> None:
    began = time.time()
    with (
        LivePlayer(town.server.rtmp(f"stream_{town.stream_id}")) as one,
        LivePlayer(town.server.url(f"/live/stream_{town.stream_id}@240p.flv")) as other,
    ):
        one.wait_for(5)
        other.wait_for(5)
        town.admin.wait_for(f"{town.path}/status", current_viewers=2)
        # Rates are measured over the last seconds, in which an encoder may have been kept waiting, or have made up for it.
        asked_at, answer = wait_until(lambda: _steady(town), "the rates of what is pushed", 60)
        seen, answered_at = answer.fits(STREAM_STATUS), time.time()
    since = town.server.live()[f"stream_{town.stream_id}"]["since"]
    assert (seen["stream_id"], seen["status"], seen["resolution"]) == (town.stream_id, "running", f"{WIDTH}x{HEIGHT}")
    assert seen["peak_viewers"] >= 2
    assert asked_at - since - 2 <= seen["uptime"] <= answered_at - since + 1
    # What is put out is its 240p, encoded anew.
    rendition = town.server.live()[f"stream_{town.stream_id}"]["rungs"][0]
    assert seen["output_bitrate"] > 0
    assert seen["output_bitrate"] != seen["input_bitrate"], rendition
    assert seen["last_updated"] >= time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began))
    town.admin.wait_for(f"{town.path}/status", current_viewers=0)


def _steady(town: Town) -> tuple[float, Answer] | None:
    """When the status was asked for and what it is, once its rates are those of the clip, and there is one of the quality."""
    asked_at, answer = time.time(), town.admin.get(f"{town.path}/status")
    pictures, bits = answer.json["frame_rate"], answer.json["input_bitrate"] / town.clip_kilobits
    steady = abs(pictures - FRAME_RATE) <= 2 and 0.7 <= bits <= 1.3 and answer.json["output_bitrate"] > 0
    return (asked_at, answer) if steady else None


def test_get_stream_statistics(town: Town) -> None:
    """What was on air for a minute is a sample of it, in steps of every documented length."""
    path = f"{town.path}/stats"
    with LivePlayer(town.server.rtmp(f"stream_{town.stream_id}")) as player:
        player.wait_for(5)

        def written() -> bool:
            summary = town.admin.get(f"{path}?interval=1m").json["summary"]
            return bool(summary["peak_viewers"] and summary["uptime"] >= SETTLED)

        # A minute is written down a second or two after it is over; the first may be as short as it likes.
        wait_until(written, "a minute with a viewer", timeout=85)
    since = town.server.live()[f"stream_{town.stream_id}"]["since"]
    for interval, step in (("1m", 60), ("5m", 300), ("1h", 3600), ("1d", 86400), ("", 300)):
        asked_at = time.time()
        seen = town.admin.get(path + (f"?interval={interval}" if interval else "")).fits(STREAM_STATS)
        answered_at = time.time()
        assert seen["stream_id"] == town.stream_id
        for sample in seen["stats"]:
            at = datetime.fromisoformat(sample["timestamp"]).timestamp()
            assert at % step == 0
            assert town.started // 60 * 60 - step < at <= answered_at
            assert sample["packet_loss"] == 0
            # What was on air for a moment may have had no picture in it.
            on_air = min(at + step, since + seen["summary"]["uptime"]) - max(at, since)
            if on_air >= SETTLED:
                pictures = sample["frame_rate"] / FRAME_RATE
                assert abs(pictures - 1) <= 0.1 + BEHIND / on_air
                # Who is behind is so with all that is sent; a keyframe more or less is a second's worth at most.
                assert abs(sample["bitrate"] / town.clip_kilobits / pictures - 1) <= 0.2 + 1 / on_air
        assert town.tells_what_is_pushed(seen["summary"]["avg_bitrate"], seen["summary"]["uptime"])
        assert 0 < seen["summary"]["avg_viewers"] <= seen["summary"]["peak_viewers"]
        # Since it began, until the last minute that is written: the present one may have begun just now.
        least, most = ((now // 60 * 60) - since for now in (asked_at - LATE, answered_at))
        assert least - 2 <= seen["summary"]["uptime"] <= most + 2
    asked = town.admin.get(f"{path}?start_time=2025-01-01T10:00:00Z&end_time=2025-01-01T11:00:00Z")
    before = asked.fits(STREAM_STATS, empty=("stats",))
    assert (before["stats"], before["summary"]["uptime"]) == ([], 0)
    for query, field in (("interval=2m", "interval"), ("start_time=x", "start_time"), ("end_time=2025-13-01", "end_time")):
        wrong = town.admin.get(f"{path}?{query}").fits(error("VALIDATION_ERROR"), 422)
        assert set(wrong["error"]["details"]["fields"]) == {field}
    town.admin.get("/api/streams/999999/stats").fits(MISSING, 404)


def test_the_status_of_what_is_off_air_is_all_nought(quiet: Caller) -> None:
    number = make_stream(quiet, "off_air")
    seen = quiet.get(f"/api/streams/{number}/status").fits(STREAM_STATUS)
    nought = {"uptime": 0, "current_viewers": 0, "peak_viewers": 0, "output_bitrate": 0, "input_bitrate": 0, "frame_rate": 0}
    assert seen | nought | {"status": "stopped", "resolution": ""} == seen
    quiet.get("/api/streams/999999/status").fits(MISSING, 404)


def test_why_nothing_comes_of_a_stream_that_is_fetched_is_told(serve: Serve) -> None:
    admin = log_in(serve(**ROOMY | {"server": {"allow_private_targets": False}}))
    number = admin.made("/api/streams", new_stream(9, "elsewhere"))["id"]
    path = f"/api/streams/{number}"
    written = {"input_url": "rtmp://127.0.0.1:9/live/elsewhere"}
    refused = admin.post("/api/streams", new_stream(9, "elsewhere") | written).fits(error("VALIDATION_ERROR"), 422)
    assert "not a public address" in refused["error"]["details"]["fields"]["input_url"]
    assert admin.get(path).fits(STREAM, empty=("qualities", "destinations"))["reason"] == ""
    assert admin.post(f"{path}/start").status == 200
    wait_until(lambda: "not a public address" in admin.get(path).json["reason"], "the reason")
    # A name that leads there will lead there the next time: it is given up, and says so in a list, too.
    wait_until(lambda: admin.get(path).json["status"] == "stopped", "its end")
    (listed,) = admin.get("/api/streams").fits(STREAMS, empty=("destinations",))["streams"]
    assert (listed["status"], listed["reason"]) == ("stopped", admin.get(path).json["reason"])
    assert admin.post(f"{path}/stop").status == 200
    assert admin.get(path).json["reason"] == ""
