"""Keeps colour bars on the air: a child process (``testcard``) draws and publishes them over loopback, as an encoder would."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator
from pathlib import Path

log = logging.getLogger(__name__)

#: Seconds between the end of one child and the start of the next.
PAUSE = 2.0
#: Seconds that a child may take to end.
PATIENCE = 3.0


@contextlib.asynccontextmanager
async def colorbars(url: str) -> AsyncIterator[None]:
    """Publish colour bars to ``url`` (``rtmp://HOST:PORT/APP/NAME``) while the block runs."""
    task = asyncio.create_task(_keep(url))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _keep(url: str) -> None:
    while True:
        # A program of its own: neither FFmpeg's memory nor its CPU is the server's. It ends when this pipe does.
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "mediaserver.ingest.testcard",
            url,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        try:
            words = await child.stderr.read() if child.stderr else b""
            reason = words.decode("utf-8", "replace").strip()[-500:]
            log.warning("colorbars_ended", extra={"facts": {"status": await child.wait(), "reason": reason}})
        finally:
            await _end(child)
        await asyncio.sleep(PAUSE)


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.stdin is not None:
        child.stdin.close()
    try:
        async with asyncio.timeout(PATIENCE):
            await child.communicate()
    except TimeoutError:
        child.kill()
        await child.communicate()
