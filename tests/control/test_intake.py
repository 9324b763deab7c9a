"""What a body costs before anybody knows who sent it."""

import json
import tracemalloc

import pytest
from pydantic import BaseModel
from yarl import URL

from control.app import MAX_BODY
from control.errors import ControlError
from control.intake import MAX_FIELDS, MAX_NAME, MAX_VALUES, _Object, read_body
from control.rest import Operation
from control.streams.schemas import StreamCreate
from tests.control.conftest import OpenPanel

JSON = {"Content-Type": "application/json"}


class Sent:
    """A request as far as its body is read."""

    content_type = "application/json"
    headers = JSON

    def __init__(self, text: str) -> None:
        assert len(text) <= MAX_BODY
        self._data = text.encode()

    async def read(self) -> bytes:
        return self._data


class Plain:
    form = False


async def refused(model: type[BaseModel], text: str) -> dict[str, str]:
    """The faulty fields."""
    operation: Operation = Plain()  # type: ignore[assignment]
    with pytest.raises(ControlError) as caught:
        await read_body(operation, model, Sent(text))  # type: ignore[arg-type]
    fields: dict[str, str] = caught.value.details["fields"]
    assert len(fields) <= MAX_FIELDS
    assert all(len(name) <= MAX_NAME for name in fields)
    return fields


LONG = "a" * 100_000
HEAVY = {
    "items below a long name that is none of ours": json.dumps({LONG: [0] * 50_000}),
    "items below a long name within ours": json.dumps({"destinations": [{LONG: [0] * 50_000}]}),
    "faults below a long name": '{"destinations": [{"' + LONG + '": [' + ",".join(['"\\u0000"'] * 9000) + "]}]}",
    "many objects": json.dumps({"destinations": [{}] * 80_000}, separators=(",", ":")),
    "many names": json.dumps({f"{number}": 0 for number in range(20_000)}),
}


@pytest.mark.parametrize("what", HEAVY)
async def test_a_body_takes_memory_in_proportion_to_its_size(what: str) -> None:
    tracemalloc.start()
    try:
        await refused(StreamCreate, HEAVY[what])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 128 * MAX_BODY


class Name(str):
    """One that counts how often it is compared."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        Name.compared += 1
        return super().__eq__(other)

    __hash__ = str.__hash__


async def test_one_name_twice_among_thousands_is_found_in_one_pass() -> None:
    names = [Name(number % 5000) for number in range(5001)]
    assert _Object([(name, 0) for name in names]).twice == ("0",)
    assert Name.compared < 10 * len(names)


async def test_too_many_values_are_told_as_such() -> None:
    found = await refused(StreamCreate, json.dumps({"name": "x", "qualities": [0] * MAX_VALUES}))
    assert found == {"body": f"has more than {MAX_VALUES} values"}


async def test_where_a_fault_is_stands_in_its_name() -> None:
    body = {"name": "x", "destinations": [{}, {"stream_key": ["a\0b"]}]}
    assert (await refused(StreamCreate, json.dumps(body)))["destinations.1.stream_key.0"] == "holds a NUL character"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_query_is_decoded_once(panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    assert (await admin.get("/api/users?page=%31")).status == 200
    answer = await admin.ask("GET", URL("/api/users?page=%2531", encoded=True))  # type: ignore[arg-type]
    assert (answer.status, answer.fields) == (422, {"page"})
