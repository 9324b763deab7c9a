"""A port of this machine that leads to one place: for a library that opens its own connections and goes wherever it is sent.

Runs in worker processes, in threads. What the far end answers passes a look first.
"""

import contextlib
import re
import socket
import threading
from typing import Protocol

from protocols.errors import RemoteProtocolError

_READ_SIZE = 1 << 16
#: Bytes of an RTSP message's head, and of its body.
_MAX_HEAD, _MAX_BODY = 1 << 16, 1 << 20
#: The lines of a head, so narrow that nobody reads them in two ways. The library takes "+302" for 302, a lone line feed for the
#: end of a line, and of two lengths the last: a head that allowed for that could hide another one behind it.
_ANSWER = re.compile(rb"RTSP/\d\.\d ([1-5]\d\d)(?: [^\r\n]*)?")
_REQUEST = re.compile(rb"([A-Z_]+) [^\r\n]* RTSP/\d\.\d")
_HEADER = re.compile(rb"([A-Za-z0-9_.-]+):([^\r\n]*)")


class Inspector(Protocol):
    """Looks at what comes from the far end."""

    def look(self, data: bytes) -> bytes:
        """What of ``data``, and of what was held back, may pass now. Raises RemoteProtocolError for what may not."""


class Tunnel:
    """Joins the first connection to ``port`` on 127.0.0.1 with ``far``, and owns that. ``refusal`` says what was stopped."""

    def __init__(self, far: socket.socket, inspector: Inspector) -> None:
        self.refusal = ""
        self._far, self._inspector = far, inspector
        self._near: socket.socket | None = None
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._down, daemon=True)]

    def __enter__(self) -> "Tunnel":
        self._threads[0].start()
        return self

    def __exit__(self, *exc_details: object) -> None:
        self._closed = True
        for each in (self._listener, self._near, self._far):
            if each is not None:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()
        for thread in self._threads:
            thread.join()

    def _down(self) -> None:
        """From the far end to the library."""
        near = None
        try:
            near, _ = self._listener.accept()
            self._near = near
            self._listener.close()
            upwards = threading.Thread(target=self._up, args=(near,), daemon=True)
            self._threads.append(upwards)
            upwards.start()
            while data := self._far.recv(_READ_SIZE):
                near.sendall(self._inspector.look(data))
        except RemoteProtocolError as error:
            self.refusal = str(error)
        except OSError as error:
            if not self._closed:
                self.refusal = "it is silent" if isinstance(error, TimeoutError) else ""
        finally:
            if near is not None:
                with contextlib.suppress(OSError):
                    near.shutdown(socket.SHUT_RDWR)

    def _up(self, near: socket.socket) -> None:
        """From the library to the far end."""
        with contextlib.suppress(OSError):
            while data := near.recv(_READ_SIZE):
                self._far.sendall(data)
        with contextlib.suppress(OSError):
            self._far.shutdown(socket.SHUT_RDWR)


class RtspInspector:
    """RTSP on TCP (RFC 2326, 10.12): a server that sends its client elsewhere is not followed."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._passing = 0  # bytes of a frame or a body that are still to pass

    def look(self, data: bytes) -> bytes:
        self._buffer += data
        passed = bytearray()
        while self._buffer:
            if self._passing:
                count = min(self._passing, len(self._buffer))
                passed += self._buffer[:count]
                del self._buffer[:count]
                self._passing -= count
            elif self._buffer[:1] == b"$":
                if len(self._buffer) < 4:
                    break
                self._passing = 4 + int.from_bytes(self._buffer[2:4])
            else:
                end = self._buffer.find(b"\r\n\r\n")
                if end < 0:
                    if len(self._buffer) > _MAX_HEAD:
                        raise RemoteProtocolError("this is not RTSP")
                    break
                self._passing = end + 4 + _body_after(bytes(self._buffer[:end]))
        return bytes(passed)


def _body_after(head: bytes) -> int:
    """How many bytes follow a message's head."""
    first, *headers = head.lstrip(b"\r\n").split(b"\r\n")
    answer, request = _ANSWER.fullmatch(first), _REQUEST.fullmatch(first)
    if (answer and answer[1].startswith(b"3")) or (request and request[1] == b"REDIRECT"):
        raise RemoteProtocolError("the server sends us elsewhere, which is not followed")
    if not answer and not request:
        raise RemoteProtocolError("this is not RTSP")
    length: int | None = None
    for line in headers:
        header = _HEADER.fullmatch(line)
        if header is None:
            raise RemoteProtocolError("this is not RTSP")
        if header[1].lower() == b"content-length":
            text = header[2].strip(b" \t")
            if length is not None or not text.isdigit() or len(text) > 7 or int(text) > _MAX_BODY:
                raise RemoteProtocolError("an RTSP message with a body that is too large, or of no certain size")
            length = int(text)
    return length or 0
