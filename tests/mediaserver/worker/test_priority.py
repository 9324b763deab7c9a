"""No codec puts its worker before the server."""

import os
import subprocess
import sys

import pytest

from tests.peers import ROOT

OPEN = """
import os
from fractions import Fraction
import av
from mediaserver.worker.priority import stand_back

context = av.CodecContext.create("libsvtav1", "w")
context.width, context.height, context.pix_fmt, context.time_base = 320, 192, "yuv420p", Fraction(1, 25)
context.open()
before = os.sched_getscheduler(0)
stand_back()
print(before, sorted({os.sched_getscheduler(int(task)) for task in os.listdir("/proc/self/task")}))
"""


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="only Linux schedules so")
def test_an_av1_encoder_that_root_runs_is_put_back_to_ordinary_scheduling() -> None:
    done = subprocess.run([sys.executable, "-c", OPEN], capture_output=True, text=True, cwd=ROOT, check=True)
    before, after = done.stdout.split(" ", 1)
    assert after == f"[{os.SCHED_OTHER}]\n"
    if os.geteuid() == 0:
        # What this is for: where it is not so any more, nothing need be put back.
        assert int(before) == os.SCHED_FIFO
