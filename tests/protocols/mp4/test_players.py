"""What real demuxers and decoders make of our CMAF: every frame, at its time, bit for bit as in libavformat's own file."""

import json
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from protocols.codec import AudioParameters, avc, hevc, parameters
from protocols.codec.nal import annexb_to_length_prefixed, length_prefixed_to_annexb, split_annexb
from protocols.media import Codec, MediaKind, Track
from protocols.mp4.fragment import fragment, init_segment, prft, styp, timescale
from tests.peers import program
from tests.protocols.mp4.encoded import ENCODERS, Encoded, cmaf, decode, encoded

FRAMES_OF_VIDEO = 12


def probe(file: Path) -> dict[str, Any]:
    command = [program("ffprobe"), "-v", "warning", "-show_streams", "-count_frames", "-of", "json", str(file)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert run.stderr == ""
    stream: dict[str, Any] = json.loads(run.stdout)["streams"][0]
    return stream


def frame_hashes(file: Path) -> list[tuple[int, str]]:
    """Presentation time (ticks of the output) and MD5 of every frame that the ffmpeg program decodes."""
    command = [
        program("ffmpeg"),
        "-v",
        "warning",
        "-ignore_editlist",
        "1",
        "-threads",
        "1",
        "-i",
        str(file),
        "-f",
        "framemd5",
        "-",
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    rows = [line.split(",") for line in run.stdout.splitlines() if not line.startswith("#")]
    return [(int(row[2]), row[5].strip()) for row in rows]


@pytest.mark.parametrize("per_fragment", [1, 5, 100])
@pytest.mark.parametrize("codec", ENCODERS)
def test_libav_decodes_every_frame_at_its_time(codec: Codec, per_fragment: int) -> None:
    clip = encoded(codec)
    base = timescale(clip.track) * 10
    shift = Fraction(base - clip.first_dts, timescale(clip.track))
    assert decode(cmaf(clip, per_fragment, base)) == [(time + shift, digest) for time, digest in decode(clip.file)]


@pytest.mark.parametrize("codec", ENCODERS)
def test_ffmpeg_decodes_the_same_frames(codec: Codec, tmp_path: Path) -> None:
    clip = encoded(codec)
    ours, theirs = tmp_path / "ours.mp4", tmp_path / "theirs.mp4"
    ours.write_bytes(cmaf(clip, 5))
    theirs.write_bytes(clip.file)
    expected = frame_hashes(theirs)
    assert len(expected) >= 5
    assert frame_hashes(ours) == expected


@pytest.mark.parametrize("codec", ENCODERS)
def test_ffprobe_reads_what_we_know_of_the_track(codec: Codec, tmp_path: Path) -> None:
    clip = encoded(codec)
    file = tmp_path / "clip.mp4"
    file.write_bytes(cmaf(clip, 5))
    seen, described = probe(file), parameters(clip.track)
    assert seen["codec_name"] == codec.value
    assert seen["time_base"] == f"1/{timescale(clip.track)}"
    if isinstance(described, AudioParameters):
        assert (seen["sample_rate"], seen["channels"]) == (str(described.sample_rate), described.channels)
    else:
        assert (seen["width"], seen["height"]) == (described.width, described.height)
        assert int(seen["nb_read_frames"]) == FRAMES_OF_VIDEO


@pytest.mark.parametrize("codec", [Codec.H264, Codec.AAC])
def test_times_beyond_32_bits_are_kept(codec: Codec) -> None:
    clip = encoded(codec)
    base = (1 << 33) + 7
    frames = decode(cmaf(clip, 5, base))
    first = clip.samples[0].composition_offset
    assert frames[0][0] == Fraction(base + first, timescale(clip.track))


def test_segment_types_and_reference_times_between_fragments_do_no_harm() -> None:
    clip = encoded(Codec.H264)
    middle = sum(sample.duration for sample in clip.samples[:6])
    data = (
        init_segment(clip.track)
        + styp()
        + prft(clip.track, 1767225600.0, 0)
        + fragment(1, clip.track, 0, clip.samples[:6])
        + prft(clip.track, 1767225600.24, middle)
        + fragment(2, clip.track, middle, clip.samples[6:])
    )
    assert [digest for _, digest in decode(data)] == [digest for _, digest in decode(clip.file)]


@pytest.mark.parametrize("codec", [Codec.H264, Codec.HEVC])
def test_a_byte_stream_of_an_encoder_becomes_a_track_and_samples(codec: Codec) -> None:
    clip = encoded(codec)
    stored = avc.read_record(clip.track.config) if codec is Codec.H264 else hevc.read_record(clip.track.config)
    if isinstance(stored, tuple):
        config = avc.configuration_record(*stored)
    else:
        config = hevc.configuration_record(stored[32], stored[33], stored[34])
    samples = []
    for sample in clip.samples:
        stream = length_prefixed_to_annexb(sample.data)
        assert split_annexb(stream)
        samples.append(sample._replace(data=annexb_to_length_prefixed(stream)))
    rebuilt = Encoded(clip.file, Track(codec, config), samples, 0)
    assert [digest for _, digest in decode(cmaf(rebuilt, 5))] == [digest for _, digest in decode(clip.file)]


def test_every_kind_of_media_was_decoded() -> None:
    assert {codec.kind for codec in ENCODERS} == set(MediaKind)
