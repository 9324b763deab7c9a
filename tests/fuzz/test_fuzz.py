import logging
import math
import mmap
import random
import time
from collections.abc import Iterator

import pytest

from tests.fuzz import street, targets
from tests.fuzz.harness import SLOW, Target, examine, table
from tests.fuzz.mutate import LARGEST, mutate, pieces

INPUTS = 1000


@pytest.fixture
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("target", [*targets.TARGETS, *street.TARGETS], ids=lambda target: target.name)
def test_any_bytes_are_understood_or_refused_and_none_takes_long(target):
    outcome = examine(target, INPUTS, seconds=math.inf)
    assert outcome.inputs == INPUTS
    assert outcome.unhandled == 0, "\n".join(outcome.failures)
    assert outcome.slowest <= SLOW, "\n".join(outcome.failures)


def test_an_unhandled_exception_is_counted_and_shown_with_its_input():
    def run(data: int) -> None:
        if data % 2:
            raise IndexError("odd")
        raise KeyError

    outcome = examine(Target("odd", lambda rng: rng.randrange(100), run, (KeyError,)), 100, seconds=math.inf)
    assert outcome.refused + outcome.unhandled == outcome.inputs == 100
    assert outcome.unhandled > 10
    assert not outcome.sound
    assert "IndexError: odd" in outcome.failures[0]
    assert "odd " in table([outcome])


def test_an_input_that_is_slow_every_time_is_counted_and_shown():
    def run(_: None) -> None:
        start = time.thread_time()
        while time.thread_time() - start < (SLOW + 10) / 1000:
            pass

    outcome = examine(Target("slow", lambda _: None, run), 1, seconds=math.inf)
    assert outcome.slowest > SLOW
    assert not outcome.sound
    assert outcome.failures


def test_what_is_left_behind_is_measured():
    kept: list[mmap.mmap] = []

    def run(data: bytes) -> None:
        # Of the kernel, whatever the process has in its own pockets.
        kept.append(mmap.mmap(-1, len(data)))
        kept[-1].write(data)

    outcome = examine(Target("leak", lambda rng: rng.randbytes(1 << 20), run), 40, seconds=math.inf)
    assert outcome.growth > 8 << 20
    assert not outcome.sound


def test_the_number_of_an_input_makes_it_again():
    for number in range(200):
        made = [mutate(random.Random(number), bytes(range(200)) * 50) for _ in range(2)]
        assert made[0] == made[1]
        assert len(made[0]) <= LARGEST
        assert b"".join(pieces(random.Random(number), made[0])) == made[0]
