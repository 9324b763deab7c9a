"""What a row of the table is: two contestants in turn, one figure, goals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from bench.figures import Figures, median_of, ratio
from bench.options import Options

Runs = Mapping[str, Sequence[Figures]]


@dataclass(slots=True)
class Outcome:
    """All rounds of one row."""

    subject: str
    reference: str | None
    runs: dict[str, list[Figures]] = field(default_factory=dict)
    failure: str = ""

    @property
    def ratio(self) -> float | None:
        """Subject / reference, the median over rounds; None when one of the two did not run."""
        if self.reference is None:
            return None
        return ratio(self.runs.get(self.subject, ()), self.runs.get(self.reference, ()))

    def value(self, name: str, contestant: str | None = None) -> float | None:
        """The median over rounds of one figure, of the subject if not told otherwise."""
        return median_of(self.runs.get(contestant or self.subject, ()), name)

    def note(self, name: str) -> float | None:
        """The median over rounds of one of the subject's notes."""
        values = [run.notes[name] for run in self.runs.get(self.subject, ()) if name in run.notes]
        return sorted(values)[len(values) // 2] if values else None


@dataclass(frozen=True, slots=True)
class Goal:
    """Something to reach. ``reached`` says None where what it needs was not measured."""

    text: str
    reached: Callable[[Outcome], bool | None]


class Row(Protocol):
    """One line of the table."""

    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def contestants(self) -> tuple[str, ...]:
        """In the order of a round."""

    @property
    def subject(self) -> str: ...
    @property
    def reference(self) -> str | None: ...
    @property
    def saturates(self) -> bool:
        """Whether the load takes all of its core, which it must not do in real time."""

    @property
    def goals(self) -> tuple[Goal, ...]: ...

    def title(self, options: Options) -> str:
        """What is measured, in words, with the options' numbers."""

    def own_numbers(self, options: Options) -> bool:
        """Whether the options leave the row as its goals mean it."""

    def run(self, contestant: str, options: Options, past: Runs) -> Figures:
        """One run of one contestant; ``past`` has the runs before it."""


def ratio_at_most(limit: float, of: str) -> Goal:
    """The median ratio is at most ``limit``."""
    return Goal(f"≤ {limit:g} x {of}", lambda outcome: None if outcome.ratio is None else outcome.ratio <= limit)


def ratio_at_least(limit: float, of: str) -> Goal:
    """The median ratio is at least ``limit``."""
    return Goal(f"≥ {limit:g} x {of}", lambda outcome: None if outcome.ratio is None else outcome.ratio >= limit)


def value_at_most(limit: float, name: str, text: str) -> Goal:
    """The subject's median of one figure is at most ``limit``."""

    def reached(outcome: Outcome) -> bool | None:
        value = outcome.value(name)
        return None if value is None else value <= limit

    return Goal(text, reached)


def note_at_most(limit: float, name: str, text: str) -> Goal:
    """The subject's median of one note is at most ``limit``."""

    def reached(outcome: Outcome) -> bool | None:
        value = outcome.note(name)
        return None if value is None else value <= limit

    return Goal(text, reached)


def p99_at_most(limit: float) -> Goal:
    """The subject's median p99 is at most ``limit`` ms."""
    return value_at_most(limit, "p99", f"p99 ≤ {limit:g} ms")


#: A counted player's bytes in relation to the median player's: at the window's edges a keyframe more or less is 3 % of 8 s.
FEWEST: Final = 0.93


def nothing_lost() -> Goal:
    """No verified player missed a frame, none was hung up on, nothing came broken, and no counted one got less."""

    def reached(outcome: Outcome) -> bool | None:
        runs = outcome.runs.get(outcome.subject)
        if not runs:
            return None
        return all(run.lost == 0 and not run.faults and run.notes.get("fewest", 1.0) > FEWEST for run in runs)

    return Goal("nothing lost", reached)
