"""What this machine can do, and the remedy for each thing that it cannot."""

import contextlib
import enum
import os
import platform
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from mediaserver import encoders, preflight
from mediaserver.config import Config
from mediaserver.ingest import srt
from mediaserver.transcode.choice import choose

GIGABYTE = 1 << 30
#: The kernel's queue of connections that nobody has accepted yet.
SOMAXCONN = Path("/proc/sys/net/core/somaxconn")
#: 2026-01-01: a clock before this has not been set. Playlists count their segments from it.
EPOCH = 1767225600


class Verdict(enum.Enum):
    """GOOD: nothing to do. ABSENT: not here, and not needed. ADVICE: it serves, and could do better. BLOCKS: it cannot serve."""

    GOOD = "ok"
    ABSENT = "none"
    ADVICE = "note"
    BLOCKS = "STOP"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    topic: str
    verdict: Verdict
    found: str
    remedy: str = ""


def examine(config: Config) -> bool:
    """Print the report. True when something keeps the server from serving."""
    from rich.console import Console  # noqa: PLC0415 - its memory is not the server's
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    with console.status("Looking at this machine ..."):
        findings = list(diagnose(config))
    colors = {Verdict.GOOD: "green", Verdict.ABSENT: "dim", Verdict.ADVICE: "yellow", Verdict.BLOCKS: "bold red"}
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        told = Text(finding.found)
        if finding.remedy:
            told.append(f"\n{finding.remedy}", "dim" if finding.verdict is Verdict.ABSENT else "bold")
        table.add_row(Text(finding.verdict.value, colors[finding.verdict]), Text(finding.topic), told)
    blocked = [finding.topic for finding in findings if finding.verdict is Verdict.BLOCKS]
    console.print(table)
    console.print()
    console.print(f"This machine cannot serve: {', '.join(blocked)}." if blocked else "This machine can serve.", markup=False)
    return bool(blocked)


def diagnose(config: Config) -> Iterator[Finding]:
    """All findings, in the order of the report."""
    yield _python()
    yield _uvloop()
    yield _cores()
    yield from _ports(config)
    yield _descriptors(config)
    yield from _backlog()
    yield from _data_dir(Path(config.server.data_dir))
    yield _clock(time.time())
    yield from _encoders(config.transcode.encoder)
    yield diagnose_srt()


def _python() -> Finding:
    found = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding("Python", Verdict.GOOD, found)


def _uvloop() -> Finding:
    try:
        import uvloop  # noqa: PLC0415, F401 - whether it loads is the question
    except ImportError as error:
        return Finding("Event loop", Verdict.BLOCKS, str(error), "pip install uvloop (it needs Linux or macOS).")
    return Finding("Event loop", Verdict.GOOD, f"uvloop {metadata.version('uvloop')}")


def _cores() -> Finding:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = f"{count} usable"
    if count < 2:
        return Finding("Cores", Verdict.ADVICE, found, "One core serves; with two, encoders do not take from players.")
    return Finding("Cores", Verdict.GOOD, found)


def _ports(config: Config) -> Iterator[Finding]:
    for listener in preflight.listeners(config):
        topic = f"Port {listener.port} ({listener.key})"
        if problem := preflight.obstacle(listener):
            found, _, remedy = problem.partition(": ")
            yield Finding(topic, Verdict.BLOCKS, found, remedy[:1].upper() + remedy[1:])
        else:
            yield Finding(topic, Verdict.GOOD, "free")


def _descriptors(config: Config) -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = preflight.MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else hard
    wanted = preflight.descriptors(config, config.limits.max_connections)
    found = f"{most} may be open"
    if most < wanted:
        remedy = (
            f"For limits.max_connections = {config.limits.max_connections} raise it to {wanted}: `ulimit -n` as root, "
            "LimitNOFILE= in a systemd unit, `--ulimit nofile=` for docker. Until then fewer connections are taken."
        )
        return Finding("Descriptors", Verdict.ADVICE, found, remedy)
    return Finding("Descriptors", Verdict.GOOD, found)


def _backlog() -> Iterator[Finding]:
    with contextlib.suppress(OSError, ValueError):
        size = int(SOMAXCONN.read_text())
        if size < 1024:
            yield Finding(
                "Accept queue",
                Verdict.ADVICE,
                f"{size} connections",
                "sysctl -w net.core.somaxconn=4096, for crowds that come at once.",
            )
        else:
            yield Finding("Accept queue", Verdict.GOOD, f"{size} connections")


def _data_dir(folder: Path) -> Iterator[Finding]:
    place = str(folder.absolute())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"?")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        remedy = "Let this user write there, or choose another server.data_dir."
        yield Finding("Data folder", Verdict.BLOCKS, f"{place}: {error.strerror}", remedy)
        return
    found = f"{place}, {free / GIGABYTE:.1f} GB free"
    if free < GIGABYTE:
        yield Finding("Data folder", Verdict.ADVICE, found, "Make room, or choose another server.data_dir.")
    else:
        yield Finding("Data folder", Verdict.GOOD, found)


def _clock(now: float) -> Finding:
    found = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < EPOCH:
        return Finding("Clock", Verdict.ADVICE, found, "Set the clock (NTP): players order the segments of streams by it.")
    return Finding("Clock", Verdict.GOOD, found)


def diagnose_srt() -> Finding:
    """Whether SRT can be pulled."""
    version = srt.version()
    if not version:
        remedy = "For pulls of srt://: apt install libsrt1.5-gnutls."
        return Finding("SRT", Verdict.ABSENT, "libsrt is not installed", remedy)
    return Finding("SRT", Verdict.GOOD, f"libsrt {version}")


def _encoders(wanted: str) -> Iterator[Finding]:
    failures = {each.encoder: each.failure for each in encoders.probe(encoders.EVERY)}
    for family, names in encoders.FAMILIES.items():
        able = [name for name in names if not failures[name]]
        if able:
            yield Finding(f"Encoders, {family}", Verdict.GOOD, ", ".join(able))
        elif family == "software":
            yield Finding(f"Encoders, {family}", Verdict.ADVICE, failures[names[0]], "pip install --force-reinstall av")
        elif not all(failures[name].startswith("UnknownCodecError") for name in names):
            yield Finding(f"Encoders, {family}", Verdict.ABSENT, f"no encoder opens ({failures[names[0]]})", _HARDWARE[family])
    devices = [name.removeprefix(encoders.DECODER) for name in encoders.DECODERS if not failures[name]]
    if devices:
        yield Finding("Decoding in hardware", Verdict.GOOD, ", ".join(devices))
    for codec in encoders.CANDIDATES:
        choice = choose(codec, wanted, failures)
        found = f"{codec.value}: {choice.encoder} ({choice.reason})"
        if choice.missed:
            remedy = 'transcode.policy says what happens then; transcode.encoder = "auto" takes what works.'
            yield Finding("Renditions", Verdict.ADVICE, found, remedy)
        else:
            yield Finding("Renditions", Verdict.GOOD, found)


#: What each family needs. Without it nothing is lost but speed: the remedy is for who has the hardware.
_HARDWARE = {
    "NVIDIA": "With such a card: install its driver (in docker: --gpus all with the video capability).",
    "Intel": "With such a chip: install intel-media-va-driver and libvpl2, and let this user open /dev/dri.",
    "AMD": "With such a card: install AMD's AMF runtime (amf-amdgpu-pro).",
    "Video4Linux": "On boards with such a chip: let this user open /dev/video*.",
    "Apple": "Only on macOS.",
}
