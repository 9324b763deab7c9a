"""What the engine tells, on to whoever in the control plane wants to know: the log, webhooks, live updates, statistics."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator

from mediaserver.events import Event

log = logging.getLogger(__name__)

#: Events that may wait for one listener. Beyond that it misses the oldest, and is told so in the log.
WAITING = 10_000


class Feed:
    """An EventSink: never awaits, never raises. Each listener has a bounded queue of its own."""

    def __init__(self) -> None:
        self._told: list[Callable[[Event], None]] = []
        self._queues: dict[str, set[asyncio.Queue[Event]]] = {}

    def tell(self, listener: Callable[[Event], None]) -> None:
        """Call ``listener`` with every event from now on, at once. It must not wait."""
        self._told.append(listener)

    def emit(self, event: Event) -> None:
        for listener in self._told:
            try:
                listener(event)
            except Exception:  # one listener's bug is not the others', and not the engine's
                log.exception("listener_failed", extra={"facts": {"event": type(event).__name__}})
        for who, queues in self._queues.items():
            for queue in queues:
                if queue.full():
                    queue.get_nowait()
                    log.warning("event_missed", extra={"facts": {"listener": who}})
                queue.put_nowait(event)

    @contextlib.contextmanager
    def listen(self, who: str, waiting: int = WAITING) -> Iterator[asyncio.Queue[Event]]:
        """A queue of every event until the block is left."""
        queue: asyncio.Queue[Event] = asyncio.Queue(waiting)
        queues = self._queues.setdefault(who, set())
        queues.add(queue)
        try:
            yield queue
        finally:
            queues.discard(queue)

    async def events(self, who: str) -> AsyncIterator[Event]:
        """Every event from now on, for ever."""
        with self.listen(who) as queue:
            while True:
                yield await queue.get()
