"""HTTP load by wrk, for both servers alike: a generator in Python would be slower than what it measures."""

import re
import resource
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from bench.load.process import LoadError

MISSING_WRK: Final = "wrk is not installed (Debian: apt install wrk)"
_MILLISECONDS: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
_UNITS: Final = {"": 1.0, "K": 1024.0, "M": 1024.0**2, "G": 1024.0**3, "T": 1024.0**4}


@dataclass(frozen=True, slots=True)
class WebReport:
    """What wrk counted."""

    requests: int
    bytes_read: float
    faults: tuple[str, ...]
    cpu_seconds: float = 0.0
    p50: float = 0.0  # ms
    p99: float = 0.0


def parse_wrk(text: str) -> WebReport:
    """wrk's output. LoadError when it is not."""
    counts = re.search(r"(\d+) requests in [\d.]+\w+, ([\d.]+)([KMGT]?)B read", text)
    if counts is None:
        raise LoadError(f"wrk said: {text[-300:]}")
    faults = [line.strip() for line in text.splitlines() if "Non-2xx" in line or "Socket errors" in line]
    p50, p99 = (_percentile(text, percent) for percent in (50, 99))
    return WebReport(int(counts[1]), float(counts[2]) * _UNITS[counts[3]], tuple(faults), p50=p50, p99=p99)


def _percentile(text: str, percent: int) -> float:
    """In ms; 0 where it was not asked for."""
    found = re.search(rf"\n\s+{percent}%\s+([\d.]+)(us|ms|s|m)\b", text)
    return float(found[1]) * _MILLISECONDS[found[2]] if found else 0.0


def run_wrk(url: str, connections: int, seconds: float, cpu: int, headers: Sequence[str] = ()) -> WebReport:
    """Keep ``connections`` keep-alive connections busy with one URL. ``headers``: ``Name: value``."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise LoadError(MISSING_WRK)
    command = ["taskset", "-c", str(cpu), wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
    command += ["--latency", *(word for header in headers for word in ("-H", header)), url]
    before = _children_cpu()
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    return replace(parse_wrk(done.stdout + done.stderr), cpu_seconds=_children_cpu() - before)


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def fetch(url: str, seconds: float = 15.0) -> bytes:
    """The body at ``url``, as soon as it is there: a stream that has just begun may not have it yet."""
    until = time.monotonic() + seconds
    while True:
        try:
            with urlopen(url, timeout=10) as answer:  # noqa: S310 - our own server
                body: bytes = answer.read()
                return body
        except (URLError, ConnectionError) as error:
            if time.monotonic() > until:
                raise LoadError(f"{url}: {error}") from None
            time.sleep(0.2)
