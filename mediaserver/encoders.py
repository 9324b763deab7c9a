"""Which video encoders really open on this machine: each is made to encode one frame, in a process that it may take down.

FFmpeg lists encoders whose driver is missing, and some of them end the process that tries: so nothing less tells.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

#: FFmpeg's names, by who does the work. The first family needs no hardware.
FAMILIES: dict[str, tuple[str, ...]] = {
    "software": ("libx264", "libx265", "libsvtav1"),
    "NVIDIA": ("h264_nvenc", "hevc_nvenc", "av1_nvenc"),
    "Intel": ("h264_qsv", "hevc_qsv", "av1_qsv"),
    "AMD": ("h264_amf", "hevc_amf", "av1_amf"),
    "Video4Linux": ("h264_v4l2m2m", "hevc_v4l2m2m"),
    "Apple": ("h264_videotoolbox", "hevc_videotoolbox"),
}
#: Seconds that all encoders together may take.
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Probe:
    """What one encoder did. ``failure`` is empty if it encoded a frame."""

    encoder: str
    failure: str


def probe(encoders: Sequence[str]) -> list[Probe]:
    """Try each of ``encoders`` in a child process; one that ends the child is told so, and the rest go on in another."""
    probes: list[Probe] = []
    while len(probes) < len(encoders):
        rest = encoders[len(probes) :]
        command = [sys.executable, "-m", "mediaserver.encoders", *rest]
        try:
            child = subprocess.run(  # noqa: S603 - our own interpreter and our own list
                command, capture_output=True, text=True, timeout=PATIENCE, cwd=Path(__file__).parents[1], check=False
            )
            lines, end = child.stdout.splitlines(), f"took its process down (status {child.returncode})"
        except subprocess.TimeoutExpired as error:
            lines = error.stdout.decode().splitlines() if isinstance(error.stdout, bytes) else []
            end = "did not come to an end"
        probes += [Probe(*json.loads(line)) for line in lines]
        if len(lines) < len(rest):
            probes.append(Probe(rest[len(lines)], end))
    return probes


def _encode_one_frame(name: str) -> None:
    import av  # noqa: PLC0415 - in the child only: FFmpeg's memory is not the server's

    context = av.CodecContext.create(name, "w")
    if not isinstance(context, av.VideoCodecContext):
        raise TypeError(f"{name} encodes no video")
    context.width, context.height, context.pix_fmt = 640, 360, "yuv420p"
    context.time_base, context.framerate = Fraction(1, 30), Fraction(30)
    context.open()
    frame = av.VideoFrame(640, 360, "yuv420p")
    frame.pts, frame.time_base = 0, Fraction(1, 30)
    if not [*context.encode(frame), *context.encode(None)]:
        raise ValueError("gave no packet for a frame")


def main() -> None:
    """One line of JSON, ``[encoder, failure]``, for each name in the arguments."""
    import av  # noqa: PLC0415

    av.logging.set_level(None)
    for name in sys.argv[1:]:
        try:
            _encode_one_frame(name)
            failure = ""
        except (av.FFmpegError, ValueError) as error:
            failure = f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"
        sys.stdout.write(json.dumps([name, failure]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
