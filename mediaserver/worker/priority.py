"""Workers stay behind the server, whatever a codec thinks of itself."""

import contextlib
import os
from pathlib import Path

_TASKS = Path("/proc/self/task")


def stand_back() -> None:
    """Put every thread of this process back to ordinary scheduling. To be called when an encoder has been opened.

    SVT-AV1, run by root, moves the whole process, its other threads included, to real time (sched(7), SCHED_FIFO, 99): one
    stream in AV1 would then stop everything else on its cores. The niceness that the process had holds again.
    """
    if not hasattr(os, "sched_setscheduler"):
        return
    with contextlib.suppress(OSError):
        for task in _TASKS.iterdir():
            # A thread may end meanwhile.
            with contextlib.suppress(ProcessLookupError):
                if os.sched_getscheduler(int(task.name)) != os.SCHED_OTHER:
                    os.sched_setscheduler(int(task.name), os.SCHED_OTHER, os.sched_param(0))
