"""The shapes themselves: what is compared with them must not pass for lack of anything to compare."""

from collections.abc import Collection

import pytest

from tests.contract.shapes import TIME, Each, OrNull, Shape, Word, differences

SHAPE: Shape = {
    "id": int,
    "at": TIME,
    "state": Word("on", "off"),
    "end": OrNull(float),
    "parts": [{"name": str}],
    "by": Each(int),
}
GOOD = {"id": 1, "at": "2025-01-01T10:00:00Z", "state": "on", "end": None, "parts": [{"name": "x"}], "by": {"a": 1}}


def test_what_fits_has_no_differences() -> None:
    assert not list(differences(SHAPE, GOOD))
    assert not list(differences(SHAPE, GOOD | {"end": 1}))


@pytest.mark.parametrize(
    "change",
    [
        {"id": "1"}, {"id": 1.0}, {"id": True}, {"at": "yesterday"}, {"state": "away"}, {"end": "x"}, {"parts": {}},
        {"parts": [1]},
        {"parts": [{"name": "x"}, {"name": 1}]}, {"parts": [{"name": "x", "more": 1}]}, {"parts": [{}]}, {"by": {"a": "1"}},
        {"parts": []}, {"by": {}}, {"more": 1},
    ],
    ids=repr,
)  # fmt: skip
def test_each_difference_is_told_once_and_where_it_is(change: dict[str, object]) -> None:
    (told,) = differences(SHAPE, GOOD | change)
    assert told.startswith(f"answer.{next(iter(change))}")


@pytest.mark.parametrize(("empty", "wrong"), [((), 2), (("parts",), 1), (("parts", "by"), 0), (("elsewhere",), 2)])
def test_an_empty_list_shows_nothing_but_where_that_is_said(empty: Collection[str], wrong: int) -> None:
    assert len(list(differences(SHAPE, GOOD | {"parts": [], "by": {}}, empty=empty))) == wrong
