"""Runs a target over many inputs and measures: what nobody handled, the slowest input, what memory is left behind."""

import gc
import math
import random
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psutil

#: CPU milliseconds that one input may take.
SLOW = 50.0
#: Bytes that a target may leave behind between a tenth of its inputs and all of them: allocators round up, leaks go on.
GROWTH = 8 << 20
_SHOWN = 5


@dataclass(frozen=True)
class Target:
    """Something that takes hostile input. ``make`` derives an input from random numbers, ``run`` lets it loose; ``refusals``
    are the exceptions by which it may say no. ``weight`` is its share of the inputs beside the others'."""

    name: str
    make: Callable[[random.Random], Any]
    run: Callable[[Any], object]
    refusals: tuple[type[Exception], ...] = ()
    weight: float = 1.0


@dataclass
class Outcome:
    """What a target did. ``failures`` tells the first few; the number of an input makes it again."""

    target: str
    inputs: int = 0
    refused: int = 0
    unhandled: int = 0
    slowest: float = 0.0
    growth: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return self.unhandled == 0 and self.slowest <= SLOW and self.growth <= GROWTH


def examine(target: Target, inputs: int, seconds: float, seed: int = 0, first: int = 0) -> Outcome:
    """Run ``target`` on up to ``inputs`` inputs, for about ``seconds`` of wall clock at most."""
    outcome = Outcome(target.name)
    process = psutil.Process()
    rng = random.Random()
    deadline = time.monotonic() + seconds
    warm = process.memory_info().rss
    for number in range(first, first + inputs):
        rng.seed(seed << 40 | number)
        data = target.make(rng)
        milliseconds = _once(target, data, number, outcome)
        if milliseconds > outcome.slowest:
            if milliseconds > SLOW:
                # The collector may have run in it: only what is slow every time is slow.
                milliseconds = min(milliseconds, *(_once(target, data, number, Outcome("again")) for _ in range(3)))
            outcome.slowest = max(outcome.slowest, milliseconds)
            if milliseconds > SLOW and len(outcome.failures) < _SHOWN:
                outcome.failures.append(f"{target.name} input {number}: {milliseconds:.0f} ms for {data!r:.300}")
        outcome.inputs += 1
        if outcome.inputs % 256 == 0 and time.monotonic() > deadline:
            break
        if outcome.inputs == inputs // 10:
            gc.collect()
            warm = process.memory_info().rss
    gc.collect()
    outcome.growth = max(0, process.memory_info().rss - warm)
    return outcome


def examine_all(targets: list[Target], inputs: int, seconds: float, seed: int = 0, first: int = 0) -> Iterator[Outcome]:
    """Share ``inputs`` among the targets by weight, and ``seconds`` as they are used."""
    weights = sum(target.weight for target in targets)
    end = time.monotonic() + seconds
    for number, target in enumerate(targets):
        share = math.ceil(inputs * target.weight / weights)
        yield examine(target, share, (end - time.monotonic()) / (len(targets) - number), seed, first)


def _once(target: Target, data: Any, number: int, outcome: Outcome) -> float:
    """CPU milliseconds that one input took."""
    start = time.thread_time()
    try:
        target.run(data)
    except target.refusals:
        outcome.refused += 1
    except Exception:  # noqa: BLE001 - what nobody foresaw is what we are looking for
        outcome.unhandled += 1
        if len(outcome.failures) < _SHOWN:
            outcome.failures.append(f"{target.name} input {number}: {traceback.format_exc(limit=-4)}for {data!r:.300}")
    return (time.thread_time() - start) * 1000


def table(outcomes: list[Outcome]) -> str:
    """All outcomes as text."""
    lines = [f"{'target':<12} {'inputs':>9} {'refused':>8} {'unhandled':>9} {'slowest ms':>10} {'growth kB':>10}"]
    lines += [
        f"{o.target:<12} {o.inputs:>9} {o.refused:>8} {o.unhandled:>9} {o.slowest:>10.2f} {o.growth // 1024:>10}"
        for o in outcomes
    ]
    total = sum(o.inputs for o in outcomes), sum(o.refused for o in outcomes), sum(o.unhandled for o in outcomes)
    slowest, growth = max(o.slowest for o in outcomes), sum(o.growth for o in outcomes)
    return "\n".join([*lines, f"{'all':<12} {total[0]:>9} {total[1]:>8} {total[2]:>9} {slowest:>10.2f} {growth // 1024:>10}"])
