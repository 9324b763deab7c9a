"""What a pull that is encoded anew looks like: of whole frames, upright, in its shape and in its colours."""

import subprocess
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from protocols import codec
from protocols.codec import VideoParameters, nal
from protocols.media import Codec, MediaKind, Packet, Track
from tests.media import Clips, frame_number
from tests.mediaserver.ingest.test_pull_remux import as_flv, items_of
from tests.peers import program

NARROW, BT709, BT601 = 1, 1, 6
#: What is in the four quarters of a picture, row by row.
QUARTERS = (40, 90, 150, 210)


def seen(file: Path) -> list[av.VideoFrame]:
    """The pictures that come out of a pull of ``file``."""
    with av.open(as_flv([item for item in items_of(file) if item.kind is MediaKind.VIDEO])) as container:
        return list(container.decode(video=0))


def shapes(file: Path) -> list[tuple[int, int, tuple[int, int]]]:
    """Width, height and pixel aspect of every track of pictures."""
    found = [codec.parameters(item) for item in items_of(file) if isinstance(item, Track) and item.kind is MediaKind.VIDEO]
    return [(each.width, each.height, each.pixel_aspect) for each in found if isinstance(each, VideoParameters)]


def ffmpeg(*words: str | Path) -> None:
    subprocess.run([program("ffmpeg"), "-v", "error", "-nostdin", "-y", *map(str, words)], check=True)


def combing(frame: av.VideoFrame) -> float:
    """How much neighbouring lines differ where the bar moves, in which every line is alike."""
    luma = frame.to_ndarray(format="gray").astype(int)[frame.height // 2 + 8 : frame.height - 8]
    return float(np.abs(np.diff(luma, axis=0)).mean())


def test_fields_become_whole_frames(clips: Clips, tmp_path: Path) -> None:
    file = tmp_path / "interlaced.ts"
    fields = ["-vf", "tinterlace=interleave_top", "-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-q:v", "2", "-an"]
    ffmpeg("-i", clips.get(frame_rate=50, seconds=1.0, b_frames=0), *fields, file)
    with av.open(str(file)) as container:
        sent = list(container.decode(video=0))
    assert max(map(combing, sent)) > 1, "the fields are not from different times"
    pictures = seen(file)
    assert len(pictures) == 25
    assert max(map(combing, pictures)) < 0.3 * max(map(combing, sent))
    assert not any(picture.interlaced_frame for picture in pictures)
    numbers = [frame_number(picture.to_ndarray(format="gray")) for picture in pictures]
    assert numbers == sorted(set(numbers))


def test_the_shape_of_pixels_stays_and_changes_with_the_source(clips: Clips, tmp_path: Path) -> None:
    parts = []
    for number, aspect in enumerate(("4:3", "16:9")):
        part = tmp_path / f"{number}.ts"
        options = ["-c:v", "mpeg2video", "-q:v", "4", "-aspect", aspect, "-an", "-output_ts_offset", str(number)]
        ffmpeg("-i", clips.get(seconds=1.0, b_frames=0), *options, part)
        parts.append(part.read_bytes())
    file = tmp_path / "both.ts"
    file.write_bytes(b"".join(parts))
    # 320 x 192 pixels, shown as 4:3 and then as 16:9.
    assert shapes(file) == [(320, 192, (4, 5)), (320, 192, (16, 15))]


def camera(file: Path, pixel_format: str, picture: npt.NDArray[np.uint8], encoder: str, **settings: Any) -> Path:
    """A file of equal pictures, given as RGB."""
    with av.open(str(file), "w", format="avi") as output:
        stream: Any = output.add_stream(encoder, rate=25)
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt, stream.options = pixel_format, {"q": "2"}
        for name, value in settings.items():
            setattr(stream.codec_context, name, value)
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if settings:
                frame = frame.reformat(format=pixel_format, dst_colorspace="ITU601", dst_color_range="JPEG")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file


def luma_of(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    """The first plane as it is stored."""
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]


def colourful() -> npt.NDArray[np.uint8]:
    """Black, white, red and blue, 64 x 64."""
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:32, 32:], picture[32:, :32], picture[32:, 32:] = 255, (255, 0, 0), (0, 0, 255)
    return picture


def test_a_camera_s_full_range_becomes_narrow_and_says_so(tmp_path: Path) -> None:
    file = camera(tmp_path / "camera.avi", "yuvj420p", colourful(), "mjpeg", color_range=2)
    picture = seen(file)[-1]
    assert picture.color_range == NARROW
    assert picture.colorspace in (5, 6), "those of JPEG, BT.601"
    luma = luma_of(picture)
    assert luma[8:24, 8:24].mean() == pytest.approx(16, abs=2)
    assert luma[8:24, 40:56].mean() == pytest.approx(235, abs=2)
    assert luma[40:56, 8:24].mean() == pytest.approx(81, abs=3)


def test_rgb_becomes_what_can_be_written_into_an_sps(tmp_path: Path) -> None:
    picture = seen(camera(tmp_path / "screen.avi", "rgb24", colourful(), "png"))[-1]
    tags = picture.color_range, picture.colorspace, picture.color_primaries, picture.color_trc
    assert tags == (NARROW, BT709, BT709, BT709)
    # Red has 0.2126 of the light there, and 0.299 in BT.601.
    assert luma_of(picture)[40:56, 8:24].mean() == pytest.approx(16 + 219 * 0.2126, abs=3)


def quarters(luma: npt.NDArray[np.uint8]) -> tuple[int, ...]:
    """Which of QUARTERS is where."""
    down, across = luma.shape[0] // 2, luma.shape[1] // 2
    parts = luma[:down, :across], luma[:down, across:], luma[down:, :across], luma[down:, across:]
    return tuple(min(QUARTERS, key=lambda value: abs(value - float(part.mean()))) for part in parts)


def telephone(file: Path, degrees: float, *, hflip: bool = False, vflip: bool = False) -> Path:
    """A video of 96 x 64 that is to be turned by ``degrees`` against the clock and mirrored."""
    luma = np.repeat(np.repeat(np.array(QUARTERS, np.uint8).reshape(2, 2), 32, axis=0), 48, axis=1)
    with av.open(str(file), "w", format="mp4") as output:
        stream: Any = output.add_stream("libx264", rate=25, options={"preset": "ultrafast", "x264-params": "log=-1"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        stream.set_display_rotation(degrees, hflip=hflip, vflip=vflip)
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(np.vstack([luma, np.full((32, 96), 128, np.uint8)]), format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file


@pytest.mark.parametrize(("degrees", "hflip"), [*product((90, 180, 270), (False, True)), (0, True)])
def test_a_telephone_s_video_stands_upright(degrees: int, hflip: bool, tmp_path: Path) -> None:
    file, shown = telephone(tmp_path / "telephone.mp4", degrees, hflip=hflip), tmp_path / "shown.gray"
    ffmpeg("-i", file, "-frames:v", "1", "-pix_fmt", "gray", "-f", "rawvideo", shown)
    size = (64, 96) if degrees % 180 else (96, 64)
    wanted = quarters(np.frombuffer(shown.read_bytes(), np.uint8).reshape(size[1], size[0]))
    assert wanted != QUARTERS
    pictures = seen(file)
    assert len(pictures) == 5
    for picture in pictures:
        assert (picture.width, picture.height, picture.rotation) == (*size, 0)
        assert quarters(picture.to_ndarray(format="gray")) == wanted
    assert shapes(file) == [(*size, (3, 4) if degrees % 180 else (4, 3))]


def test_what_stands_upright_is_passed_on_as_it_is(tmp_path: Path) -> None:
    file = telephone(tmp_path / "upright.mp4", 0)
    with av.open(str(file)) as container:
        sent = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    items = items_of(file)
    assert [item.payload for item in items if isinstance(item, Packet)] == sent
    assert [item.codec for item in items if isinstance(item, Track)] == [Codec.H264]


def test_a_turned_video_whose_first_picture_is_broken_is_passed_on(tmp_path: Path) -> None:
    file = telephone(tmp_path / "telephone.mp4", 90)
    with av.open(str(file)) as container:
        first = next(bytes(packet) for packet in container.demux(video=0) if packet.size)
    whole = file.read_bytes()
    assert first in whole
    broken = tmp_path / "broken.mp4"
    # Its parts say what they are, and nothing else.
    parts = nal.length_prefixed(unit[:1] + bytes(len(unit) - 1) for unit in nal.split_length_prefixed(first, 4))
    broken.write_bytes(whole.replace(first, parts))
    assert len([item for item in items_of(broken) if isinstance(item, Packet)]) == 5
