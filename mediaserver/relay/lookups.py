"""Names of targets to addresses: a name server that hangs holds up nobody but those who ask for that name."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from mediaserver.errors import Refused
from mediaserver.transport.targets import Target, resolve

#: Names whose last addresses are remembered.
MOST_NAMES = 256


class Lookups:
    """Asks for one name once at a time, however many want to know: the system's resolver has few threads, and a question to
    it cannot be taken back. A name that was found before is still known when its server is silent."""

    def __init__(self, spawn: Callable[[Coroutine[None, None, None]], Any]) -> None:
        self._spawn = spawn
        self._pending: dict[tuple[str, int], asyncio.Future[None]] = {}
        self._known: dict[tuple[str, int], tuple[Target, ...]] = {}

    async def find(self, host: str, port: int, patience: float) -> tuple[Target, ...]:
        """The addresses of ``host``, public or not; none if there are none, or none are known within ``patience`` seconds."""
        name = host, port
        answer = self._pending.get(name)
        if answer is None:
            answer = self._pending[name] = asyncio.get_running_loop().create_future()
            self._spawn(self._ask(host, port, answer))
        await asyncio.wait((answer,), timeout=patience)
        return self._known.get(name, ())

    async def _ask(self, host: str, port: int, answer: asyncio.Future[None]) -> None:
        try:
            targets = await resolve(host, port, allow_private=True)
        except Refused:
            pass
        else:
            self._known.pop((host, port), None)
            self._known[host, port] = targets
            if len(self._known) > MOST_NAMES:
                del self._known[next(iter(self._known))]
        finally:
            del self._pending[host, port]
            if not answer.done():
                answer.set_result(None)
