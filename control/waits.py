"""What has to wait for the database says so when that begins and when it ends, however often it is tried in between."""

import logging


class Waits:
    """A line in ``log`` for each: the words ``waits``, a warning, and ``goes_on``."""

    def __init__(self, log: logging.Logger, waits: str, goes_on: str) -> None:
        self._log = log
        self._words = waits, goes_on
        self._waiting = False

    def begin(self, reason: str, **facts: object) -> None:
        """It was tried in vain."""
        if not self._waiting:
            self._log.warning(self._words[0], extra={"facts": {**facts, "reason": reason}})
        self._waiting = True

    def end(self) -> None:
        """It was tried, and done."""
        if self._waiting:
            self._log.info(self._words[1], extra={"facts": {"reason": "the database answers again"}})
        self._waiting = False
