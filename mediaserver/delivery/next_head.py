"""What has come of a head that is not whole, behind the last whole request: aiohttp's parser has it, and does not show it."""

from typing import Any, Final

from aiohttp import StreamReader

#: Bytes that are kept of a request until it is answered: the beginning of its line.
HEARD: Final = 64
_END: Final = b"\r\n\r\n"


class NextHead:
    """``text`` is how the next head begins: empty where nothing of it is there. Who wants to can hide a beginning behind a body
    until more of it comes; never is one seen that is not there."""

    __slots__ = ("_body", "_ending", "_got", "_length", "_plain", "text")

    def __init__(self) -> None:
        self.text = b""
        self._ending = b""
        self._body: StreamReader | None = None
        self._length: int | None = None
        self._plain = True
        self._got = 0

    def feed(self, data: bytes, latest: tuple[Any, StreamReader] | None) -> None:
        """The parser was given ``data``, and ``latest`` is the last request (and its body) that it made of it, if it did."""
        joined = self._ending + data
        self._ending = joined[-3:]
        if latest is not None:
            message, self._body = latest
            self._length, self._plain = _length(message), not getattr(message, "compression", None)
        body = self._body
        if body is not None and not body.is_eof():
            self.text, self._got = b"", body.total_bytes
            return
        if latest is not None and not data:
            # The parser had kept it (many came at once, or behind an upgrade): where it ended in what was kept nobody can say.
            text = b""
        elif body is None or self._length is None:
            # Heads, and bodies in chunks, end with an empty line.
            _, whole, rest = joined.rpartition(_END)
            text = rest if whole else self.text + data
        elif latest is not None:
            text = _behind(joined, self._length)
        else:
            # How much came of one that was compressed nobody can say.
            text = data[max(self._length - self._got, 0) :] if self._plain else b""
        self._body, self._got = None, 0
        self.text = text.lstrip(b"\r\n")[:HEARD]


def _length(message: Any) -> int | None:
    """Bytes of the body of ``message``; None where an empty line is its end."""
    if getattr(message, "chunked", True) or "Content-Length" not in message.headers:
        return None
    return int(message.headers["Content-Length"]) or None


def _behind(text: bytes, length: int) -> bytes:
    """What stands in ``text`` behind the last head and its body of so many bytes."""
    end = len(text)
    while True:
        if text[: max(end - length, 0)].endswith(_END):
            return b""
        if not text.endswith((b"\r", b"\n"), 0, end):
            break
        end -= 1  # or it is an empty line behind the body (RFC 9112, 2.2)
    begun = text.find(_END)
    return text[begun + len(_END) + length :] if begun >= 0 else b""
