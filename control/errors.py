"""What a handler raises; ``middleware`` turns it into a page or a JSON object. One list of codes for both API documents."""

import enum
import time
from collections.abc import Mapping
from typing import Any

from control.timestamps import timestamp


class Family(enum.Enum):
    """The two documents: the same errors, in each one's words."""

    PANEL = "panel"
    STUDIO = "studio"


class ErrorCode(enum.Enum):
    """The word in an error's ``code`` and its HTTP status; a second pair where the Studio document has its own."""

    VALIDATION = ("VALIDATION_ERROR", 422, "INVALID_REQUEST", 400)
    UNAUTHORIZED = ("UNAUTHORIZED", 401)
    FORBIDDEN = ("FORBIDDEN", 403)
    NOT_FOUND = ("NOT_FOUND", 404)
    STREAM_NOT_FOUND = ("STREAM_NOT_FOUND", 404)
    METHOD_NOT_ALLOWED = ("METHOD_NOT_ALLOWED", 405)
    TIMEOUT = ("TIMEOUT", 408)
    CONFLICT = ("CONFLICT", 409)
    STREAM_ALREADY_RUNNING = ("STREAM_ALREADY_RUNNING", 409)
    TOO_LARGE = ("TOO_LARGE", 413)
    UNSUPPORTED_MEDIA_TYPE = ("UNSUPPORTED_MEDIA_TYPE", 415)
    RATE_LIMITED = ("RATE_LIMITED", 429, "RATE_LIMIT_EXCEEDED", 429)
    INTERNAL = ("INTERNAL_SERVER_ERROR", 500)
    RTMP_SERVER = ("RTMP_SERVER_ERROR", 500)
    ENCODING = ("ENCODING_ERROR", 500)
    UNAVAILABLE = ("UNAVAILABLE", 503)

    def __init__(self, word: str, status: int, studio_word: str = "", studio_status: int = 0) -> None:
        self.word = word
        self.status = status
        self._studio = (studio_word or word, studio_status or status)

    def spoken(self, family: Family) -> tuple[str, int]:
        """Word and status as ``family`` has them."""
        return self._studio if family is Family.STUDIO else (self.word, self.status)


class ControlError(Exception):
    """An answer other than success. ``message`` is shown to whoever asked: no secrets, nothing of the request repeated.

    ``details`` are facts for programs; ``headers`` go out with the answer.
    """

    def __init__(
        self, code: ErrorCode, message: str, details: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = dict(details or {})
        self.headers = dict(headers or {})


def not_found(what: str, **details: object) -> ControlError:
    """There is no such ``what``, or it is none of the asker's business. ``details`` begin with its id, if that is a number."""
    code = ErrorCode.STREAM_NOT_FOUND if what == "Stream" else ErrorCode.NOT_FOUND
    named = f"{what} with ID {next(iter(details.values()))}" if details else what
    return ControlError(code, f"{named} not found", {**details, "requested_at": timestamp(time.time())})


def invalid(**fields: str) -> ControlError:
    """What was sent cannot be taken; each faulty field with what is wrong with it."""
    return ControlError(ErrorCode.VALIDATION, "The request is invalid", {"fields": fields})


class NotFoundError(ControlError):
    """There is no such thing."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.NOT_FOUND, message)


class SlowBodyError(ControlError):
    """The body did not come in time."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.TIMEOUT, message)


class DamagedBodyError(ControlError):
    """The body is not what its headers promise: cut short, or compressed into nothing that unpacks."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.VALIDATION, "What was sent is damaged", {"fields": {"body": "cannot be unpacked"}})
