"""Relays run on the loop that serves; the tests from end to end run them on the one that comes with Python."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

from mediaserver import engine


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def swept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines look at their deadlines often, so that nobody waits a second for it."""
    monkeypatch.setattr(engine, "SWEEP_INTERVAL", 0.05)
