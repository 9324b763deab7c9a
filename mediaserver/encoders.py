"""Which video encoders and hardware decoders really work on this machine: each is made to code one frame, in a process that
it may take down.

FFmpeg lists encoders whose driver is missing, and some of them end the process that tries: so nothing less tells.
"""

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from mediaserver.worker.environment import environment
from mediaserver.worker.priority import stand_back
from protocols.media import Codec

#: FFmpeg's names, by who does the work. The first family needs no hardware.
FAMILIES: dict[str, tuple[str, ...]] = {
    "software": ("libx264", "libx265", "libsvtav1"),
    "NVIDIA": ("h264_nvenc", "hevc_nvenc", "av1_nvenc"),
    "Intel": ("h264_qsv", "hevc_qsv", "av1_qsv"),
    "AMD": ("h264_amf", "hevc_amf", "av1_amf"),
    "Video4Linux": ("h264_v4l2m2m", "hevc_v4l2m2m"),
    "Apple": ("h264_videotoolbox", "hevc_videotoolbox"),
}
#: The same names by what they make, the first choice first.
CANDIDATES: dict[Codec, tuple[str, ...]] = {
    Codec.H264: ("h264_nvenc", "h264_qsv", "h264_amf", "h264_v4l2m2m", "h264_videotoolbox", "libx264"),
    Codec.HEVC: ("hevc_nvenc", "hevc_qsv", "hevc_amf", "hevc_v4l2m2m", "hevc_videotoolbox", "libx265"),
    Codec.AV1: ("av1_nvenc", "av1_qsv", "av1_amf", "libsvtav1"),
}
SOFTWARE: dict[Codec, str] = {codec: names[-1] for codec, names in CANDIDATES.items()}
#: What stands before FFmpeg's name of a device that decodes, where encoders and decoders are in one list.
DECODER = "decode:"
DECODERS = (f"{DECODER}cuda", f"{DECODER}qsv", f"{DECODER}videotoolbox")
#: Everything there is to try.
EVERY = (*(name for names in FAMILIES.values() for name in names), *DECODERS)
#: Encoders that are not FFmpeg's, by name: "MODULE:FACTORY", which a transcoder's process imports and calls.
OWN: dict[str, str] = {}
#: Seconds that a child may take for all that it tries, and to end when it is killed.
PATIENCE, KILL_PATIENCE = 60.0, 2.0


@dataclass(frozen=True, slots=True)
class Probe:
    """What one encoder (or decoder) did. ``failure`` is empty if it coded a frame."""

    encoder: str
    failure: str


def register(name: str, factory: str) -> None:
    """From now on ``name`` may be asked for as an encoder; ``factory`` is "MODULE:FACTORY" (see ``transcode.encoding``)."""
    OWN[name] = factory


def picture_format(encoder: str) -> str:
    """FFmpeg's name of the pictures that ``encoder`` takes."""
    return "nv12" if encoder.endswith(("_qsv", "_v4l2m2m")) else "yuv420p"


class Prober:
    """Tries ``encoders`` in child processes: one that ends its child is told so, and the rest go on in another."""

    def __init__(self, encoders: Sequence[str]) -> None:
        self._encoders = encoders
        self._child: subprocess.Popen[str] | None = None
        self._stopped = False
        self._lock = threading.Lock()

    def run(self) -> list[Probe]:
        """What each of them did; fewer where it was stopped. Blocks. Raises OSError where no process can be started."""
        probes: list[Probe] = []
        while len(probes) < len(self._encoders):
            rest = self._encoders[len(probes) :]
            child = self._start(rest)
            if child is None:
                break
            lines, end = _listen(child)
            tried = _read(lines, rest)
            probes += tried
            if len(tried) < len(rest) and not self._stopped:
                probes.append(Probe(rest[len(tried)], end))
        return probes

    def stop(self) -> None:
        """End it, whatever hangs. From any thread; harmless twice."""
        with self._lock:
            self._stopped = True
            if self._child is not None:
                self._child.kill()

    def _start(self, rest: Sequence[str]) -> "subprocess.Popen[str] | None":
        with self._lock:
            if self._stopped:
                return None
            self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and our own list
                [sys.executable, "-m", "mediaserver.encoders", *rest],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
                cwd=Path(__file__).parents[1],
                env=environment(),
            )
            return self._child


def probe(encoders: Sequence[str]) -> list[Probe]:
    """Try each of ``encoders``. Blocks; raises OSError where no process can be started."""
    return Prober(encoders).run()


def _listen(child: "subprocess.Popen[str]") -> tuple[list[str], str]:
    """What ``child`` writes, and what is to be said of the encoder that it was at when it ended."""
    try:
        said, _ = child.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired as error:
        child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # one that hangs in a driver cannot even be killed
            child.wait(KILL_PATIENCE)
        if child.stdout is not None:
            child.stdout.close()
        said = error.stdout.decode("utf-8", "replace") if isinstance(error.stdout, bytes) else ""
        return said.splitlines(), "did not come to an end"
    return said.splitlines(), f"took its process down (status {child.returncode})"


def _read(lines: Sequence[str], encoders: Sequence[str]) -> list[Probe]:
    """What a child said of the first of ``encoders``. Drivers write lines of their own between."""
    probes: list[Probe] = []
    for line in lines:
        with contextlib.suppress(ValueError, TypeError):
            encoder, failure = json.loads(line)
            if len(probes) < len(encoders) and encoder == encoders[len(probes)]:
                probes.append(Probe(encoder, str(failure)))
    return probes


def _encode_one_frame(name: str) -> tuple[bytes, list[bytes]]:
    """The decoder configuration and the packets of one grey picture."""
    import av  # noqa: PLC0415 - in the child only: FFmpeg's memory is not the server's

    context = av.CodecContext.create(name, "w")
    if not isinstance(context, av.VideoCodecContext):
        raise TypeError(f"{name} encodes no video")
    context.width, context.height, context.pix_fmt = 640, 360, picture_format(name)
    context.time_base, context.framerate = Fraction(1, 30), Fraction(30)
    context.open()
    stand_back()
    frame = av.VideoFrame(640, 360, picture_format(name))
    frame.pts, frame.time_base = 0, Fraction(1, 30)
    packets = [*context.encode(frame), *context.encode(None)]
    if not packets:
        raise ValueError("gave no packet for a frame")
    return context.extradata or b"", [bytes(packet) for packet in packets]


def _decode_one_frame(device: str) -> None:
    import av  # noqa: PLC0415
    from av.codec.hwaccel import HWAccel  # noqa: PLC0415

    _, packets = _encode_one_frame("libx264")
    context = av.CodecContext.create("h264", "r", hwaccel=HWAccel(device, allow_software_fallback=False))
    frames = [frame for data in packets for frame in context.decode(av.Packet(data))]
    if not [*frames, *context.decode(None)] or not context.is_hwaccel:
        raise ValueError("gave no frame for a packet")


def main() -> None:
    """One line of JSON, ``[encoder, failure]``, for each name in the arguments."""
    import av  # noqa: PLC0415

    av.logging.set_level(None)
    for name in sys.argv[1:]:
        try:
            if name.startswith(DECODER):
                _decode_one_frame(name.removeprefix(DECODER))
            else:
                _encode_one_frame(name)
            failure = ""
        except (av.FFmpegError, ValueError, RuntimeError) as error:
            failure = f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"
        sys.stdout.write(json.dumps([name, failure]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
