"""A small language for what JSON looks like: ``{"id": int, "name": str, "destinations": [{"platform": str}]}``.

``float`` is any number, ``int`` one that is written without a point; a list has one shape for all of its items, and at least one:
an empty one shows nothing.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

Shape = Any


@dataclass(frozen=True)
class Text:
    """A string that the whole of ``pattern`` matches."""

    pattern: str


@dataclass(frozen=True)
class Word:
    """One of these strings."""

    words: tuple[str, ...]

    def __init__(self, *words: str) -> None:
        object.__setattr__(self, "words", words)


@dataclass(frozen=True)
class OrNull:
    """That, or null."""

    shape: Shape


@dataclass(frozen=True)
class Perhaps:
    """A list of that which has nothing in it as a rule."""

    shape: Shape


@dataclass(frozen=True)
class Each:
    """An object whose names are data: each value has that shape."""

    shape: Shape


#: ISO 8601 in UTC, as the document writes it.
TIME = Text(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
DATE = Text(r"\d{4}-\d\d-\d\d")


def differences(shape: Shape, value: Any, where: str = "answer", empty: Collection[str] = ()) -> Iterator[str]:
    """What is missing in ``value``, is of another type, or is there though nobody wrote it down.

    ``empty`` are the names of lists and of objects whose names are data that may have nothing in them.
    """
    if isinstance(shape, OrNull):
        if value is not None:
            yield from differences(shape.shape, value, where, empty)
    elif isinstance(shape, Perhaps):
        yield from differences([shape.shape], value, where, (where.rpartition(".")[2],))
    elif isinstance(shape, (Text, Word)):
        yield from _wrong_text(shape, value, where)
    elif isinstance(shape, (dict, Each)):
        yield from _object_differences(shape, value, where, empty)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{where} is {_kind(value)}, not a list"
            return
        if not value and not _may_be_empty(where, empty):
            yield f"{where} has nothing in it"
        for number, item in enumerate(value):
            yield from differences(shape[0], item, f"{where}[{number}]", empty)
    elif not _is(shape, value):
        yield f"{where} is {_kind(value)}, not {shape.__name__}"


def _may_be_empty(where: str, empty: Collection[str]) -> bool:
    return where.rpartition(".")[2] in empty


def _object_differences(shape: "dict[str, Shape] | Each", value: Any, where: str, empty: Collection[str]) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where} is {_kind(value)}, not an object"
        return
    if isinstance(shape, Each):
        if not value and not _may_be_empty(where, empty):
            yield f"{where} has nothing in it"
        shape = dict.fromkeys(value, shape.shape)
    yield from (f"{where}.{name} is missing" for name in shape.keys() - value.keys())
    yield from (f"{where}.{name} is written down nowhere" for name in value.keys() - shape.keys())
    for name in shape.keys() & value.keys():
        yield from differences(shape[name], value[name], f"{where}.{name}", empty)


def _wrong_text(shape: "Text | Word", value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{where} is {_kind(value)}, not a string"
    elif isinstance(shape, Word) and value not in shape.words:
        yield f"{where} is {value!r}, none of {shape.words}"
    elif isinstance(shape, Text) and re.fullmatch(shape.pattern, value) is None:
        yield f"{where} is {value!r}, which does not match {shape.pattern}"


def _is(kind: type, value: Any) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
