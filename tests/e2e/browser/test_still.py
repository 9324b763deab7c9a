"""Pages while nothing is on air: their layout, and the page of the API's description, under a policy without exceptions."""

import pytest

from tests.browser import OpenTab
from tests.peers import Server

#: Every control must have a name that a screen reader can say, and no id may stand twice.
_UNNAMED = """() => [...document.querySelectorAll('button, a, input, select, summary')].filter((node) =>
  !node.closest('[hidden]') && !(node.getAttribute('aria-label') || node.textContent.trim() || node.labels?.length
  || node.getAttribute('aria-labelledby'))).map((node) => node.outerHTML)"""
_TWICE = """() => { const ids = [...document.querySelectorAll('[id]')].map((node) => node.id);
  return ids.filter((id, index) => ids.indexOf(id) !== index); }"""
_OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def server(idle: Server) -> Server:
    return idle


@pytest.mark.parametrize("path", ["/", "/watch/show", "/no-such-page"])
@pytest.mark.parametrize("width", [360, 768, 1600])
def test_pages_fit_every_width_and_every_control_has_a_name(path: str, width: int, server: Server, tab: OpenTab) -> None:
    page = tab(strict=False)
    page.page.set_viewport_size({"width": width, "height": 800})
    page.open(server.url(path))
    page.page.wait_for_load_state("networkidle") if path == "/no-such-page" else page.page.wait_for_selector("h1")
    assert page.page.evaluate(_UNNAMED) == []
    assert page.page.evaluate(_TWICE) == []
    assert page.page.evaluate(_OVERFLOW) <= 0


def test_the_page_shows_every_operation_and_breaks_no_policy(server: Server, tab: OpenTab) -> None:
    page = tab()
    page.open(server.url("/api/docs"))
    page.wait("document.querySelectorAll('.opblock').length > 5")
    page.page.click(".opblock-summary >> nth=0")
    page.wait("document.querySelector('.opblock-body') !== null")
