"""The documented frame of an error: around what a handler raised, and for what was no request that a handler could have had."""

import json
import re
import secrets
import time
from typing import Any

from control.errors import ErrorCode
from control.timestamps import timestamp

#: Below these every answer is a program's.
ROOTS = ("/api/", "/v1/api/")

_LINE = re.compile(rb"[A-Z]{1,24} (?:/v1)?/api/")
_CODES = {408: ErrorCode.TIMEOUT, 414: ErrorCode.TOO_LARGE, 431: ErrorCode.TOO_LARGE}


def new_request_id() -> str:
    """A name for a request."""
    return f"req_{secrets.token_hex(8)}"


def framed(word: str, message: str, details: object, request_id: str) -> dict[str, Any]:
    """The body of an answer that is an error."""
    error = {"code": word, "message": message, "details": details, "timestamp": timestamp(time.time()), "requestId": request_id}
    return {"error": error}


def explain(head: bytes, status: int, reason: str) -> tuple[tuple[tuple[str, str], ...], bytes] | None:
    """Headers and body of an answer with ``status`` to bytes that are no whole request, by ``reason``; None where they do not
    begin like one to the API."""
    if _LINE.match(head) is None:
        return None
    request_id = new_request_id()
    code = _CODES.get(status, ErrorCode.VALIDATION)
    body = json.dumps(framed(code.word, reason[:1].upper() + reason[1:], {}, request_id)).encode()
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "X-Request-ID": request_id,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    return tuple(headers.items()), body
