"""The engine and the database of these tests."""

from pathlib import Path

import pytest

from tests.control.contract.conftest import ObedientEngine


@pytest.fixture
def engine() -> ObedientEngine:
    obedient = ObedientEngine()
    obedient.show()
    return obedient


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """What is asked here is the engine: one database is enough."""
    return f"sqlite:///{tmp_path}/data/test.db"
