"""Log lines: one event with its facts a line, on standard error, as text or JSON, and no secret in any of them.

The standard library's logging, so that asyncio's and aiohttp's lines take the same way; facts travel as
``log.info("publish_started", extra={"facts": {"name": "cam"}})``.
"""

import contextlib
import json
import logging
import re
import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Any

#: Facts that no line may show, whoever passes them.
SECRET = frozenset({"key", "stream_key", "query", "token", "password", "secret", "authorization", "cookie"})
#: A configured secret shorter than this is not looked for in the text: it would strike out half of the words.
SHORTEST_SECRET = 6
MASK = "***"


class _Stderr(logging.Handler):
    """The end of the line. A standard error that is gone must not take the server with it."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()


class _Line(logging.Formatter):
    """A record as one line: an object of JSON, or text with a traceback on lines of its own."""

    def __init__(self, form: str, secrets: Iterable[str]) -> None:
        super().__init__()
        self._json = form == "json"
        known = [re.escape(secret) for secret in sorted(secrets, key=len, reverse=True) if len(secret) >= SHORTEST_SECRET]
        self._known = re.compile("|".join(known)) if known else None

    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, Any] = getattr(record, "facts", None) or {"logger": record.name}
        facts = {fact: MASK if fact in SECRET else value for fact, value in facts.items()}
        at = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
        level, event = record.levelname.lower(), record.getMessage()
        exception = self.formatException(record.exc_info) if record.exc_info else ""
        if self._json:
            told = {"event": event, **facts} | ({"exception": exception} if exception else {}) | {"level": level, "at": at}
            line = json.dumps(told, default=str)
        else:
            words = " ".join(f"{fact}={_quoted(value)}" for fact, value in facts.items())
            line = f"{at} {level:7} {_plain(event)}  {words}" + (f"\n{exception}" if exception else "")
        return self._known.sub(MASK, line) if self._known else line


def configure(level: str, form: str, secrets: Iterable[str] = ()) -> None:
    """Set up logging for the process. ``level`` and ``form`` as ``server.log_level`` and ``server.log_format``."""
    handler = _Stderr()
    handler.setFormatter(_Line(form, secrets))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for chatty in ("asyncio", "aiohttp"):
        # Their debug lines are about themselves.
        logging.getLogger(chatty).setLevel(max(logging.INFO, logging.getLogger().level))
    logging.captureWarnings(True)


def _quoted(value: Any) -> str:
    text = str(value)
    return text if text and text.isprintable() and not set(' "=') & set(text) else repr(text)


def _plain(text: str) -> str:
    """What a peer sent may not start a line of its own, nor turn the terminal's colours or direction."""
    return text if text.isprintable() else repr(text)
