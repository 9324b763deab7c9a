"""What AMF values become in Python where Python has no type of its own for them, and how much of them we take in."""

import enum
from dataclasses import dataclass

from protocols.errors import LimitExceeded

#: Objects and arrays within each other. Encoders use three levels; Python's own stack would take some hundreds.
MAX_DEPTH = 32
#: Values in one message. What a reference repeats counts again: its three bytes can stand for everything before it.
MAX_VALUES = 8192


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


@dataclass(slots=True)
class Complex:
    """An object or array that a later reference may name: its size and height, known once it is complete."""

    value: object = None
    weight: int = 0
    height: int = 0
    complete: bool = False


class Budget:
    """Counts the values of one message and the depth reached, so that neither outgrows the bounds above."""

    __slots__ = ("reached", "values")

    def __init__(self) -> None:
        self.values = 0
        self.reached = 0

    def spend(self, depth: int, values: int = 1) -> None:
        """Account for ``values`` more, the deepest of them ``depth`` levels down. Raises LimitExceeded."""
        self.values += values
        if self.values > MAX_VALUES:
            raise LimitExceeded(f"AMF message of more than {MAX_VALUES} values")
        if depth > MAX_DEPTH:
            raise LimitExceeded(f"AMF values nested more than {MAX_DEPTH} deep")
        self.reached = max(self.reached, depth)
