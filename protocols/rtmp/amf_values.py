"""What AMF values become in Python where Python has no type of its own for them, and how much of them we take in."""

import enum
from dataclasses import dataclass

from protocols.errors import LimitExceeded, RemoteProtocolError

#: Objects and arrays within each other. Encoders use three levels; Python's own stack would take some hundreds.
MAX_DEPTH = 32
#: Values in one message. What a reference repeats counts again: its three bytes can stand for everything before it.
MAX_VALUES = 4096
#: Bytes of one message that references stand for, once again for each.
MAX_REPEATED = 1 << 20


class Undefined(enum.Enum):
    """The values that have a marker and nothing else, apart from null, which is None."""

    UNDEFINED = "undefined"
    UNSUPPORTED = "unsupported"


UNDEFINED = Undefined.UNDEFINED
UNSUPPORTED = Undefined.UNSUPPORTED


class EcmaArray(dict[str, object]):
    """An associative array: the same as an object to us, but told apart on the wire (onMetaData is one)."""

    __slots__ = ()


class TypedObject(dict[str, object]):
    """An object with the name of its class, which we never look up."""

    __slots__ = ("class_name",)

    def __init__(self, class_name: str) -> None:
        super().__init__()
        self.class_name = class_name


class XmlDocument(str):
    """The text of an XML document. Never parsed."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Date:
    """Milliseconds since 1970 in UTC, NaN included. ``timezone`` is reserved and ought to be 0."""

    milliseconds: float
    timezone: int = 0


class Budget:
    """What one message has cost so far, so that it outgrows none of the bounds above, nor ``most`` values."""

    __slots__ = ("deepest", "most", "repeated", "values")

    def __init__(self, most: int = MAX_VALUES) -> None:
        self.most = most
        self.values = 0
        self.deepest = 0
        self.repeated = 0

    def spend(self, depth: int, values: int = 1) -> None:
        """Account for ``values`` more, the deepest of them ``depth`` levels down. Raises LimitExceeded."""
        self.values += values
        if self.values > self.most:
            raise LimitExceeded(f"AMF message of more than {self.most} values")
        if depth > MAX_DEPTH:
            raise LimitExceeded(f"AMF values nested more than {MAX_DEPTH} deep")
        if depth > self.deepest:
            self.deepest = depth

    def repeat(self, size: int) -> None:
        """Account for ``size`` bytes that a reference stands for. Raises LimitExceeded."""
        self.repeated += size
        if self.repeated > MAX_REPEATED:
            raise LimitExceeded(f"AMF references to more than {MAX_REPEATED} bytes")


class _Entry:
    """An object or array that a later reference may name, with what the budget said when it began; then its own measures."""

    __slots__ = ("complete", "deepest", "size", "value", "values")

    def __init__(self, budget: Budget, offset: int) -> None:
        self.value: object = None
        self.complete = False
        self.deepest = budget.deepest
        self.values = budget.values
        self.size = budget.repeated + offset


class References:
    """The objects and arrays of one message, numbered in the order in which they began."""

    __slots__ = ("_budget", "_entries")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._entries: list[_Entry] = []

    def begin(self, depth: int, offset: int) -> _Entry:
        """An object begins: its number is taken before its content is known."""
        entry = _Entry(self._budget, offset)
        self._entries.append(entry)
        self._budget.deepest = depth
        return entry

    def end(self, entry: _Entry, value: object, depth: int, offset: int) -> None:
        """The object is complete: from here on it may be referred to."""
        budget = self._budget
        outer, entry.deepest = entry.deepest, budget.deepest - depth
        budget.deepest = max(outer, budget.deepest)
        entry.values = budget.values - entry.values + 1
        entry.size = budget.repeated + offset - entry.size
        entry.value = value
        entry.complete = True

    def look_up(self, number: int, depth: int) -> object:
        """The object with this number, paid for as if it stood here. Raises RemoteProtocolError for one not yet complete."""
        if number >= len(self._entries) or not self._entries[number].complete:
            raise RemoteProtocolError(f"AMF reference to object {number}, which is not complete")
        entry = self._entries[number]
        self._budget.spend(depth + entry.deepest, entry.values)
        self._budget.repeat(entry.size)
        return entry.value
