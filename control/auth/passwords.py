"""Passwords as Argon2id hashes (RFC 9106), made in a thread: a third of a second that the event loop does not have."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from control.errors import ControlError, ErrorCode

T = TypeVar("T")

#: So many at a time: each takes 64 MiB and a core.
THREADS = 2
#: So many may wait for a thread; who comes then is told that the server is busy.
MAX_WAITING = 64


class Busy(ControlError):
    """Too many passwords wait to be checked."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.UNAVAILABLE, "Too many logins at once", headers={"Retry-After": "5"})


def hash_once(password: str, salt: bytes | None) -> str:
    """One password as a string to keep, at a start: nothing is on its way yet that it could hold up."""
    return PasswordHasher().hash(password, salt=salt)


class Passwords:
    """Hashes and verifies."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._threads = ThreadPoolExecutor(THREADS, "passwords", initializer=_step_back)
        self._waiting = 0

    async def hash(self, password: str, salt: bytes | None = None) -> str:
        """``password`` as a string to keep, with a ``salt`` that is new unless it is given. Raises Busy."""
        return await self._run(lambda: self._hasher.hash(password, salt=salt))

    async def verify(self, hashed: str | None, password: str) -> bool:
        """Whether ``password`` is the one behind ``hashed`` (None: there is no such user). Raises Busy."""
        right = await self._run(lambda: self._matches(hashed or self._nobody, password))
        return right and hashed is not None

    def outdated(self, hashed: str) -> bool:
        """Whether ``hashed`` was made with weaker parameters than today's."""
        return self._hasher.check_needs_rehash(hashed)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @cached_property
    def _nobody(self) -> str:
        """For names that do not exist: an answer must take as long as for one that does."""
        return self._hasher.hash("nobody")

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise Busy
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def _step_back() -> None:
    """A password can wait and a packet cannot: on Linux, where each thread has a class and a niceness of its own, this one works
    while nobody else has to, whatever the server was started as."""
    with contextlib.suppress(OSError, AttributeError):
        thread = threading.get_native_id()
        os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, thread, 10)
