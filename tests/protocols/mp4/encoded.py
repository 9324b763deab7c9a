"""A second of real packets from each encoder, as libavformat stores them in a file, and what a decoder makes of them."""

import functools
import hashlib
import io
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np

from mediaserver.worker.priority import stand_back
from protocols import codec as codecs
from protocols.media import Codec, MediaKind, Track
from protocols.mp4.fragment import Sample, fragment, init_segment, timescale

FRAMES, RATE, WIDTH, HEIGHT = 12, 25, 98, 66
ENCODERS: dict[Codec, tuple[str, dict[str, str]]] = {
    Codec.H264: ("libx264", {"preset": "veryfast", "bf": "2", "g": "6", "x264-params": "threads=1:b-adapt=0:log=-1"}),
    Codec.HEVC: ("libx265", {"preset": "veryfast", "x265-params": "pools=1:frame-threads=1:keyint=6:bframes=2:log-level=none"}),
    Codec.AV1: ("libsvtav1", {"preset": "12", "g": "6", "svtav1-params": "lp=1"}),
    Codec.VP9: ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "g": "6", "threads": "1"}),
    Codec.AAC: ("aac", {}),
    Codec.OPUS: ("libopus", {}),
    Codec.FLAC: ("flac", {}),
    Codec.AC3: ("ac3", {}),
    Codec.EAC3: ("eac3", {}),
    Codec.MP3: ("libmp3lame", {}),
}
VIDEO = [codec for codec in ENCODERS if codec.kind is MediaKind.VIDEO]
RECORD_BOXES = {Codec.H264: b"avcC", Codec.HEVC: b"hvcC", Codec.AV1: b"av1C", Codec.VP9: b"vpcC"}


@dataclass(frozen=True)
class Encoded:
    """One track: its file by libavformat, its Track as a publisher would declare it, its samples in the track's timescale."""

    file: bytes
    track: Track
    samples: list[Sample]
    first_dts: int


@functools.cache
def encoded(codec: Codec) -> Encoded:
    file = _video_file(codec) if codec.kind is MediaKind.VIDEO else _audio_file(codec)
    with _opened(file) as container:
        stream = container.streams[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        config = bytes(stream.codec_context.extradata or b"")
    if codec in RECORD_BOXES:
        config = box_body(file, RECORD_BOXES[codec])
    elif codec in {Codec.AC3, Codec.EAC3, Codec.MP3}:
        config = b""
    track = codecs.complete(Track(codec, config), bytes(packets[0]))
    scale = timescale(track)
    samples = [
        Sample(
            bytes(packet),
            _ticks(packet, packet.duration, scale),
            _ticks(packet, packet.pts - packet.dts, scale),
            packet.is_keyframe,
        )
        for packet in packets
    ]
    return Encoded(file, track, samples, _ticks(packets[0], packets[0].dts, scale))


def cmaf(clip: Encoded, samples_per_fragment: int, base: int = 0) -> bytes:
    """The clip through our writer, its first sample at ``base``."""
    parts = [init_segment(clip.track)]
    for start in range(0, len(clip.samples), samples_per_fragment):
        run = clip.samples[start : start + samples_per_fragment]
        parts.append(fragment(len(parts), clip.track, base, run))
        base += sum(sample.duration for sample in run)
    return b"".join(parts)


def decode(file: bytes) -> list[tuple[Fraction, str]]:
    """Time and hash of each frame that libavcodec makes of ``file``."""
    with _opened(file) as container:
        stream = container.streams[0]
        stream.codec_context.thread_count = 1
        return [
            (Fraction(frame.pts) * frame.time_base, hashlib.md5(frame.to_ndarray().tobytes()).hexdigest())
            for frame in container.decode(stream)
        ]


def box_body(file: bytes, kind: bytes) -> bytes:
    """The content of the first box of ``kind``, wherever it is."""
    at = file.index(kind)
    return file[at + 4 : at - 4 + int.from_bytes(file[at - 4 : at], "big")]


def _opened(file: bytes) -> Any:
    return av.open(io.BytesIO(file), options={"ignore_editlist": "1"})


def _ticks(packet: Any, value: int, scale: int) -> int:
    ticks = value * packet.time_base * scale
    assert ticks.denominator == 1
    return int(ticks)


def _video_file(codec: Codec) -> bytes:
    name, options = ENCODERS[codec]
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream: Any = container.add_stream(name, rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(FRAMES):
            picture = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
            picture[:, number * 7 : number * 7 + 20] = (250, 180, 20)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    stand_back()
    return target.getvalue()


def _audio_file(codec: Codec) -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream: Any = container.add_stream(ENCODERS[codec][0], rate=48000, layout="stereo")
        resampler = av.AudioResampler(stream.codec_context.format, "stereo", 48000, stream.codec_context.frame_size or 960)
        for block in range(12):
            phase = np.arange(block * 2000, (block + 1) * 2000) * 2 * math.pi * 440 / 48000
            frame = av.AudioFrame.from_ndarray(np.vstack([np.sin(phase), np.sin(phase * 2)]).astype(np.float32), "fltp", "stereo")
            frame.sample_rate, frame.pts, frame.time_base = 48000, block * 2000, Fraction(1, 48000)
            for piece in resampler.resample(frame):
                container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    stand_back()
    return target.getvalue()
