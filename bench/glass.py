"""Glass to glass: ``python -m bench.glass`` measures from the drawing of a picture to its showing in Chromium.

A publisher draws the time into each picture as a row of black and white blocks, encodes it and pushes it to a
server started for the purpose; the watch page plays it; a script in the page reads the blocks of each shown picture
back through a canvas and compares them with the clock. Both are on one machine, so the clock is the same.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.table import Table

from bench.load.process import LoadError
from bench.servers import Ours, Settings
from mediaserver.ingest import testcard
from mediaserver.ingest.testcard import FRAME_RATE, HEIGHT, SAMPLE_RATE, WIDTH

BITRATE: Final = 2_500_000
#: Milliseconds of Unix time in 27 bits, and their sum modulo 31 in 5, so that a picture between two is not misread.
TIME_BITS, SUM_BITS = 27, 5
BITS: Final = TIME_BITS + SUM_BITS
MODULUS: Final = 1 << TIME_BITS
STRIP: Final = 48
PLAYERS: Final = ("ll-hls", "hls", "dash")
#: Milliseconds glass to glass that each player should reach; 0 where none is set.
GOALS: Final = {"ll-hls": 1200}
CHROMIUM: Final = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip

#: Runs in the page: one entry [shown at, stamped at] (ms) for every third picture, and what disturbed the viewer.
_WATCH: Final = """([bits, timeBits, strip, width, height]) => {
  const video = document.querySelector('video');
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [bits * 8, 8];
  const context = canvas.getContext('2d', {willReadFrequently: true});
  const seen = window.glass = {samples: [], misread: 0, stalls: 0, pictures: 0};
  video.addEventListener('waiting', () => { seen.stalls += 1; });
  function look() {
    const at = Date.now();
    if (seen.pictures++ % 3 === 0) {
      context.drawImage(video, 0, 0, width, strip, 0, 0, bits * 8, 8);
      const {data} = context.getImageData(0, 4, bits * 8, 1);
      let stamp = 0, sum = 0;
      for (let bit = 0; bit < bits; bit += 1) {
        const on = data[(bit * 8 + 4) * 4] > 125 ? 1 : 0;
        if (bit < timeBits) stamp = stamp * 2 + on; else sum = sum * 2 + on;
      }
      if (stamp % 31 === sum) seen.samples.push([at, stamp]); else seen.misread += 1;
    }
    video.requestVideoFrameCallback(look);
  }
  video.requestVideoFrameCallback(look);
}"""
_RESULT: Final = """() => ({
  ...window.glass,
  dropped: document.querySelector('video').getVideoPlaybackQuality().droppedVideoFrames,
  shown: document.querySelector('#stat-latency').textContent})"""


@dataclass(frozen=True, slots=True)
class Glass:
    """What one player showed. Latencies in milliseconds; ``page`` is what the page itself says at the end."""

    player: str
    p50: float
    p95: float
    least: float
    most: float
    samples: int
    misread: int
    stalls: int
    dropped: int
    page: str
    goal: int


def picture(base: npt.NDArray[np.uint8], number: int, stamp: int) -> npt.NDArray[np.uint8]:
    """A planar YUV 4:2:0 frame, shape (HEIGHT * 3 / 2, WIDTH), with ``stamp`` in its first STRIP lines."""
    frame = base.copy()
    value = stamp << SUM_BITS | stamp % 31
    block = WIDTH // BITS
    for bit in range(BITS):
        frame[:STRIP, bit * block : (bit + 1) * block] = 235 if value >> (BITS - 1 - bit) & 1 else 16
    left = number * 8 % (WIDTH - 64)
    frame[HEIGHT // 4 : HEIGHT, left : left + 64] = np.roll(base[HEIGHT // 4 : HEIGHT, :64], number, axis=0)
    return frame


def publish(url: str) -> None:
    """Publish stamped pictures and silence to ``url`` in real time, for ever."""
    base = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    base[:HEIGHT] = np.random.default_rng(1).integers(40, 200, (HEIGHT // 8, WIDTH // 8), np.uint8).repeat(8, 0).repeat(8, 1)
    silence = np.zeros((1, SAMPLE_RATE // FRAME_RATE), np.float32)
    testcard.publish(url, lambda number: picture(base, number, round(time.time() * 1000) % MODULUS), lambda _: silence, BITRATE)


def watch(page: Page, url: str, player: str, settle: float, seconds: float) -> Glass:
    """Let the page play for ``settle`` seconds, then measure for ``seconds``."""
    page.goto(f"{url}?player={player}")
    page.wait_for_selector("#player[data-state=playing]", state="attached", timeout=60_000)
    page.wait_for_timeout(settle * 1000)
    before: dict[str, Any] = page.evaluate(_RESULT)
    page.evaluate(_WATCH, [BITS, TIME_BITS, STRIP, WIDTH, HEIGHT])
    page.wait_for_timeout(seconds * 1000)
    result: dict[str, Any] = page.evaluate(_RESULT)
    latencies = sorted((at - stamp) % MODULUS for at, stamp in result["samples"])
    if len(latencies) < 2:
        raise LoadError(f"{player}: no picture could be read ({result['misread']} were misread)")
    return Glass(
        player=player,
        p50=statistics.median(latencies),
        p95=latencies[round(0.95 * (len(latencies) - 1))],
        least=latencies[0],
        most=latencies[-1],
        samples=len(latencies),
        misread=result["misread"],
        stalls=result["stalls"],
        dropped=result["dropped"] - before["dropped"],
        page=result["shown"],
        goal=GOALS.get(player, 0),
    )


def measure(players: Sequence[str], settle: float, seconds: float) -> list[Glass]:
    """Start a server and a publisher, and let each player watch in turn in a browser of its own."""
    with Ours(None, Settings(seconds=seconds)) as server, sync_playwright() as playwright:
        push = multiprocessing.get_context("spawn").Process(
            target=publish, args=(f"rtmp://127.0.0.1:{server.rtmp_port}/live/glass",), daemon=True
        )
        push.start()
        try:
            # What the first seconds of a stream cost is another question.
            time.sleep(6)
            results = []
            for player in players:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
                try:
                    address = f"http://127.0.0.1:{server.http_port}/watch/glass"
                    results.append(watch(browser.new_page(), address, player, settle, seconds))
                finally:
                    browser.close()
            return results
        finally:
            push.terminate()
            push.join()


def table(results: Sequence[Glass]) -> Table:
    """The figures, one row a player."""
    drawn = Table(title="Glass to glass, ms")
    for column in ("player", "p50", "p95", "least", "most", "pictures", "misread", "stalls", "dropped", "the page says", "goal"):
        drawn.add_column(column, justify="left" if column == "player" else "right")
    for r in results:
        verdict = f"{r.goal} {'reached' if r.p95 <= r.goal else 'missed'}" if r.goal else ""
        figures = (r.p50, r.p95, r.least, r.most, r.samples, r.misread, r.stalls, r.dropped)
        drawn.add_row(r.player, *(f"{figure:.0f}" for figure in figures), r.page, verdict)
    return drawn


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 when every goal was reached."""
    parser = argparse.ArgumentParser(prog="python -m bench.glass", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--players", default=",".join(PLAYERS), help="which of %(default)s")
    parser.add_argument("--settle", type=float, default=8.0, help="seconds of playing before the measurement (%(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="seconds of measurement for each player (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args(arguments)
    players = [player.strip() for player in options.players.split(",")]
    if unknown := set(players) - set(PLAYERS):
        parser.error(f"--players: {', '.join(sorted(unknown))} is not one of {', '.join(PLAYERS)}")
    try:
        results = measure(players, options.settle, options.seconds)
    except LoadError as error:
        Console(stderr=True).print(str(error), style="red", markup=False)
        return 1
    Console(width=130).print(table(results))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    return 0 if all(r.p95 <= r.goal for r in results if r.goal) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
