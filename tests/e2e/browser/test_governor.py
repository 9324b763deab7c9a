"""The playback rate that keeps close to live, asked in the browser that runs it."""

from typing import Any

import pytest

from tests.browser import OpenTab, Tab
from tests.peers import Server


@pytest.fixture
def server(idle: Server) -> Server:
    return idle


@pytest.fixture
def page(server: Server, tab: OpenTab) -> Tab:
    opened = tab()
    opened.open(server.url("/healthz"))
    return opened


def rate(page: Tab, server: Server, **figures: float) -> float:
    given: dict[str, Any] = {"latency": 0.6, "target": 0.6, "buffered": 0.5, "rate": 1, **figures}
    script = "async ([url, given]) => (await import(url)).playbackRate(given)"
    return float(page.page.evaluate(script, [server.url("/static/web/governor.js"), given]))


def test_it_hurries_when_behind_and_the_more_the_further(page: Tab, server: Server) -> None:
    assert rate(page, server) == 1
    assert rate(page, server, latency=0.7) == 1
    near, far = rate(page, server, latency=0.9, buffered=1), rate(page, server, latency=1.4, buffered=2)
    assert 1 < near < far <= 1.5
    assert rate(page, server, latency=5, buffered=5) == 1.5


def test_it_does_not_hurry_into_an_empty_buffer(page: Tab, server: Server) -> None:
    assert rate(page, server, latency=3, buffered=0.1) == 1
    assert rate(page, server, latency=3, buffered=0.4) < rate(page, server, latency=3, buffered=1)


def test_once_hurrying_it_goes_on_until_it_is_there(page: Tab, server: Server) -> None:
    assert rate(page, server, latency=0.68) == 1
    assert rate(page, server, latency=0.68, rate=1.1) > 1
    assert rate(page, server, latency=0.62, rate=1.1) == 1


def test_without_a_latency_it_leaves_the_speed_alone(page: Tab, server: Server) -> None:
    script = "async (url) => (await import(url)).playbackRate({latency: NaN, target: 1, buffered: 1, rate: 1})"
    assert page.page.evaluate(script, server.url("/static/web/governor.js")) == 1
