"""What is in a slate: the file's picture upright, in its colours and its shape, and its sound to the end."""

import io
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mediaserver.ingest.slate_worker import _Kitchen
from tests.mediaserver.ingest.test_upright import BT601, BT709, NARROW, QUARTERS, colourful, luma_of, quarters, telephone
from tests.peers import program


def cooked(path: Path, width: int, height: int, video: str = "h264") -> io.BytesIO:
    tape = io.BytesIO()
    settings = {
        "video": video,
        "width": width,
        "height": height,
        "frame_rate": 10,
        "path": path.name,
        "roots": [str(path.parent)],
    }
    with av.open(tape, "w", format="matroska") as output:
        _Kitchen({**settings, "audio": "aac", "sample_rate": 48_000, "channels": 2}, output, tape).cook()
    tape.seek(0)
    return tape


def picture_of(tape: io.BytesIO) -> av.VideoFrame:
    with av.open(tape) as container:
        return next(container.decode(video=0))


def still(file: Path, pixel_format: str, encoder: str) -> Path:
    """Black, white, red and blue as an image, which is of full range."""
    context = av.CodecContext.create(encoder, "w")
    assert isinstance(context, av.VideoCodecContext)
    frame = av.VideoFrame.from_ndarray(colourful(), format="rgb24")
    if pixel_format != "rgb24":
        frame = frame.reformat(format=pixel_format, dst_colorspace="ITU601", dst_color_range="JPEG")
    context.width, context.height, context.pix_fmt, context.time_base = 64, 64, pixel_format, Fraction(1, 25)
    context.options = {"q": "2", "flags": "+qscale", "global_quality": "236"} if encoder == "mjpeg" else {}
    file.write_bytes(b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)]))
    return file


@pytest.mark.parametrize(("height", "colours", "red"), [(720, BT709, 0.2126), (480, BT601, 0.299)])
@pytest.mark.parametrize(("name", "pixel_format", "encoder"), [("a.png", "rgb24", "png"), ("a.jpg", "yuvj420p", "mjpeg")])
@pytest.mark.parametrize("video", ["h264", "hevc"])
def test_an_image_s_colours_are_those_that_players_expect_and_are_told(
    name: str, pixel_format: str, encoder: str, height: int, colours: int, red: float, video: str, tmp_path: Path
) -> None:
    picture = picture_of(cooked(still(tmp_path / name, pixel_format, encoder), height, height, video))
    assert (picture.color_range, picture.colorspace, picture.color_primaries, picture.color_trc) == (NARROW, *[colours] * 3)
    luma, quarter = luma_of(picture), height // 4
    assert int(luma[quarter, quarter]) == pytest.approx(16, abs=3)
    assert int(luma[quarter, 3 * quarter]) == pytest.approx(235, abs=3)
    assert int(luma[3 * quarter, quarter]) == pytest.approx(16 + 219 * red, abs=5)


def test_a_plain_slate_says_its_colours_too() -> None:
    tape = io.BytesIO()
    settings = {"video": "h264", "width": 1280, "height": 720, "frame_rate": 10, "path": "", "roots": []}
    with av.open(tape, "w", format="matroska") as output:
        _Kitchen({**settings, "audio": "", "sample_rate": 0, "channels": 0}, output, tape).cook()
    tape.seek(0)
    picture = picture_of(tape)
    assert (picture.color_range, picture.colorspace) == (NARROW, BT709)


def test_a_telephone_s_video_stands_upright_and_keeps_its_shape(tmp_path: Path) -> None:
    # 96 x 64 pixels of 4:3, turned: 64 x 128.
    luma = luma_of(picture_of(cooked(telephone(tmp_path / "telephone.mp4", 90), 256, 256)))
    assert quarters(luma[:, 64:192]) == (QUARTERS[1], QUARTERS[3], QUARTERS[0], QUARTERS[2])
    assert max(luma[:, :60].max(), luma[:, 196:].max()) < 24, "bars at both sides"


def test_sound_that_changes_its_channels_is_heard_to_the_end(tmp_path: Path) -> None:
    whole = b""
    for number, channels in enumerate((2, 1)):
        part = tmp_path / f"{number}.ts"
        sine = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=2", "-ac", str(channels)]
        picture = ["-f", "lavfi", "-i", "color=s=64x64:r=10:d=2", "-c:v", "mpeg2video"]
        options = ["-c:a", "mp2", "-f", "mpegts", "-output_ts_offset", str(2 * number), str(part)]
        subprocess.run([program("ffmpeg"), "-v", "error", "-nostdin", *sine, *picture, *options], check=True)
        whole += part.read_bytes()
    file = tmp_path / "slate.ts"
    file.write_bytes(whole)
    with av.open(cooked(file, 64, 64)) as container:
        sound = np.hstack([frame.to_ndarray() for frame in container.decode(audio=0)])
    assert sound.shape[1] / 48_000 == pytest.approx(4, abs=0.2)
    assert np.sqrt((sound[0, 48_000 * 5 // 2 : 48_000 * 7 // 2] ** 2).mean()) > 0.02
