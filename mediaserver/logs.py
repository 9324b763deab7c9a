"""Log lines: one event with its facts a line, on standard error, as text or JSON, and no secret in any of them."""

import contextlib
import logging
import re
import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Any

# structlog loads rich, where it is installed, to colour tracebacks: 3 MB of the server's memory for what we do not use.
_rich = sys.modules.get("rich", Ellipsis)
sys.modules["rich"] = None  # type: ignore[assignment]
import structlog  # noqa: E402
from structlog.typing import EventDict, Processor, WrappedLogger  # noqa: E402

del sys.modules["rich"]
if _rich is not Ellipsis:
    sys.modules["rich"] = _rich

#: Facts that no line may show, whoever passes them.
SECRET = frozenset({"key", "stream_key", "query", "token", "password", "secret", "authorization", "cookie"})
#: A configured secret shorter than this is not looked for in the text: it would strike out half of the words.
SHORTEST_SECRET = 6
MASK = "***"


class _Stderr:
    """The end of the line. A standard error that is gone must not take the server with it."""

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = exception = msg


class _Bridge(logging.Handler):
    """Lines of the standard library's logging (asyncio, aiohttp) take the same way."""

    def emit(self, record: logging.LogRecord) -> None:
        failure = {"exc_info": record.exc_info} if record.exc_info else {}
        logger = structlog.get_logger()
        getattr(logger, record.levelname.lower(), logger.info)(record.getMessage(), logger=record.name, **failure)


def configure(level: str, form: str, secrets: Iterable[str] = ()) -> None:
    """Set up logging for the process. ``level`` and ``form`` as ``server.log_level`` and ``server.log_format``."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _hide,
        structlog.processors.format_exc_info,
        _stamp,
        structlog.processors.JSONRenderer() if form == "json" else _text,
    ]
    if known := [re.escape(secret) for secret in sorted(secrets, key=len, reverse=True) if len(secret) >= SHORTEST_SECRET]:
        processors.append(_mask(re.compile("|".join(known))))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: _Stderr(),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Bridge()], level=max(threshold, logging.INFO), force=True)
    logging.captureWarnings(True)


def _hide(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    for fact in SECRET & line.keys():
        line[fact] = MASK
    return line


def _stamp(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    line["at"] = datetime.now().astimezone().isoformat(timespec="milliseconds")
    return line


def _text(_logger: WrappedLogger, _method: str, line: EventDict) -> str:
    """``2026-01-31T12:00:00.000+01:00 info    publish started  name=cam session=…``, a traceback on lines of its own."""
    at, level, event, exception = line.pop("at"), line.pop("level"), line.pop("event"), line.pop("exception", None)
    facts = "  ".join(["", " ".join(f"{fact}={_quoted(value)}" for fact, value in line.items())]) if line else ""
    return f"{at} {level:7} {_plain(str(event))}{facts}" + (f"\n{exception}" if exception else "")


def _quoted(value: Any) -> str:
    text = str(value)
    return text if text and text.isprintable() and not set(' "=') & set(text) else repr(text)


def _plain(text: str) -> str:
    """What a peer sent may not start a line of its own, nor turn the terminal's colours or direction."""
    return text if text.isprintable() else repr(text)


def _mask(known: re.Pattern[str]) -> Processor:
    def mask(_logger: WrappedLogger, _method: str, line: Any) -> str:
        return known.sub(MASK, line)

    return mask
