"""A machine that stands still for a while has not heard of its sources: they were not silent."""

from typing import cast

from mediaserver.config import Config
from mediaserver.hub.hub import Hub
from mediaserver.ingest.pull import Pull, PullState
from mediaserver.ports import InputType, PublishGrant, PullSource
from mediaserver.worker.process import Worker
from tests.mediaserver.running import Notes

TIMEOUT = Config().pull.timeout


class Victim:
    """A worker that counts how often it is killed."""

    def __init__(self) -> None:
        self.killed = 0

    def kill(self) -> None:
        self.killed += 1


def live_pull() -> tuple[Pull, Victim]:
    """One whose source was heard at 100 s."""
    source = PullSource(InputType.RTMP, "rtmp://127.0.0.1/live/a")
    pull, worker = Pull(cast(Hub, None), Config(), Notes(), source, PublishGrant("show")), Victim()
    pull._move(PullState.LIVE, "connected")
    pull._worker, pull._heard = cast(Worker, worker), 100.0
    return pull, worker


def test_a_source_is_not_given_up_for_the_time_in_which_nobody_listened() -> None:
    pull, worker = live_pull()
    pull.check(100.5)
    pull.check(100.5 + 10 * TIMEOUT)
    assert worker.killed == 0


def test_it_is_for_the_time_in_which_somebody_did() -> None:
    pull, worker = live_pull()
    for second in range(round(TIMEOUT)):
        pull.check(100.5 + second)
    assert worker.killed == 0
    pull.check(100.5 + TIMEOUT)
    assert worker.killed == 1


def test_what_comes_after_a_standstill_is_heard_when_it_comes() -> None:
    pull, worker = live_pull()
    pull.check(100.5)
    pull._heard = 500.0
    for second in range(round(TIMEOUT)):
        pull.check(500.5 + second)
    assert worker.killed == 0
    pull.check(501.5 + TIMEOUT)
    assert worker.killed == 1
