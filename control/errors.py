"""What a handler raises; ``middleware`` turns it into a page or a JSON object."""

import enum


class ErrorCode(enum.Enum):
    """The words in an error's ``code``, each with its HTTP status."""

    BAD_REQUEST = 400
    NOT_FOUND = 404
    METHOD_NOT_ALLOWED = 405
    TIMEOUT = 408
    TOO_LARGE = 413
    UNAVAILABLE = 503


class ControlError(Exception):
    """An answer other than success. ``message`` is shown to whoever asked: no secrets, nothing of the request repeated."""

    code = ErrorCode.BAD_REQUEST

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotFoundError(ControlError):
    """There is no such thing."""

    code = ErrorCode.NOT_FOUND


class SlowBodyError(ControlError):
    """The body did not come in time."""

    code = ErrorCode.TIMEOUT
