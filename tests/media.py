"""Clips for tests: made with PyAV once a session, with the number of each frame readable in its picture.

The upper quarter of every frame holds 16 black or white blocks, the frame's number in binary, most significant bit
first; below it a bar moves from left to right. The sound is a 440 Hz sine.
"""

import math
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from mediaserver.worker.priority import stand_back

BITS = 16
SAMPLE_RATE = 48000

#: FFmpeg's encoder for each codec, and what makes it fast and repeatable.
ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", {"preset": "ultrafast", "x264-params": "scenecut=0:threads=1:log=-1"}),
    "hevc": ("libx265", {"preset": "ultrafast", "x265-params": "scenecut=0:pools=1:log-level=none"}),
    "av1": ("libsvtav1", {"preset": "12", "svtav1-params": "lp=1"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}),
    "flv1": ("flv", {}),
    "aac": ("aac", {}),
    "opus": ("libopus", {}),
    "flac": ("flac", {}),
    "ac3": ("ac3", {}),
    "mp3": ("libmp3lame", {}),
}


@dataclass(frozen=True)
class Clip:
    """What to make. ``video`` and ``audio`` are codec names, or "" for none; ``gop`` is in frames."""

    video: str = "h264"
    audio: str = "aac"
    seconds: float = 4.0
    frame_rate: int = 25
    width: int = 320
    height: int = 192
    gop: int = 25
    b_frames: int = 2
    bitrate: int = 300_000
    container: str = "flv"

    @property
    def file_name(self) -> str:
        words = (self.video, self.audio, self.seconds, self.frame_rate, self.width, self.height, self.gop, self.b_frames)
        return f"{'-'.join(str(word) for word in words)}-{self.bitrate}.{self.container}"


class Clips:
    """Makes each clip once and keeps it in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.Lock()

    def get(self, **what: Any) -> Path:
        """The file of ``Clip(**what)``: ``clips.get(video="hevc", audio="opus")``."""
        clip = Clip(**what)
        file = self.folder / clip.file_name
        with self.lock:
            if not file.exists():
                part = file.with_suffix(f".{os.getpid()}.part")
                make(clip, part)
                part.replace(file)
        return file


def make(clip: Clip, file: Path) -> None:
    """Encode ``clip`` into ``file``."""
    with av.open(str(file), "w", format={"mkv": "matroska", "ts": "mpegts"}.get(clip.container, clip.container)) as output:
        video, audio = _video_stream(output, clip), _audio_stream(output, clip)
        samples = SAMPLE_RATE // clip.frame_rate
        for number in range(round(clip.seconds * clip.frame_rate)):
            if video:
                frame = av.VideoFrame.from_ndarray(picture(number, clip.width, clip.height), format="yuv420p")
                frame.pts, frame.time_base = number, Fraction(1, clip.frame_rate)
                output.mux(video.encode(frame))
            if audio:
                sound = av.AudioFrame.from_ndarray(tone(number * samples, samples), format="fltp", layout="stereo")
                sound.sample_rate, sound.pts, sound.time_base = SAMPLE_RATE, number * samples, Fraction(1, SAMPLE_RATE)
                output.mux(audio.encode(_fitting(sound, audio)))
        for stream in filter(None, (video, audio)):
            output.mux(stream.encode(None))
    stand_back()


def _video_stream(output: Any, clip: Clip) -> Any:
    if not clip.video:
        return None
    name, options = ENCODERS[clip.video]
    stream = output.add_stream(name, rate=clip.frame_rate, options=options)
    stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, "yuv420p"
    stream.bit_rate, stream.gop_size = clip.bitrate, clip.gop
    if clip.video in ("h264", "hevc"):
        stream.codec_context.max_b_frames = clip.b_frames
    return stream


def _audio_stream(output: Any, clip: Clip) -> Any:
    if not clip.audio:
        return None
    name, options = ENCODERS[clip.audio]
    return output.add_stream(name, rate=SAMPLE_RATE, layout="stereo", options=options)


_RESAMPLERS: dict[str, av.AudioResampler] = {}


def _fitting(sound: av.AudioFrame, stream: Any) -> av.AudioFrame:
    """The same sound in the sample format that the encoder takes."""
    wanted = stream.codec_context.format.name
    if wanted == sound.format.name:
        return sound
    return _RESAMPLERS.setdefault(wanted, av.AudioResampler(format=wanted)).resample(sound)[0]


def picture(number: int, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Frame ``number`` as planar YUV 4:2:0, shape (height * 3 / 2, width)."""
    frame = np.full((height * 3 // 2, width), 128, np.uint8)
    frame[:height] = 80
    block = width // BITS
    for bit in range(BITS):
        frame[: height // 4, bit * block : (bit + 1) * block] = 235 if number >> (BITS - 1 - bit) & 1 else 16
    left = number * 4 % (width - 16)
    frame[height // 2 : height, left : left + 16] = 200
    return frame


def tone(start: int, count: int) -> npt.NDArray[np.float32]:
    """``count`` samples of a 440 Hz sine from sample ``start`` on, two channels."""
    wave = 0.2 * np.sin(2 * math.pi * 440 / SAMPLE_RATE * np.arange(start, start + count))
    return np.stack([wave, wave]).astype(np.float32)


def frame_number(luma: npt.NDArray[np.uint8]) -> int:
    """The number in a decoded picture, shape (height, width), of any size."""
    height, width = luma.shape
    middles = ((np.arange(BITS) + 0.5) * width / BITS).astype(int)
    strip = luma[height // 16 : height * 3 // 16, middles]
    return int(sum(1 << (BITS - 1 - bit) for bit in range(BITS) if strip[:, bit].mean() > 125))


def frames(file: Path | str, **options: Any) -> Iterator[tuple[int, float]]:
    """(frame number, time in seconds) of every decodable picture in ``file`` (anything that FFmpeg opens)."""
    with av.open(str(file), **options) as container:
        for frame in container.decode(video=0):
            height, width = frame.height, frame.width
            yield frame_number(frame.to_ndarray(format="gray")[:height, :width]), float(frame.time or 0)
