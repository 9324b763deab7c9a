"""What processes used, as Linux tells it: CPU-seconds (user + system), resident memory, write calls, a whole core's work."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_LISTEN_SECONDS: Final = 0.5
_QUIET: Final = 0.1


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


def wait_for_quiet(cpus: Sequence[int], patience: float) -> bool:
    """Wait, at most ``patience`` seconds, for half a second in which others leave these cores alone. False: they did not."""
    until = time.monotonic() + patience
    while True:
        before = [core_time(cpu) for cpu in cpus]
        time.sleep(_LISTEN_SECONDS)
        after = [core_time(cpu) for cpu in cpus]
        if all(late.busy - early.busy <= _QUIET * _LISTEN_SECONDS for early, late in zip(before, after, strict=True)):
            return True
        if time.monotonic() > until:
            return False


def come_first(nice: int, *, realtime: bool) -> bool:
    """Run this process, and what it starts from now on, before others' work on the same cores. False where not allowed.

    ``realtime``: round robin in real time (sched(7)), which strangers cannot disturb at all; else by priority alone.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
        policy, priority = (os.SCHED_RR, 1) if realtime else (os.SCHED_OTHER, 0)
        os.sched_setscheduler(0, policy, os.sched_param(priority))
    except PermissionError:
        return False
    return True
