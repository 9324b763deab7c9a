"""The browser's fixtures for these tests."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser import running_chromium, tab
from tests.peers import Server, running_server

__all__ = ["tab"]


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """One for all of these tests, none of which may be async."""
    with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on which nothing is on air. No test may change that."""
    with running_server(tmp_path_factory.mktemp("idle")) as server:
        yield server
