"""What the packaging house says to a player's request. Pure values: only ``delivery`` awaits and writes to a socket."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Ready:
    """Here are the bytes. ``gzipped`` is the same body compressed, for text that compresses; made once per change.

    ``max_age`` is in seconds, ``shared_age`` that of caches which serve many; with ``immutable`` the body behind this URL never
    changes.
    """

    body: bytes
    content_type: str
    max_age: float
    immutable: bool = False
    gzipped: bytes = b""
    shared_age: float = 0.0

    @property
    def compressible(self) -> bool:
        """Whether ``gzipped`` is worth asking for."""
        return bool(self.gzipped)


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet, but it is promised (blocking reload, a preload-hinted part): ask again when ``signal`` fires.

    After ``timeout`` seconds the asker is answered with what ``late`` says then; None: there is nothing to say.
    """

    signal: "Signal"
    timeout: float
    late: "Callable[[], Ready] | None" = None


@dataclass(frozen=True, slots=True)
class Growing:
    """A segment that is still being made, sent by chunked transfer. ``read(n)`` gives the bytes from ``n`` on that exist
    now and whether the segment is complete; between reads wait for ``signal``."""

    read: Callable[[int], tuple[bytes, bool]]
    content_type: str
    signal: "Signal"
    timeout: float


@dataclass(frozen=True, slots=True)
class Gone:
    """It was there once (404, cacheable for a short time)."""


@dataclass(frozen=True, slots=True)
class TooFar:
    """A playlist position beyond what may be asked for (400, RFC 8216bis 6.2.5.2)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no such resource (404), for a ``reason`` in words where that is not plain."""

    reason: str = ""


Answer = Ready | Wait | Growing | Gone | TooFar | Missing


class Signal(Protocol):
    """Something will change: calls each waiting callback once, then forgets it."""

    def add(self, callback: Callable[[], None]) -> None: ...

    def discard(self, callback: Callable[[], None]) -> None: ...
