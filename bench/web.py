"""HTTP load by wrk, for both servers alike: a generator in Python would be slower than what it measures."""

import re
import resource
import shutil
import subprocess
import time
from dataclasses import dataclass, replace
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from bench.load.process import LoadError

MISSING_WRK: Final = "wrk is not installed (Debian: apt install wrk)"
_UNITS: Final = {"": 1.0, "K": 1024.0, "M": 1024.0**2, "G": 1024.0**3, "T": 1024.0**4}


@dataclass(frozen=True, slots=True)
class WebReport:
    """What wrk counted."""

    requests: int
    bytes_read: float
    faults: tuple[str, ...]
    cpu_seconds: float = 0.0


def parse_wrk(text: str) -> WebReport:
    """wrk's output. LoadError when it is not."""
    counts = re.search(r"(\d+) requests in [\d.]+\w+, ([\d.]+)([KMGT]?)B read", text)
    if counts is None:
        raise LoadError(f"wrk said: {text[-300:]}")
    faults = [line.strip() for line in text.splitlines() if "Non-2xx" in line or "Socket errors" in line]
    return WebReport(int(counts[1]), float(counts[2]) * _UNITS[counts[3]], tuple(faults))


def run_wrk(url: str, connections: int, seconds: float, cpu: int) -> WebReport:
    """Keep ``connections`` keep-alive connections busy with one URL."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise LoadError(MISSING_WRK)
    command = ["taskset", "-c", str(cpu), wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", url]
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
