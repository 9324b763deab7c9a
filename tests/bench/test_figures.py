"""How rounds become one figure, and how a goal is judged."""

import os
import time

import pytest

from bench import usage
from bench.figures import Figures, percentile, ratio
from bench.load.process import LoadError
from bench.row import Outcome, nothing_lost, ratio_at_most
from bench.web import parse_wrk


def test_percentiles_are_the_nearest_rank() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert percentile([7.0], 0.99) == 7.0


def test_the_ratio_is_the_median_of_each_rounds_own() -> None:
    mine = [Figures("ours", metric=value) for value in (1.0, 2.0, 30.0)]
    theirs = [Figures("nginx", metric=value) for value in (2.0, 4.0, 40.0)]
    assert ratio(mine, theirs) == 0.5


def test_a_goal_without_its_peer_is_not_judged() -> None:
    outcome = Outcome("ours", "nginx", {"ours": [Figures("ours", metric=1.0)]})
    assert ratio_at_most(0.5, "nginx").reached(outcome) is None


@pytest.mark.parametrize(
    ("figures", "reached"),
    [
        (Figures("ours"), True),
        (Figures("ours", lost=1), False),
        (Figures("ours", faults=["type 9: …"]), False),
        (Figures("ours", notes={"fewest": 0.5}), False),
    ],
)
def test_nothing_lost_is_judged_over_every_round(figures: Figures, reached: bool) -> None:
    outcome = Outcome("ours", "nginx", {"ours": [Figures("ours"), figures]})
    assert nothing_lost().reached(outcome) is reached


def test_wrks_output_is_read() -> None:
    text = "  2 requests in 5.00s, 1.50MB read\n  Socket errors: connect 0, read 3, write 0, timeout 0\nRequests/sec: 0.4\n"
    report = parse_wrk(text)
    assert (report.requests, report.bytes_read) == (2, 1.5 * 1024 * 1024)
    assert report.faults == ("Socket errors: connect 0, read 3, write 0, timeout 0",)
    with pytest.raises(LoadError):
        parse_wrk("unable to connect")


def test_cpu_seconds_are_this_processs_own() -> None:
    before = time.process_time()
    measured = usage.cpu_seconds([os.getpid()])
    assert before <= measured <= time.process_time()


def test_memory_is_this_processs_own() -> None:
    assert usage.resident_bytes([os.getpid()]) > 5_000_000
