"""The engine and the database of these tests."""

import pytest

from tests.control.contract.conftest import ObedientEngine


@pytest.fixture
def engine() -> ObedientEngine:
    obedient = ObedientEngine()
    obedient.show()
    return obedient


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """What is asked here is the engine: one database is enough."""
    return sqlite_url
