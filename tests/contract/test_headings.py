"""Each heading of the document has a test that is named like it."""

import ast
import re
from pathlib import Path

from tests.contract.document import HEADINGS


def test_every_heading_has_a_test_of_its_name() -> None:
    found = {
        node.name
        for file in Path(__file__).parent.glob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert not [heading for heading in HEADINGS if name_of(heading) not in found]


def name_of(heading: str) -> str:
    return "test_" + re.sub(r"\W+", "_", heading).lower()
