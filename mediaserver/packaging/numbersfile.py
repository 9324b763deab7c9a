"""Media and discontinuity sequence numbers that are ahead of the clock, in a file: so they do not go back over a restart either
(RFC 8216bis, 6.2.2), whatever ended the server.

What is in use is written here every second. A playlist shows a break's number only when the segments before it have left it,
which takes longer than that; segments' numbers are reserved in blocks.
"""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from mediaserver.packaging.numbers import Numbers
from mediaserver.packaging.packagers import Packagers
from mediaserver.ports import is_name

log = logging.getLogger(__name__)

NAME = "numbers.json"
#: Bytes of such a file that are read. 100 000 names with their numbers have less.
MOST_BYTES = 16 << 20
#: Seconds that the disk may take for it when the server stops.
PATIENCE = 2.0


class NumbersFile:
    """What ``packagers`` may not go back behind, in ``folder``. Where that is missing, nothing is kept."""

    def __init__(self, folder: Path, packagers: Packagers, spawn: Callable[[Coroutine[None, None, None]], Any]) -> None:
        self._file = folder / NAME
        self._packagers = packagers
        self._spawn = spawn
        self._written: Mapping[str, Numbers] = {}
        self._keeps = False
        self._lock = asyncio.Lock()

    async def load(self) -> None:
        """Go on where the server before went. Before the ports are open."""
        self._keeps = await asyncio.to_thread(self._file.parent.is_dir)
        if self._keeps:
            self._written = await asyncio.to_thread(read, self._file)
            self._packagers.go_on(self._written)

    def sweep(self, now: float) -> None:  # noqa: ARG002 - whatever the time, what has changed is written
        """Write what has changed. To be called every second."""
        if self._keeps and not self._lock.locked() and self._packagers.ahead() != self._written:
            self._spawn(self._write())

    async def close(self) -> None:
        """Write it a last time."""
        try:
            async with asyncio.timeout(PATIENCE):
                if self._keeps:
                    await self._write()
        except TimeoutError:
            log.warning("numbers_not_kept", extra={"facts": {"reason": "the disk is too slow"}})

    async def _write(self) -> None:
        async with self._lock:
            numbers = self._packagers.ahead()
            if numbers == self._written:
                return
            # What the disk does not take is tried again with the next change.
            self._written = numbers
            try:
                await asyncio.to_thread(write, self._file, numbers)
            except OSError as error:
                log.warning("numbers_not_kept", extra={"facts": {"reason": error.strerror}})


def read(file: Path) -> dict[str, Numbers]:
    """The numbers by name. Empty where there are none, or none that could be ours. Blocks."""
    try:
        with file.open("rb") as source:
            values = json.loads(source.read(MOST_BYTES))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        log.warning("numbers_not_read", extra={"facts": {"reason": str(error)}})
        return {}
    if not isinstance(values, dict):
        return {}
    return {name: Numbers(*kept) for name, kept in values.items() if is_name(name) and _are_numbers(kept)}


def _are_numbers(kept: object) -> bool:
    return isinstance(kept, list) and len(kept) == len(Numbers._fields) and all(type(number) is int for number in kept)


def write(file: Path, numbers: Mapping[str, Numbers]) -> None:
    """Write ``numbers``, whole or not at all. Blocks; raises OSError."""
    part = file.with_name(f"{file.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        output.write(json.dumps(dict(numbers)).encode())
        output.flush()
        os.fsync(output.fileno())
    part.replace(file)
