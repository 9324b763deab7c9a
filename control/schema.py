"""What goes in and out of the API: declared, checked, and described by the same classes."""

from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    field_validator,
)

from control.timestamps import timestamp

#: Unix time inside, ISO 8601 in JSON.
Timestamp = Annotated[
    float, PlainSerializer(timestamp, return_type=str), WithJsonSchema({"type": "string", "format": "date-time"})
]

#: No control characters (C0, C1), no ends of lines, and nothing that turns the order of what stands beside it around (Unicode's
#: Bidi_Control: what a reader sees would not be what is written).
UNPRINTABLE = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
#: A title that people read: something in it.
Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=f"^[^{UNPRINTABLE}]+$")]


def _is_address(text: str) -> str:
    try:
        port = urlsplit(text).port
    except ValueError:
        raise ValueError("is no address") from None
    if port == 0:
        raise ValueError("the port in an address is a number from 1 to 65535")
    return text


#: What can be taken apart into host, port and path: of brackets that do not close, or a port that is none, nobody makes sense.
Address = AfterValidator(_is_address)


class Taken(BaseModel):
    """A body or a query that is taken: fields that are not declared are refused, and no type is guessed."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_max_length=65536, hide_input_in_errors=True)


def _without_null(schema: dict[str, Any]) -> None:
    for field in schema.get("properties", {}).values():
        field.pop("default", None)
        kinds = [kind for kind in field.pop("anyOf", ()) if kind != {"type": "null"}]
        field.update(kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})


class Changes(Taken):
    """What of a thing is to change. What is left out stays as it is (None here), and nothing becomes null."""

    model_config = ConfigDict(json_schema_extra=_without_null)

    @field_validator("*", mode="before")
    @classmethod
    def _said(cls, value: object) -> object:
        if value is None:
            raise ValueError("null is no value: leave out what is to stay as it is")
        return value


class Given(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(Given):
    """That it was done."""

    message: str


class Page(Taken):
    """Which part of a list."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, Field(ge=1, le=100)] = 10

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.per_page


class Listed(Given):
    """Where in a list an answer stands."""

    total: int
    page: int
    per_page: int


def changes(taken: BaseModel) -> dict[str, Any]:
    """The fields that were sent, whatever their value: a PUT is a merge."""
    return {name: getattr(taken, name) for name in taken.model_fields_set}
