"""What the frame can say it says somewhere: a word that nobody uses promises what is not there."""

import re
from enum import Enum
from pathlib import Path

import pytest

import control
from control.audit import Action
from control.errors import ErrorCode
from control.permissions import Permission

#: The code that may use it: not the table of roles, which names them all.
SOURCE = "\n".join(
    file.read_text("utf-8") for file in sorted(Path(control.__file__).parent.rglob("*.py")) if file.name != "permissions.py"
)


@pytest.mark.parametrize("words", [ErrorCode, Action, Permission], ids=lambda words: words.__name__)
def test_every_word_is_used(words: type[Enum]) -> None:
    used = set(re.findall(rf"\b{words.__name__}\.([A-Z_]+)\b", SOURCE))
    assert not {word.name for word in words} - used
