"""Names of targets to addresses: a name server that hangs holds up nobody but those who ask for that name."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from mediaserver.errors import Refused
from mediaserver.relay.address import is_literal
from mediaserver.transport.targets import Target, resolve

#: Names whose last addresses, or whose last silence, are remembered.
MOST_NAMES = 256
#: Questions that are out at a time, and how many of them more may be for names whose last answer was waited for in vain.
MOST_QUESTIONS, MOST_SLOW = 32, 8
#: Seconds after which an answer counts as waited for in vain.
SLOW = 2.0

_Name = tuple[str, int]


class Lookups:
    """Asks for one name once at a time, however many want to know. A name that was found before is still known when its server
    is silent.

    Each question has a thread of its own, because one to the system's resolver cannot be taken back: it is neither the loop's,
    which others need, nor waited for when the server stops. Names that hang have few threads among themselves.
    """

    def __init__(self, spawn: Callable[[Coroutine[None, None, None]], Any]) -> None:
        self._spawn = spawn
        self._pending: dict[_Name, asyncio.Future[None]] = {}
        self._known: dict[_Name, tuple[Target, ...]] = {}
        self._hanging: dict[_Name, None] = {}
        self._quick, self._slow = asyncio.Semaphore(MOST_QUESTIONS), asyncio.Semaphore(MOST_SLOW)

    async def find(self, host: str, port: int, patience: float) -> tuple[Target, ...]:
        """The addresses of ``host``, public or not; none if there are none, or none are known within ``patience`` seconds."""
        name = host, port
        if is_literal(host):
            return _look_up(name)  # without a question to anybody
        answer = self._pending.get(name)
        if answer is None:
            answer = self._pending[name] = asyncio.get_running_loop().create_future()
            self._spawn(self._ask(name, answer, patience))
        await asyncio.wait((answer,), timeout=patience)
        return self._known.get(name, ())

    async def _ask(self, name: _Name, answer: asyncio.Future[None], patience: float) -> None:
        turn = self._slow if name in self._hanging else self._quick
        try:
            async with asyncio.timeout(patience):
                await turn.acquire()
            try:
                targets = await self._question(name)
            finally:
                turn.release()
            if targets:
                _remember(self._known, name, targets)
        except TimeoutError:
            pass  # too many hang: nobody waits for this one any more
        finally:
            del self._pending[name]
            if not answer.done():
                answer.set_result(None)

    async def _question(self, name: _Name) -> tuple[Target, ...]:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[tuple[Target, ...]] = loop.create_future()

        def work() -> None:
            targets = _look_up(name)
            with contextlib.suppress(RuntimeError):  # the server has stopped meanwhile
                loop.call_soon_threadsafe(tell, targets)

        def tell(targets: tuple[Target, ...]) -> None:
            if not found.done():
                found.set_result(targets)

        since = loop.time()
        late = loop.call_later(SLOW, _remember, self._hanging, name, None)
        try:
            threading.Thread(target=work, name="lookup", daemon=True).start()
            targets = await found
        except RuntimeError:  # no thread to be had
            return ()
        finally:
            late.cancel()
        if loop.time() - since < SLOW:
            self._hanging.pop(name, None)
        return targets


def _look_up(name: _Name) -> tuple[Target, ...]:
    try:
        return resolve(*name, allow_private=True)
    except Refused:
        return ()


def _remember(names: dict[_Name, Any], name: _Name, what: object) -> None:
    names.pop(name, None)
    names[name] = what
    if len(names) > MOST_NAMES:
        del names[next(iter(names))]
