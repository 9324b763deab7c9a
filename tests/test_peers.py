"""The test-bed itself: clips that can be told frame by frame, and real programs that talk to each other."""

import itertools
from pathlib import Path

import pytest

from tests.media import Clips, frames
from tests.peers import Peers, ffprobe, wait_until


@pytest.mark.parametrize(
    ("video", "audio"), [("h264", "aac"), ("hevc", "opus"), ("av1", "opus"), ("vp9", "flac"), ("h264", "mp3"), ("h264", "ac3")]
)
def test_every_frame_of_a_clip_can_be_told(clips: Clips, video: str, audio: str) -> None:
    assert [number for number, _ in frames(clips.get(video=video, audio=audio, seconds=2))] == list(range(50))


def test_a_clip_has_b_frames_unless_told_otherwise(clips: Clips) -> None:
    with_b, without = (ffprobe(clips.get(b_frames=count))["streams"][0]["has_b_frames"] for count in (2, 0))
    assert (with_b > 0, without) == (True, 0)


def test_a_looped_push_with_pyav_reaches_a_player_in_order(clips: Clips, peers: Peers, tmp_path: Path) -> None:
    nginx, port = peers.nginx_rtmp()
    url = f"rtmp://127.0.0.1:{port}/live/cam"
    push = peers.pyav_push(clips.get(seconds=1, gop=5), url)
    wait_until(lambda: push.running, "the push")
    record = peers.ffmpeg_record(url, tmp_path / "record.flv", seconds=3)
    assert record.wait() == 0, record.log()
    numbers = [number for number, _ in frames(tmp_path / "record.flv")]
    assert len(numbers) > 50, record.log()  # the cut at the end may split a group of B-frames
    assert {(b - a) % 25 for a, b in itertools.pairwise(numbers[:-4])} == {1}, numbers
    assert nginx.running
