"""What containers hold, in FLV's form: decoded again, it is what went in."""

import io
from pathlib import Path

import av
import pytest

from mediaserver.hub.stream import describe
from mediaserver.ingest.pull_container import read
from protocols import flv
from protocols.codec import is_keyframe
from protocols.media import Codec, MediaKind, Packet, Track
from tests.media import Clips, frames


def items_of(file: Path) -> list[Track | Packet]:
    with file.open("rb") as source:
        return list(read(source))


def as_flv(items: list[Track | Packet]) -> io.BytesIO:
    """An FLV file of the bodies."""
    out = io.BytesIO(flv.file_header(True, True))
    out.seek(0, 2)
    earliest = min(item.dts for item in items if isinstance(item, Packet))
    for item in items:
        type_id = flv.VIDEO if item.kind is MediaKind.VIDEO else flv.AUDIO
        if isinstance(item, Packet):
            out.write(flv.write_tag(type_id, item.dts - earliest, item.body))
        elif item.body:
            out.write(flv.write_tag(type_id, 0, item.body))
    out.seek(0)
    return out


@pytest.mark.parametrize(
    ("video", "audio", "container"),
    [
        ("h264", "aac", "ts"),
        ("h264", "aac", "mp4"),
        ("h264", "mp3", "mkv"),
        ("hevc", "aac", "ts"),
        ("hevc", "ac3", "mp4"),
        ("vp9", "opus", "mkv"),
        ("av1", "opus", "mkv"),
        ("av1", "aac", "mp4"),
        ("h264", "flac", "mkv"),
    ],
)
def test_every_picture_and_sound_survives(video: str, audio: str, container: str, clips: Clips) -> None:
    file = clips.get(video=video, audio=audio, container=container, seconds=2.0)
    items = items_of(file)
    tracks = [item for item in items if isinstance(item, Track)]
    assert sorted(track.codec.value for track in tracks) == sorted([video, audio])
    pictures = [item for item in items if isinstance(item, Packet) and item.kind is MediaKind.VIDEO]
    assert len(pictures) == 50
    for packet in pictures:
        assert packet.keyframe == is_keyframe(Codec(video), packet.payload)
    # What the engine's own reader makes of the bodies is the same again.
    reader = flv.TagReader()
    for item in items:
        if isinstance(item, Track) and item.body:
            read_again = reader.read(flv.VIDEO if item.kind is MediaKind.VIDEO else flv.AUDIO, 0, item.body)
            assert isinstance(read_again, Track)
            assert (read_again.codec, read_again.config) == (item.codec, item.config)
    with av.open(as_flv(items)) as container_again:
        decoded = [(number, round(time, 2)) for number, time in _numbers(container_again)]
    original = [(number, round(time, 2)) for number, time in frames(file)]
    assert [number for number, _ in decoded] == [number for number, _ in original] == list(range(50))
    first = decoded[0][1] - original[0][1]
    assert all(abs(two[1] - one[1] - first) < 0.015 for one, two in zip(original, decoded, strict=True))
    with av.open(as_flv(items)) as container_again:
        assert sum(frame.samples for frame in container_again.decode(audio=0)) / 48000 == pytest.approx(2.0, abs=0.15)


def _numbers(container: av.container.InputContainer) -> list[tuple[int, float]]:
    from tests.media import frame_number  # noqa: PLC0415

    return [
        (frame_number(frame.to_ndarray(format="gray")[: frame.height, : frame.width]), float(frame.time or 0))
        for frame in container.decode(video=0)
    ]


@pytest.mark.parametrize(
    ("video", "audio", "container"),
    [
        ("mpeg2video", "mp2", "mpegts"),
        ("mjpeg", "pcm_s16le", "avi"),
        ("copy", "pcm_alaw", "matroska"),
        ("mpeg4", "libvorbis", "matroska"),
    ],
)
def test_what_flv_cannot_carry_is_encoded_anew(video: str, audio: str, container: str, clips: Clips, tmp_path: Path) -> None:
    import subprocess  # noqa: PLC0415

    from tests.peers import program  # noqa: PLC0415

    source, file = clips.get(seconds=2.0, container="mp4", b_frames=0), tmp_path / "file"
    options = ["-c:v", video, "-q:v", "2", "-c:a", audio, "-ar", "48000" if audio != "pcm_alaw" else "8000", "-f", container]
    subprocess.run([program("ffmpeg"), "-v", "error", "-i", str(source), *options, str(file)], check=True)
    items = items_of(file)
    tracks = {item.kind: describe(item) for item in items if isinstance(item, Track)}
    assert (tracks[MediaKind.VIDEO].codec, tracks[MediaKind.AUDIO].codec) == (Codec.H264, Codec.AAC)
    with av.open(as_flv(items)) as container_again:
        assert [number for number, _ in _numbers(container_again)] == list(range(50))
    with av.open(as_flv(items)) as container_again:
        seconds = sum(frame.samples / frame.sample_rate for frame in container_again.decode(audio=0))
    assert seconds == pytest.approx(2.0, abs=0.2)


def test_lengths_of_other_sizes_become_four_bytes(clips: Clips, tmp_path: Path) -> None:
    """An avcC record may say two bytes; nobody behind this module has to know."""
    from mediaserver.ingest.pull_remux import _NalUnits  # noqa: PLC0415

    track = next(item for item in items_of(clips.get(seconds=1.0, container="mp4")) if isinstance(item, Track) and item.config)
    record = bytearray(track.config)
    record[4] = record[4] & 0xFC | 1
    form = _NalUnits(Codec.H264, bytes(record))
    assert form.config is not None
    assert form.config[4] & 3 == 3
    assert form.convert(b"\x00\x02\x65\x88\x00\x01\x06", True) == b"\x00\x00\x00\x02\x65\x88\x00\x00\x00\x01\x06"
