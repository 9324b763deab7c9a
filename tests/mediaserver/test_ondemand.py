"""What is loaded when it is first asked for: once, off the loop, and nobody else notices."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mediaserver.ondemand import PATIENCE, load

LATE = """
import sys
import threading

THREAD = threading.get_ident()
INTERVAL = sys.getswitchinterval()
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of modules that nobody has loaded."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "late_part.py").write_text(LATE)
    (tmp_path / "broken_part.py").write_text("raise RuntimeError('broken')\n")
    yield tmp_path
    for name in ("late_part", "broken_part"):
        sys.modules.pop(name, None)


async def test_it_is_loaded_in_a_thread_that_lets_the_loop_on_soon(modules: Path) -> None:
    usual = sys.getswitchinterval()
    part = await load("late_part")
    assert threading.get_ident() != part.THREAD
    assert pytest.approx(PATIENCE, rel=0.01) == part.INTERVAL
    assert sys.getswitchinterval() == usual


async def test_however_many_ask_at_once_it_is_one_module(modules: Path) -> None:
    usual = sys.getswitchinterval()
    parts = await asyncio.gather(*(load("late_part") for _ in range(10)))
    assert {id(part) for part in parts} == {id(sys.modules["late_part"])}
    assert await load("late_part") is parts[0]
    assert sys.getswitchinterval() == usual


async def test_one_that_is_broken_is_told_to_who_asked_and_is_tried_again(modules: Path) -> None:
    usual = sys.getswitchinterval()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken"):
            await load("broken_part")
    assert sys.getswitchinterval() == usual
