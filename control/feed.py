"""What the engine tells, on to whoever in the control plane wants to know: the log, webhooks, live updates, statistics."""

import logging
from collections.abc import Callable

from mediaserver.events import Event

log = logging.getLogger(__name__)


class Feed:
    """An EventSink: never awaits, never raises."""

    def __init__(self) -> None:
        self._told: list[Callable[[Event], None]] = []

    def tell(self, listener: Callable[[Event], None]) -> None:
        """Call ``listener`` with every event from now on, at once. It must not wait."""
        self._told.append(listener)

    def emit(self, event: Event) -> None:
        for listener in self._told:
            try:
                listener(event)
            except Exception:  # one listener's bug is not the others', and not the engine's
                log.exception("listener_failed", extra={"facts": {"event": type(event).__name__}})
