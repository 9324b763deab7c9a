"""How many pictures a second the page says that there are, asked in the browser that runs it."""

import pytest

from tests.browser import OpenTab, Tab
from tests.peers import Server

#: Looks at (milliseconds of the clock, seconds of the stream, pictures), and what is said at the last.
Looks = list[tuple[float, float, int]]


@pytest.fixture
def page(idle: Server, tab: OpenTab) -> Tab:
    opened = tab(own=idle)
    opened.open(idle.url("/healthz"))
    return opened


def said(page: Tab, server: Server, looks: Looks) -> float | None:
    script = """async ([url, looks]) => {
      const rate = new (await import(url)).FrameRate();
      return looks.map((look) => rate.look(...look)).at(-1);
    }"""
    rate = page.page.evaluate(script, [server.url("/static/web/rate.js"), looks])
    return None if rate is None or rate != rate else float(rate)


def test_who_hurries_sees_the_streams_rate_and_no_more(page: Tab, idle: Server) -> None:
    # A tenth faster, looked at a little more seldom than meant, with the decoder some pictures ahead or not.
    looks = [(at * 530.0, at * 0.53 * 1.1, round(at * 0.53 * 1.1 * 30) + at % 3) for at in range(40)]
    assert said(page, idle, looks) == pytest.approx(30, abs=0.4)


def test_too_little_tells_nothing_and_a_seek_begins_anew(page: Tab, idle: Server) -> None:
    first: Looks = [(at * 500.0, at * 0.5, at * 15) for at in range(21)]
    assert said(page, idle, first[:4]) is None
    assert said(page, idle, first) == pytest.approx(30)
    sought: Looks = [*first, (10_500.0, 70.0, 315)]
    assert said(page, idle, sought) is None
    after: Looks = [(10_500.0 + at * 500, 70 + at * 0.5, 315 + at * 30) for at in range(1, 20)]
    assert said(page, idle, [*sought, *after]) == pytest.approx(60)


def test_who_pauses_is_told_the_last_figure(page: Tab, idle: Server) -> None:
    """And nothing is kept of a time in which nothing is shown; the decoder may get ahead in it."""
    first: Looks = [(at * 500.0, at * 0.5, at * 15) for at in range(31)]
    paused: Looks = [(15_000.0 + at * 500, 15.0, 450 + min(at, 15)) for at in range(1, 100)]
    assert said(page, idle, [*first, *paused]) == pytest.approx(30)
    sought: Looks = [*first, *paused, (65_000.0, 3.0, 465), (65_500.0, 3.0, 465), (67_000.0, 3.0, 465)]
    assert said(page, idle, sought) is None
