"""The server with somebody who looks at the clock: ``python -m bench.load.watched serve …``.

How late the event loop comes to its turns is written to the file that LAGS names whenever the process gets SIGUSR1: a JSON list
of [monotonic ns, ms late].
"""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mediaserver.__main__ import serve
from mediaserver.cli import main
from mediaserver.config import Config

#: Seconds between two looks.
_BEAT: Final = 0.005


async def _look(lags: list[tuple[int, float]]) -> None:
    while True:
        before = time.monotonic_ns()
        await asyncio.sleep(_BEAT)
        lags.append((before, max(0.0, (time.monotonic_ns() - before) / 1e6 - 1000 * _BEAT)))


async def watched(config: Config, *, demo: bool = False, ready: Callable[[str], None] | None = None) -> None:
    """Serve, and look at the clock meanwhile."""
    lags: list[tuple[int, float]] = []
    file = Path(os.environ["LAGS"])

    def write() -> None:
        partial = file.with_suffix(".part")
        partial.write_text(json.dumps(lags))
        partial.replace(file)

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, write)
    looking = asyncio.get_running_loop().create_task(_look(lags))
    try:
        await serve(config, demo=demo, ready=ready)
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking


if __name__ == "__main__":
    main(watched)
