"""Recordings in other containers as plain MP4: the same access units, pictures and sound where they were."""

import asyncio
import os
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mediaserver.ports import RecordingFormat, RecordingOrder
from mediaserver.recording import faststart, remux
from mediaserver.recording.remux import RemuxError
from tests.e2e.players import Seen, watch
from tests.media import Clips
from tests.mediaserver.packaging.material import shifted
from tests.mediaserver.recording.material import decoded_by_ffmpeg, feed, house, read_flv
from tests.mediaserver.recording.test_faststart import kinds
from tests.peers import program

OTHERS = [RecordingFormat.TS, RecordingFormat.FLV, RecordingFormat.MKV]


async def recorded(clip: Path, root: Path, form: RecordingFormat, *, gap: int = 0) -> Path:
    """A finished recording of ``clip``; with a ``gap`` (ms) twice."""
    async with house(root, format=form.value) as town:
        publisher = town.publish(RecordingOrder("r1"))
        feed(publisher, read_flv(clip))
        if gap:
            feed(publisher, shifted(read_flv(clip), gap))
        town.hub.end("show", "done")
        (finished,) = await town.finished()
    return Path(finished.path)


def steps(seen: Seen) -> set[float]:
    return {round(two - one, 2) for one, two in pairwise(seen.times)}


def apart(seen: Seen) -> float:
    """How much later the picture begins than the sound."""
    return seen.times[0] - seen.sound[0][0]


@pytest.mark.parametrize("form", OTHERS)
@pytest.mark.parametrize("clip", [{}, {"b_frames": 0, "gop": 100}, {"video": "hevc"}], ids=["b-frames", "no b-frames", "hevc"])
async def test_every_picture_and_all_sound_is_there_at_its_time(
    form: RecordingFormat, clip: dict[str, Any], clips: Clips, tmp_path: Path
) -> None:
    source = await recorded(clips.get(**clip), tmp_path, form)
    target = tmp_path / "plain.mp4"
    assert await remux.remux(source, target) == os.stat(target).st_size
    assert kinds(target)[:2] == [b"ftyp", b"moov"]
    assert decoded_by_ffmpeg(target) == ""
    before, after = watch(source), watch(target)
    assert after.numbers == before.numbers == list(range(100))
    assert steps(after) == {0.04}
    assert min(after.times[0], after.sound[0][0]) == pytest.approx(0, abs=0.03)
    assert apart(after) == pytest.approx(apart(before), abs=0.03)
    assert after.seconds_of_sound == pytest.approx(before.seconds_of_sound, abs=0.05)
    assert sorted(os.listdir(tmp_path)) == ["plain.mp4", "show"]


@pytest.mark.parametrize(
    ("form", "clip"),
    [
        (RecordingFormat.MKV, {"video": "av1", "audio": "opus"}),
        (RecordingFormat.FLV, {"video": "av1", "audio": "flac"}),
        (RecordingFormat.MKV, {"video": "vp9", "audio": "aac"}),
        (RecordingFormat.TS, {"audio": "mp3"}),
        (RecordingFormat.FLV, {"audio": ""}),
    ],
)
async def test_other_codecs_that_mp4_carries(form: RecordingFormat, clip: dict[str, Any], clips: Clips, tmp_path: Path) -> None:
    source = await recorded(clips.get(seconds=2.0, **clip), tmp_path, form)
    await remux.remux(source, tmp_path / "plain.mp4")
    seen = watch(tmp_path / "plain.mp4")
    assert seen.numbers == list(range(50))
    assert bool(seen.sound) == bool(clip["audio"])


@pytest.mark.parametrize("form", OTHERS)
async def test_sound_alone(form: RecordingFormat, clips: Clips, tmp_path: Path) -> None:
    source = await recorded(clips.get(video="", seconds=2.0), tmp_path, form)
    await remux.remux(source, tmp_path / "plain.mp4")
    assert watch(tmp_path / "plain.mp4").seconds_of_sound == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("form", OTHERS)
async def test_a_gap_stays_a_gap(form: RecordingFormat, clips: Clips, tmp_path: Path) -> None:
    source = await recorded(clips.get(b_frames=0), tmp_path, form, gap=9000)
    await remux.remux(source, tmp_path / "plain.mp4")
    seen = watch(tmp_path / "plain.mp4")
    assert seen.numbers == [*range(100), *range(100)]
    assert seen.times[-1] - seen.times[0] == pytest.approx(13.0, abs=0.1)


@pytest.mark.parametrize(
    ("codec", "options"), [("pcm_alaw", ["-ar", "8000"]), ("adpcm_swf", ["-ar", "22050"]), ("nellymoser", ["-ar", "22050"])]
)
async def test_what_mp4_does_not_carry_is_told_by_name(codec: str, options: list[str], tmp_path: Path) -> None:
    file = tmp_path / "old.flv"
    made = [program("ffmpeg"), "-v", "error", "-f", "lavfi", "-i", "sine", "-t", "1", "-ac", "1", *options, "-c:a", codec, file]
    await asyncio.to_thread(subprocess.run, made, check=True)
    with pytest.raises(RemuxError, match=f"{codec} has no place in MP4"):
        await remux.remux(file, tmp_path / "plain.mp4")
    assert os.listdir(tmp_path) == [file.name]


async def test_what_is_no_recording_leaves_nothing(tmp_path: Path) -> None:
    for name in ("noise.ts", "noise.flv", "noise.mkv"):
        (tmp_path / name).write_bytes(b"noise" * 1000)
        with pytest.raises(RemuxError):
            await remux.remux(tmp_path / name, tmp_path / "plain.mp4")
    with pytest.raises(FileNotFoundError):
        await remux.remux(tmp_path / "none.ts", tmp_path / "plain.mp4")
    assert sorted(os.listdir(tmp_path)) == ["noise.flv", "noise.mkv", "noise.ts"]


async def test_a_list_of_addresses_is_not_followed(clips: Clips, tmp_path: Path) -> None:
    target = clips.get(container="ts")
    (tmp_path / "list.ts").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:12\n#EXTINF:12,\n{target}\n#EXT-X-ENDLIST\n")
    with pytest.raises(RemuxError):
        await remux.remux(tmp_path / "list.ts", tmp_path / "plain.mp4")


async def test_a_worker_that_says_nothing_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remux, "PATIENCE", 0.2)
    monkeypatch.setattr(remux, "MODULE", "tests.mediaserver.worker.odd_jobs")
    (tmp_path / "a.ts").touch()
    with pytest.raises(RemuxError, match="nothing was heard"):
        await remux.remux(tmp_path / "a.ts", tmp_path / "plain.mp4")
    assert os.listdir(tmp_path) == ["a.ts"]


def test_the_command_says_what_it_did_and_why_not(tmp_path: Path, clips: Clips, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = clips.get(container="ts"), tmp_path / "out.mp4"
    assert faststart.main(source, target) == 0
    assert capsys.readouterr().out == f"{target}: {os.stat(target).st_size} bytes\n"
    assert faststart.main(source, target) == 1
    assert capsys.readouterr().err == f"{target}: exists already, and is not written over\n"
    target.unlink()
    assert faststart.main(tmp_path / "none.ts", target) == 1
    assert capsys.readouterr().err == f"{tmp_path / 'none.ts'}: No such file or directory\n"
    (tmp_path / "text.flv").write_text("text")
    assert faststart.main(tmp_path / "text.flv", target) == 1
    assert "cannot be had as an MP4" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["text.flv"]
