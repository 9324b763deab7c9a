import pytest

from mediaserver.ingest import pull_allowance
from mediaserver.ingest.pull_allowance import BURST, Allowance, of_bytes
from mediaserver.ingest.pull_terms import SourceLost, Terms
from mediaserver.ports import InputType


class Clock:
    """A clock that stands still unless somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.slept = 0.0
        monkeypatch.setattr(pull_allowance.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(pull_allowance.time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds


def test_what_is_allowed_is_never_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    allowance = Allowance(1000, 5.0, "too much")
    allowance.spend(round(1000 * BURST))  # what a server has kept comes at once
    for _ in range(1000):
        clock.now += 0.1
        allowance.spend(100)
    assert clock.slept < 1e-6


def test_a_flood_is_read_no_faster_and_given_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    allowance = Allowance(1000, 5.0, "too much")
    taken = [0]

    def flood() -> None:
        while True:
            allowance.spend(100)
            taken[0] += 100

    with pytest.raises(SourceLost, match="too much"):
        flood()
    assert taken[0] <= 1000 * (BURST + 5.0) + 200
    assert 5.0 <= clock.slept < 5.3


def test_floods_with_rests_between_them_are_no_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    """As segments come."""
    clock = Clock(monkeypatch)
    allowance = Allowance(1000, 5.0, "too much")
    for _ in range(20):
        for _ in range(60):
            allowance.spend(100)
        clock.now += 6.0
    assert clock.slept


def test_who_sends_just_as_much_as_he_may_is_not_given_up_for_how_he_began(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    allowance = Allowance(1000, 5.0, "too much")
    allowance.spend(round(1000 * BURST) + 1000)
    for _ in range(1000):
        clock.now += 0.1
        allowance.spend(100)


def test_one_piece_that_is_far_too_large_is_no_wait_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    terms = Terms(InputType.RTMP, "rtmp://a/b/c", False, True, 5.0, (), 1, 1, 2_500_000, "", True)
    allowance = of_bytes(terms)
    allowance.spend(1 << 30)
    assert clock.slept == 5.0
    with pytest.raises(SourceLost, match=r"the source sends more than 2\.5 Mbit/s \(pull\.max_bitrate\)"):
        allowance.spend(1)
