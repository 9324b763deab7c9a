"""What has come of a head that is not whole, behind the last whole request: aiohttp's parser has it, and does not show it."""

from typing import Any, Final

from aiohttp import StreamReader

#: Bytes that are kept of a request until it is answered: the beginning of its line.
HEARD: Final = 64
_END: Final = b"\r\n\r\n"


class NextHead:
    """``text`` is how the next head begins: empty where nothing of it is there. Who wants to can hide a beginning behind a body
    until more of it comes; never is one seen that is not there."""

    __slots__ = ("_body", "_ending", "_got", "_length", "text")

    def __init__(self) -> None:
        self.text = b""
        self._ending = b""
        self._body: StreamReader | None = None
        self._length: int | None = None
        self._got = 0

    def feed(self, data: bytes, latest: tuple[Any, StreamReader] | None) -> None:
        """The parser was given ``data``, and ``latest`` is the last request (and its body) that it made of it, if it did."""
        joined = self._ending + data
        self._ending = joined[-3:]
        if latest is not None:
            self._body, self._length = latest[1], _length(latest[0])
        body = self._body
        if body is not None and not body.is_eof():
            self.text, self._got = b"", body.total_bytes
            return
        if body is None or self._length is None:
            # Heads, and bodies in chunks, end with an empty line.
            _, whole, rest = joined.rpartition(_END)
            text = rest if whole else self.text + data
        elif latest is not None:
            text = _behind(joined, self._length)
        else:
            text = data[max(self._length - self._got, 0) :] if self._length else b""
        self._body, self._got = None, 0
        self.text = text.lstrip(b"\r\n")[:HEARD]


def _length(message: Any) -> int | None:
    """Bytes of the body of ``message``; None where an empty line ends it, 0 where nobody can say, as it is compressed."""
    if getattr(message, "chunked", True) or "Content-Length" not in message.headers:
        return None
    return 0 if message.compression else int(message.headers["Content-Length"]) or None


def _behind(text: bytes, length: int) -> bytes:
    """What stands in ``text`` behind a head and its body of so many bytes."""
    if not length or text[: len(text) - length].endswith(_END):
        return b""
    end = text.find(_END)
    return text[end + len(_END) + length :] if end >= 0 else b""
