"""What a request brings, checked against what its operation takes: every faulty field is named, and none is guessed."""

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from pydantic import BaseModel, ValidationError

from control.errors import ControlError, ErrorCode
from control.rest import Operation, faults

#: Fields of a form or a query, and faults that are told.
MAX_FIELDS = 100
#: Values in JSON, those within others too: each costs far more memory than it has bytes.
MAX_VALUES = 10_000
#: Letters of a name that are told back.
MAX_NAME = 100

_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"
#: What aiohttp says of a body without a type.
_UNTYPED = "application/octet-stream"

#: Where something stands: below what, and its name there. None: at the top.
_Place = tuple["_Place", str] | None


def read_query(model: type[BaseModel], request: web.Request) -> BaseModel:
    """The query of ``request``. Raises ControlError."""
    return _checked(model, request.rel_url.raw_query_string)


async def read_body(operation: Operation, model: type[BaseModel], request: web.Request) -> BaseModel:
    """The body of ``request``. Raises ControlError."""
    wanted = _FORM if operation.form else _JSON
    if request.content_type != wanted and (request.content_type != _UNTYPED or "Content-Type" in request.headers):
        raise ControlError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"Content-Type must be {wanted}")
    try:
        text = (await request.read()).decode()
    except UnicodeDecodeError:
        raise _invalid({"body": "is not UTF-8"}) from None
    if operation.form:
        return _checked(model, text)
    found = dict(itertools.islice(_oddities(text or "{}", model), MAX_FIELDS))
    try:
        taken = model.model_validate_json(text or "{}", strict=True)
    except ValidationError as error:
        raise _invalid({**found, **faults(error)}) from None
    if found:
        raise _invalid(found)
    return taken


def _checked(model: type[BaseModel], text: str) -> BaseModel:
    """A form or a query, which are written alike."""
    found: dict[str, str] = {}
    given: dict[str, str] = {}
    try:
        for name, value in parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS):
            if name in given:
                found[name] = "is given twice"
            elif fault := _fault(value):
                found[name] = fault
            given[name] = value
    except ValueError:
        raise _invalid({"body": f"has more than {MAX_FIELDS} fields"}) from None
    try:
        taken = model.model_validate_strings(given)
    except ValidationError as error:
        raise _invalid({**found, **faults(error)}) from None
    if found:
        raise _invalid(found)
    return taken


class _Object(dict[str, Any]):
    """A JSON object, and which of its names stand in it twice (RFC 8259, 4: what that means is anybody's guess)."""

    __slots__ = ("twice",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.twice: tuple[str, ...] = ()
        if len(self) < len(pairs):
            self.twice = tuple(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)


def _oddities(text: str, model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """Where JSON that a lenient reader takes is none, or cannot be kept: field and what is wrong with it.

    Fields that ``model`` lacks are refused whatever is in them. Raises ControlError.
    """
    try:
        whole = json.loads(text, object_pairs_hook=_Object)
    except (ValueError, RecursionError):
        # Said once more, and better, by whoever reads it for its fields.
        yield "body", "is no JSON"
        return
    left: list[tuple[_Place, Any]] = [(None, whole)]
    count = 0
    while left:
        place, value = left.pop()
        if isinstance(value, (_Object, list)):
            count += len(value)
            if count > MAX_VALUES:
                raise _invalid({"body": f"has more than {MAX_VALUES} values"})
        if isinstance(value, _Object):
            yield from ((_spelled((place, name)), "is given twice") for name in value.twice)
            for name, item in value.items():
                if fault := _fault(name):
                    yield _spelled(place) or "body", f"a name {fault}"
                if place is not None or name in model.model_fields:
                    left.append(((place, name), item))
        elif isinstance(value, list):
            left.extend(((place, str(number)), item) for number, item in enumerate(value))
        elif fault := _fault(value):
            yield _spelled(place) or "body", fault


def _spelled(place: _Place) -> str:
    """``a.0.b``. Only where something is wrong: names may be long, and what stands below them much."""
    names: list[str] = []
    while place is not None:
        place, name = place
        names.append(name[:MAX_NAME])
    return ".".join(reversed(names))


def _fault(value: object) -> str:
    """Why a single value cannot be kept: not every database takes every string."""
    if isinstance(value, str):
        if "\0" in value:
            return "holds a NUL character"
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            return "holds half of a surrogate pair"
    elif isinstance(value, float) and not math.isfinite(value):
        return "is no finite number"
    return ""


def _invalid(found: Mapping[str, str]) -> ControlError:
    """Names that come from the request are told back cut short and printable: they are no fields of ours, but nor a surprise."""
    told = {"".join(letter if letter.isprintable() else "?" for letter in name[:MAX_NAME]): what for name, what in found.items()}
    return ControlError(ErrorCode.VALIDATION, "The request is invalid", {"fields": dict(list(told.items())[:MAX_FIELDS])})
