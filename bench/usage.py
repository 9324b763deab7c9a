"""What processes used, as Linux tells it: CPU-seconds (user + system), resident memory, write calls, a whole core's work."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    pids = [pid]
    for parent in pids:
        try:
            tasks = list(Path(f"/proc/{parent}/task").iterdir())
            pids += [int(child) for task in tasks for child in (task / "children").read_text().split()]
        except OSError:
            continue  # it ended while we looked
    return pids


def cpu_seconds(pids: list[int]) -> float:
    """User + system CPU-seconds of these processes so far, all their threads, those that ended too.

    The same total as utime + stime in /proc/PID/stat, but by the process's CPU clock, which counts in ns, not in ticks of 10 ms
    (its id: clock_getcpuclockid(3), as Linux makes it).
    """
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def resident_bytes(pids: list[int]) -> int:
    """Resident memory of these processes, shared pages counted in each."""
    return sum(_status(pid, "VmRSS") for pid in pids) * 1024


def _status(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    return 0


def write_calls(pids: list[int]) -> int:
    """write(2)-like calls so far (/proc/PID/io, syscw; send(2) is not among them)."""
    total = 0
    for pid in pids:
        fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
        total += int(fields["syscw"])
    return total


@dataclass(frozen=True, slots=True)
class CoreTime:
    """How long a core was busy, and how long it has been, in seconds."""

    busy: float
    total: float


def core_time(cpu: int) -> CoreTime:
    """Of one core since boot, from /proc/stat."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{cpu}":
            ticks = [int(field) for field in fields[:8]]
            return CoreTime((sum(ticks) - ticks[3] - ticks[4]) / _TICKS, sum(ticks) / _TICKS)
    raise OSError(f"core {cpu} is not in /proc/stat")
