"""Loaded by schemathesis: three requests of four are about things that are there, so that more is tried than how a 404 looks."""

import itertools
import json
import os
from typing import Any

import schemathesis

#: Ids by the name of the parameter: as many of each as the test has made.
THINGS: dict[str, list[int]] = json.loads(os.environ.get("API_THINGS", "{}"))
_turn = itertools.count()


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Put ids in the place of what was made up."""
    given = case.path_parameters or {}
    turn = next(_turn)
    for name in given.keys() & THINGS.keys():
        if turn % 4:
            given[name] = str(THINGS[name][turn % len(THINGS[name])])
