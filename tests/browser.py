"""Chromium under test: a browser, pages that remember what went wrong in them, and a look at decoded pictures."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from tests.conftest import Serve
from tests.media import BITS
from tests.peers import Server, program

#: Where Debian has it; another place may be told.
CHROMIUM = os.environ.get("CHROMIUM", "chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]

#: The number in the picture (see ``tests.media.picture``), read from the decoded frame; -1 while there is none.
_READ_NUMBER = """([bits, width, height]) => {
  const video = document.querySelector('video');
  if (!video || video.readyState < 2 || !video.videoWidth) return -1;
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext('2d', {willReadFrequently: true});
  context.drawImage(video, 0, 0, width, height);
  let number = 0;
  for (let bit = 0; bit < bits; bit += 1) {
    const middle = Math.floor((bit + 0.5) * width / bits);
    const {data} = context.getImageData(middle - 3, Math.floor(height / 16), 6, Math.floor(height / 8));
    let sum = 0;
    for (let i = 0; i < data.length; i += 4) sum += data[i];
    number = number * 2 + (sum / (data.length / 4) > 125 ? 1 : 0);
  }
  return number;
}"""

#: What becomes of all that Chromium is loading when an interface of the machine comes, goes or gets an address: tests with
#: networks of their own do that.
_NETWORK_CHANGED = "net::ERR_NETWORK_CHANGED"
_NETWORK_CHANGES = 5


@dataclass
class Tab:
    """A page of the browser, with every error that its scripts met and every address that it asked for."""

    page: Page
    errors: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    network_changed: bool = False

    def open(self, url: str) -> None:
        """Load it, once more where the machine's network changed meanwhile."""
        for _ in range(_NETWORK_CHANGES):
            self.network_changed = False
            try:
                self.page.goto(url)
            except PlaywrightError as error:
                if _NETWORK_CHANGED not in str(error):
                    raise
                self.network_changed = True
            if not self.network_changed:
                return

    def hear(self, message: ConsoleMessage) -> None:
        """Remember what the page's console says, where it is an error of the page."""
        if _NETWORK_CHANGED in message.text:
            self.network_changed = True
        elif message.type == "error":
            self.errors.append(message.text)

    def wait_state(self, state: str, timeout: float = 30) -> None:
        """Wait until the player of the page is in that state."""
        try:
            self.page.wait_for_selector(f"#player[data-state={state}]", state="attached", timeout=timeout * 1000)
        except Exception as error:
            raise AssertionError(f"the player is {self.state!r}, not {state!r}: {self.describe()}") from error

    @property
    def state(self) -> str:
        return str(self.page.get_attribute("#player", "data-state"))

    def number(self) -> int:
        """The number in the picture that is shown now."""
        return int(self.page.evaluate(_READ_NUMBER, [BITS, 320, 192]))

    def numbers(self, count: int, timeout: float = 30) -> list[int]:
        """``count`` different numbers, as the pictures come."""
        seen: list[int] = []
        for _ in range(round(timeout / 0.03)):
            number = self.number()
            if number >= 0 and (not seen or seen[-1] != number):
                seen.append(number)
                if len(seen) == count:
                    return seen
            self.page.wait_for_timeout(30)
        raise AssertionError(f"only {seen} of {count} pictures: {self.describe()}")

    def video(self) -> dict[str, Any]:
        """What the element says of itself."""
        return dict(
            self.page.evaluate("""() => {
              const v = document.querySelector('video'), q = v.getVideoPlaybackQuality();
              return {time: v.currentTime, width: v.videoWidth, height: v.videoHeight, paused: v.paused, muted: v.muted,
                frames: q.totalVideoFrames, dropped: q.droppedVideoFrames, ready: v.readyState, error: v.error?.message ?? null};
            }""")
        )

    def wait(self, expression: str, timeout: float = 30) -> None:
        """Wait until a JavaScript expression is true in the page."""
        # Asked from outside: Playwright's own wait would evaluate a string in the page, which the page's policy forbids.
        deadline = time.monotonic() + timeout
        while not self.page.evaluate(f"() => Boolean({expression})"):
            assert time.monotonic() < deadline, f"never {expression}: {self.describe()}"
            self.page.wait_for_timeout(40)

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def describe(self) -> str:
        shown = self.page.evaluate("() => document.querySelector('#veil-title')?.textContent ?? ''")
        return f"{shown!r} {self.video() if self.page.query_selector('video') else ''} {self.errors} {self.asked[-8:]}"


#: ``tab()``: a fresh page in a context of its own; ``tab(strict=False)`` where errors are part of the story.
OpenTab = Callable[..., Tab]


@contextlib.contextmanager
def running_chromium() -> Iterator[Browser]:
    """A headless Chromium. While it is there an event loop runs: no async test can."""
    path = program(CHROMIUM)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One for a module's tests, none of which may be async."""
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def tab(chromium: Browser, serve: Serve, request: pytest.FixtureRequest) -> Iterator[OpenTab]:
    """Pages that must have met no error, and asked nobody but their server, when the test ends. Those that are given none have
    the fixture ``server``: it is started only for them, and stopped after them."""
    opened: list[tuple[Tab, bool, Server]] = []

    def start(*, strict: bool = True, own: Server | None = None, **context: Any) -> Tab:
        page = chromium.new_context(viewport={"width": 1280, "height": 800}, **context).new_page()
        made = Tab(page)

        def remember(request: Request) -> None:
            made.asked.append(request.url)

        page.on("request", remember)
        page.on("pageerror", lambda error: made.errors.append(str(error)))
        page.on("console", made.hear)
        opened.append((made, strict, own or request.getfixturevalue("server")))
        return made

    yield start
    for made, strict, host in opened:
        foreign = [url for url in made.asked if not url.startswith((host.url(""), "blob:", "data:"))]
        made.page.context.close()
        assert not foreign, f"the page asked others than its server: {foreign}"
        assert not strict or not made.errors, made.errors
