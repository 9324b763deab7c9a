"""A port of this machine that leads to one place: for a library that opens its own connections and goes wherever it is sent.

Runs in worker processes, in threads. What the far end answers passes a look first.
"""

import contextlib
import re
import selectors
import socket
import ssl
import threading
import time
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
    """Joins the first connection to ``port`` on 127.0.0.1 with ``far``, which it owns, and which may be silent for ``patience``
    seconds. ``refusal`` says why it ended, if that was the far end's fault."""

    def __init__(self, far: socket.socket, inspector: Inspector, patience: float) -> None:
        self.refusal = ""
        self._far, self._inspector, self._patience = far, inspector, patience
        self._near: socket.socket | None = None
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Tunnel":
        self._thread.start()
        return self

    def __exit__(self, *exc_details: object) -> None:
        for each in (self._listener, self._near, self._far):
            if each is not None:
                with contextlib.suppress(OSError):
                    # As a plain socket, in case it has TLS: who waits for it in the thread hears of an end.
                    socket.socket.shutdown(each, socket.SHUT_RDWR)
        self._thread.join()
        for each in (self._listener, self._near, self._far):
            if each is not None:
                each.close()

    def _run(self) -> None:
        near = None
        try:
            near, _ = self._listener.accept()
            self._near = near
            self._listener.close()
            self._join(near)
        except RemoteProtocolError as error:
            self.refusal = str(error)
        except TimeoutError:
            self.refusal = "it is silent"
        except OSError:
            pass  # one of them is gone, or we are wanted no more
        finally:
            if near is not None:
                with contextlib.suppress(OSError):
                    near.shutdown(socket.SHUT_RDWR)

    def _join(self, near: socket.socket) -> None:
        """Both ways in one thread: TLS is not read and written by two at a time."""
        far = self._far
        pending = far.pending if isinstance(far, ssl.SSLSocket) else lambda: 0
        heard = time.monotonic()
        with selectors.DefaultSelector() as selector:
            for each in (near, far):
                selector.register(each, selectors.EVENT_READ)
            while True:
                left = heard + self._patience - time.monotonic()
                ready = [key.fileobj for key, _ in selector.select(0 if pending() else max(left, 0.0))]
                if near in ready:
                    data = near.recv(_READ_SIZE)
                    if not data:
                        return
                    far.sendall(data)
                if (far in ready or pending()) and (answer := self._receive()) is not None:
                    if not answer:
                        return
                    near.sendall(self._inspector.look(answer))
                    heard = time.monotonic()
                elif left <= 0:
                    raise TimeoutError

    def _receive(self) -> bytes | None:
        """What has come from the far end; None if that was nothing but TLS's own."""
        self._far.settimeout(0.0)
        try:
            return self._far.recv(_READ_SIZE)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        finally:
            self._far.settimeout(self._patience)


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
