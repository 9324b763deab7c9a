"""Recordings of real packets, and what real decoders find in them."""

import asyncio
import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from time import monotonic

import pytest

from mediaserver.errors import Refused
from mediaserver.events import RecordingFailed, RecordingFinished, RecordingStarted
from mediaserver.hub.stream import StreamState
from mediaserver.ports import RecordingFormat, RecordingOrder
from protocols.media import MediaKind, Packet, Track
from tests.media import Clips, frames
from tests.mediaserver.packaging.material import only, shifted
from tests.mediaserver.recording.material import decoded_by_ffmpeg, feed, house, marked, numbers, offset_of, read_flv
from tests.peers import ffprobe

ORDER = RecordingOrder("r1")
ALL = list(RecordingFormat)


def pictures(items: list[Track | Packet], first: int, last: int) -> list[Track | Packet]:
    """The tracks, and the packets from picture ``first`` (in the order of coding) until before picture ``last``."""
    found: list[Track | Packet] = []
    count = -1
    for item in items:
        if isinstance(item, Packet):
            count += item.kind is MediaKind.VIDEO
            if not first <= count < last:
                continue
        found.append(item)
    return found


# -- what is written -------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ALL)
async def test_every_picture_and_sound_is_there_from_zero_on_and_in_step(
    form: RecordingFormat, clips: Clips, tmp_path: Path
) -> None:
    clip = clips.get()
    async with house(tmp_path, format=form.value) as town:
        publisher = town.publish(ORDER)
        feed(publisher, read_flv(clip))
        town.hub.end("show", "done")
        (finished,) = await town.finished()
    file = Path(finished.path)
    assert file.parent == tmp_path / "show"
    assert file.suffix == f".{form.value}"
    assert numbers(file) == list(range(100))
    assert decoded_by_ffmpeg(file) == ""
    assert abs(offset_of(file) - offset_of(clip)) < 0.0015
    probed = ffprobe(file, "-count_frames")
    assert {stream["codec_name"]: int(stream["nb_read_frames"]) for stream in probed["streams"]} == {"h264": 100, "aac": 189}
    assert float(probed["format"]["start_time"]) < 0.2
    assert abs(float(probed["format"]["duration"]) - finished.seconds) < 0.1
    assert abs(finished.seconds - 4.03) < 0.07
    assert (finished.bytes, finished.recovered, finished.recording_id) == (os.stat(file).st_size, False, "r1")
    times = [time for _, time in frames(file)]
    assert all(abs(two - one - 0.04) < 0.0011 for one, two in pairwise(times))


async def test_an_mp4_begins_at_zero_whatever_the_stream_s_clock_says(clips: Clips, tmp_path: Path) -> None:
    async with house(tmp_path) as town:
        feed(town.publish(ORDER), shifted(read_flv(clips.get()), 86_400_000))
        town.hub.end("show", "done")
        (finished,) = await town.finished()
    assert float(ffprobe(finished.path)["format"]["start_time"]) == 0.0


@pytest.mark.parametrize(("video", "audio"), [("h264", ""), ("", "aac")])
@pytest.mark.parametrize("form", ALL)
async def test_one_kind_alone(form: RecordingFormat, video: str, audio: str, clips: Clips, tmp_path: Path) -> None:
    async with house(tmp_path, format=form.value) as town:
        feed(town.publish(ORDER), read_flv(clips.get(video=video, audio=audio, seconds=2.0)))
        town.hub.end("show", "done")
        (finished,) = await town.finished()
    (stream,) = ffprobe(finished.path, "-count_frames")["streams"]
    assert stream["codec_name"] == video or audio
    assert int(stream["nb_read_frames"]) == (50 if video else 95)
    assert decoded_by_ffmpeg(finished.path) == ""
    assert abs(finished.seconds - 2.0) < 0.1


@pytest.mark.parametrize(
    ("form", "video", "audio"),
    [
        ("mp4", "hevc", "opus"),
        ("mp4", "av1", "flac"),
        ("mp4", "vp9", "ac3"),
        ("mp4", "h264", "mp3"),
        ("mkv", "hevc", "opus"),
        ("mkv", "av1", "flac"),
        ("mkv", "vp9", "ac3"),
        ("mkv", "h264", "mp3"),
        ("flv", "hevc", "opus"),
        ("flv", "av1", "flac"),
        ("flv", "vp9", "opus"),
        ("flv", "h264", "ac3"),
        ("flv", "h264", "mp3"),
        ("ts", "hevc", "opus"),
        ("ts", "h264", "ac3"),
        ("ts", "h264", "mp3"),
    ],
)
async def test_codecs(form: str, video: str, audio: str, clips: Clips, tmp_path: Path) -> None:
    clip = clips.get(video=video, audio=audio, seconds=1.0)
    async with house(tmp_path, format=form) as town:
        feed(town.publish(ORDER), read_flv(clip))
        town.hub.end("show", "done")
        (finished,) = await town.finished()
    assert numbers(finished.path) == list(range(25))
    # Debian's ffprobe cannot read Enhanced FLV.
    streams = ffprobe_by_pyav(Path(finished.path)) if form == "flv" else ffprobe(finished.path, "-count_frames")["streams"]
    assert [stream["codec_name"] for stream in streams] == [video, audio]
    wanted = {str(stream["codec_name"]): int(str(stream["nb_read_frames"])) for stream in ffprobe_by_pyav(clip)}
    if form == "flv":  # which takes every picture as it comes, so that it begins with one
        kinds = [item.kind for item in read_flv(clip) if isinstance(item, Packet)]
        wanted[audio] -= kinds.index(MediaKind.VIDEO)
    assert {stream["codec_name"]: int(str(stream["nb_read_frames"])) for stream in streams} == wanted


def ffprobe_by_pyav(file: Path) -> list[dict[str, object]]:
    """As ffprobe -count_frames, for Enhanced FLV, which Debian's ffprobe cannot read."""
    import av  # noqa: PLC0415

    with av.open(str(file)) as container:
        counts = {stream.index: 0 for stream in container.streams}
        for frame in container.decode():
            counts[0 if isinstance(frame, av.VideoFrame) else 1] += 1
        names = [stream.codec_context.name for stream in container.streams]
    canonical = {"libdav1d": "av1", "mp3float": "mp3", "libopus": "opus"}
    return [{"codec_name": canonical.get(name, name), "nb_read_frames": counts[index]} for index, name in enumerate(names)]


@pytest.mark.parametrize("video", ["av1", "vp9"])
async def test_what_the_container_cannot_carry_is_left_out_and_told_of_at_once(
    video: str, clips: Clips, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reason = f"without pictures: {video} has no form in a transport stream here"
    items = read_flv(clips.get(video=video, audio="aac", seconds=1.0))
    async with house(tmp_path, format="ts") as town:
        publisher = town.publish(ORDER)
        feed(publisher, only(items, MediaKind.VIDEO)[:1])
        assert [event.reason for event in town.notes.events if isinstance(event, RecordingFailed)] == [reason]
        (line,) = (record for record in caplog.records if record.message == "track_not_recorded")
        assert vars(line)["facts"].items() >= {"name": "show", "session_id": publisher.session.id}.items()
        (shot,) = town.recordings.snapshots()
        assert (shot.writing, shot.reason) == (False, reason), "nothing else has come so far"
        feed(publisher, items)
        (shot,) = town.recordings.snapshots()
        assert (shot.writing, shot.reason) == (True, reason)
        town.hub.end("show", "done")
        (finished,) = await town.finished()
    assert finished.reason == f"the stream ended; {reason}"
    assert [stream["codec_name"] for stream in ffprobe(finished.path)["streams"]] == ["aac"]
    assert len(town.notes.of(RecordingFailed)) == 1


async def test_of_a_stream_that_the_container_cannot_carry_at_all_the_recording_fails_until_there_is_another(
    clips: Clips, tmp_path: Path
) -> None:
    async with house(tmp_path, format="ts") as town:
        publisher = town.publish(ORDER)
        feed(publisher, read_flv(clips.get(video="av1", audio="", seconds=1.0)))
        (failed,) = town.notes.of(RecordingFailed)
        (shot,) = town.recordings.snapshots()
        assert isinstance(failed, RecordingFailed)
        assert (shot.writing, shot.path, shot.bytes, shot.reason) == (False, "", 0, failed.reason)
        feed(publisher, shifted(read_flv(clips.get(seconds=1.0)), 1000))
        (shot,) = town.recordings.snapshots()
        assert (shot.writing, shot.reason) == (True, "")
        town.hub.end("show", "done")
        (finished,) = await town.finished()
    assert (finished.reason, numbers(finished.path)) == ("the stream ended", list(range(25)))


async def test_sound_that_comes_a_little_earlier_than_the_picture_is_in_the_same_file(clips: Clips, tmp_path: Path) -> None:
    items = read_flv(clips.get())
    sound = only(items, MediaKind.AUDIO)
    async with house(tmp_path) as town:
        feed(town.publish(ORDER), [*sound[:10], *only(items, MediaKind.VIDEO), *sound[10:]])
        town.hub.end("show", "done")
        await town.finished()
    (file,) = town.files()
    assert numbers(file) == list(range(100))


# -- where files begin and end ---------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [{"split_duration": 1.5}, {"split_bytes": 30_000}])
async def test_another_file_begins_at_a_keyframe_and_nothing_is_lost_between(
    limit: dict[str, float], clips: Clips, tmp_path: Path
) -> None:
    async with house(tmp_path, **limit) as town:
        feed(town.publish(ORDER), read_flv(clips.get()))
        town.hub.end("show", "done")
        finished = await town.finished(2)
    found = [numbers(event.path) for event in finished]
    assert [number for each in found for number in each] == list(range(100))
    assert all(each[0] % 25 == 0 for each in found)
    assert len(found[0]) == 50
    assert finished[0].reason == "split"
    assert [decoded_by_ffmpeg(event.path) for event in finished] == [""] * len(found)
    sound = [
        int(stream["nb_read_packets"])
        for event in finished
        for stream in ffprobe(event.path, "-count_packets")["streams"]
        if stream["codec_type"] == "audio"
    ]
    assert sum(sound) == 189


async def test_an_order_has_its_own_limits_and_format(clips: Clips, tmp_path: Path) -> None:
    order = RecordingOrder("r1", format=RecordingFormat.MKV, split_duration=2.0)
    async with house(tmp_path) as town:
        feed(town.publish(order), read_flv(clips.get()))
        town.hub.end("show", "done")
        await town.finished(2)
        assert [len(numbers(file)) for file in town.files("mkv")] == [50, 50]


@pytest.mark.parametrize(("pre_roll", "first"), [(True, 50), (False, 75)])
async def test_a_start_in_mid_stream(pre_roll: bool, first: int, clips: Clips, tmp_path: Path) -> None:
    items = read_flv(clips.get(b_frames=0))
    async with house(tmp_path) as town:
        publisher = town.publish()
        feed(publisher, pictures(items, -1, 60))
        town.recordings.start("show", replace(ORDER, pre_roll=pre_roll))
        feed(publisher, pictures(items, 60, 100))
        assert town.recordings.stop("show", "r1")
        assert not town.recordings.stop("show", "r1")
        (finished,) = await town.finished()
    assert numbers(finished.path) == list(range(first, 100))
    assert finished.reason == "stopped"


async def test_after_a_stop_the_same_id_may_begin_again(clips: Clips, tmp_path: Path) -> None:
    items = read_flv(clips.get(b_frames=0))
    async with house(tmp_path) as town:
        publisher = town.publish(ORDER)
        feed(publisher, pictures(items, -1, 30))
        town.recordings.stop("show", "r1")
        town.recordings.start("show", ORDER)
        feed(publisher, pictures(items, 30, 100))
        town.recordings.stop("show", "r1")
        finished = await town.finished(2)
    # Each has a thread of its own: either file may be closed first.
    assert sorted(numbers(event.path) for event in finished) == [list(range(30)), list(range(25, 100))]
    assert len({event.path for event in finished}) == 2


async def test_a_stream_that_comes_again_at_once_is_recorded_too(clips: Clips, tmp_path: Path) -> None:
    items = read_flv(clips.get(b_frames=0))
    async with house(tmp_path) as town:
        for _ in range(2):
            # Nothing is awaited: the first one's file is still on its way to the disk when the second one begins.
            feed(town.publish(ORDER), items)
            town.hub.end("show", "done")
        files = [Path(event.path) for event in await town.finished(2)]
        assert town.notes.of(RecordingFailed) == []
    assert len(set(files)) == 2
    assert [numbers(file) for file in files] == [list(range(100))] * 2


async def test_other_parameters_begin_another_file_at_their_keyframe(clips: Clips, tmp_path: Path) -> None:
    small, large = read_flv(clips.get()), read_flv(clips.get(width=640, height=384, seconds=2.0))
    async with house(tmp_path) as town:
        publisher = town.publish(ORDER)
        feed(publisher, small)
        feed(publisher, shifted(large, 4000))
        town.hub.end("show", "done")
        finished = await town.finished(2)
    assert [len(numbers(event.path)) for event in finished] == [100, 50]
    assert [ffprobe(event.path)["streams"][0]["width"] for event in finished] == [320, 640]
    assert finished[0].reason == "its parameters changed"


async def test_another_codec_begins_another_file(clips: Clips, tmp_path: Path) -> None:
    async with house(tmp_path) as town:
        publisher = town.publish(ORDER)
        feed(publisher, read_flv(clips.get(seconds=2.0)))
        feed(publisher, shifted(read_flv(clips.get(video="hevc", audio="opus", seconds=1.0)), 2000))
        town.hub.end("show", "done")
        finished = await town.finished(2)
    found = [[stream["codec_name"] for stream in ffprobe(event.path)["streams"]] for event in finished]
    assert found == [["h264", "aac"], ["hevc", "opus"]]
    assert [len(numbers(event.path)) for event in finished] == [50, 25]


async def test_a_publisher_that_returns_goes_on_in_the_same_file(clips: Clips, tmp_path: Path) -> None:
    items = read_flv(clips.get(b_frames=0))
    async with house(tmp_path) as town:
        publisher = town.publish(ORDER)
        feed(publisher, pictures(items, -1, 60))
        publisher.close("away")
        await town.until(lambda: town.recordings.snapshots()[0].seconds > 2.3)
        feed(town.publish(ORDER), items)
        town.hub.end("show", "done")
        (finished,) = await town.finished()
    assert numbers(finished.path) == [*range(60), *range(100)]
    assert decoded_by_ffmpeg(finished.path) == ""


async def test_a_returning_publisher_that_begins_amid_a_gop_waits_for_its_keyframe(clips: Clips, tmp_path: Path) -> None:
    items = read_flv(clips.get(b_frames=0))
    async with house(tmp_path) as town:
        publisher = town.publish(ORDER)
        feed(publisher, pictures(items, -1, 30))
        publisher.close("away")
        feed(town.publish(ORDER), pictures(items, 40, 100))
        town.hub.end("show", "done")
        (finished,) = await town.finished()
    assert numbers(finished.path) == [*range(30), *range(50, 100)]
    assert decoded_by_ffmpeg(finished.path) == ""


# -- rungs -----------------------------------------------------------------------------------------------------------------------


async def test_a_rung_is_recorded_when_it_is_there_and_again_when_it_comes_back(clips: Clips, tmp_path: Path) -> None:
    items = read_flv(clips.get(b_frames=0))
    async with house(tmp_path) as town:
        publisher = town.publish(replace(ORDER, rendition="360p"))
        feed(publisher, items[:4])
        (waiting,) = town.recordings.snapshots()
        assert (waiting.writing, waiting.files, waiting.rendition) == (False, 0, "360p")
        for count in (1, 2):
            rung = town.hub.add_rendition(publisher.stream, "360p")
            assert rung is not None
            town.recordings.sweep(monotonic())
            for item in items:
                if isinstance(item, Track):
                    rung.write_track(item)
                else:
                    rung.pass_on(replace(item))
            town.hub.remove_rendition(rung)
            finished = await town.finished(count)
        town.hub.end("show", "done")
        await town.until(lambda: not town.recordings.snapshots())
    assert [Path(event.path).parent.name for event in finished] == ["show", "show"]
    assert all(Path(event.path).name.startswith("show@360p-") for event in finished)
    assert [numbers(event.path) for event in finished] == [list(range(100))] * 2
    assert [event.name for event in finished] == ["show", "show"]


async def test_a_rung_that_never_comes_ends_with_its_stream(tmp_path: Path) -> None:
    async with house(tmp_path) as town:
        town.publish(replace(ORDER, rendition="360p"))
        town.hub.end("show", "done")
        await town.until(lambda: not town.recordings.snapshots())
        assert not town.notes.of(RecordingStarted)
        assert not town.files()


# -- who is recorded -------------------------------------------------------------------------------------


async def test_always_records_every_stream_once(clips: Clips, tmp_path: Path) -> None:
    items = read_flv(clips.get(seconds=1.0))
    async with house(tmp_path, always=True) as town:
        feed(town.publish(name="one"), items)
        feed(town.publish(ORDER, name="two"), items)
        await town.notes.wait_for(RecordingStarted, 2)
        assert [(shot.name, shot.recording_id) for shot in town.recordings.snapshots()] == [("one", "always"), ("two", "r1")]


async def test_what_cannot_be_recorded_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path) as town:
        with pytest.raises(Refused, match="not live"):
            town.recordings.start("show", ORDER)
        town.publish(ORDER, ORDER)
        assert [event.reason for event in town.notes.events if isinstance(event, RecordingFailed)] == [
            "show is recorded under that id already"
        ]
        with pytest.raises(Refused, match="already"):
            town.recordings.start("show", ORDER)
        with pytest.raises(Refused, match="name"):
            town.recordings.start("show", RecordingOrder("r2", rendition="../../climb"))
        for number in range(15):
            town.recordings.start("show", RecordingOrder(f"n{number}"))
        with pytest.raises(Refused, match="16"):
            town.recordings.start("show", RecordingOrder("r3"))
        assert not town.recordings.stop("show", "r3")


async def test_recordings_whose_files_are_still_being_closed_count_until_they_are(tmp_path: Path) -> None:
    async with house(tmp_path) as town:
        town.publish()
        for number in range(32):  # nothing that a thread says is heard meanwhile
            town.recordings.start("show", RecordingOrder(f"n{number}"))
            assert town.recordings.stop("show", f"n{number}")
        with pytest.raises(Refused, match="still being closed"):
            town.recordings.start("show", ORDER)
        town.publish(name="other")
        town.recordings.start("other", ORDER)
        await town.until(lambda: not town.recordings._closing)
        town.recordings.start("show", ORDER)


async def test_a_snapshot_tells_what_is_written(clips: Clips, tmp_path: Path) -> None:
    async with house(tmp_path) as town:
        feed(town.publish(ORDER), read_flv(clips.get()))
        await town.until(lambda: town.recordings.snapshots()[0].seconds > 3.5)
        (shot,) = town.recordings.snapshots()
        assert (shot.recording_id, shot.name, shot.rendition, shot.files, shot.writing) == ("r1", "show", "", 1, True)
        assert shot.bytes == os.stat(shot.path).st_size
        assert [str(marker) for marker in marked(tmp_path)] == [f"{shot.path}.recording"]
        assert len(numbers(shot.path)) > 80, "a recording plays while it is written"


async def test_closing_finishes_what_runs(clips: Clips, tmp_path: Path) -> None:
    async with house(tmp_path) as town:
        publisher = town.publish(ORDER)
        feed(publisher, read_flv(clips.get()))
        await town.recordings.close()
        finished = [event for event in town.notes.events if isinstance(event, RecordingFinished)]
        assert publisher.stream.state is StreamState.LIVE
    assert [len(numbers(event.path)) for event in finished] == [100]


@pytest.mark.parametrize("fsync", ["part", "file", "never"])
async def test_each_fsync_policy(fsync: str, clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr("mediaserver.recording.file.os.fdatasync", synced.append)
    async with house(tmp_path, fsync=fsync) as town:
        feed(town.publish(ORDER), read_flv(clips.get()))
        town.hub.end("show", "done")
        (finished,) = await town.finished()
    assert (len(synced) >= 4) is (fsync == "part")
    assert len(numbers(finished.path)) == 100
    await asyncio.sleep(0)
