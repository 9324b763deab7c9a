"""WebSocket (RFC 6455), the server's side of it as far as a player needs: handshake, frames out, control frames in. Pure."""

import base64
import binascii
import enum
import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from mediaserver.delivery.request import MediaRequest, Method, tokens
from mediaserver.delivery.response import NO_STORE, Cors, Response, refusal

#: The longest message that a player may send; it has nothing to say.
MAX_MESSAGE: Final = 4096
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MAX_CONTROL: Final = 125


class Opcode(enum.IntEnum):
    """What a frame is (RFC 6455, 5.2)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(enum.IntEnum):
    """Why a connection ends (RFC 6455, 7.4.1)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    TOO_BIG = 1009


class WebSocketError(Exception):
    """The peer broke the protocol; ``code`` is what it is told."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def frame_header(opcode: Opcode, size: int) -> bytes:
    """What stands before ``size`` bytes in one whole unmasked message, as servers send it (RFC 6455, 5.2)."""
    if size < 126:
        return bytes((0x80 | opcode, size))
    if size < 1 << 16:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big")
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big")


def frame(opcode: Opcode, data: bytes) -> bytes:
    """One whole unmasked message."""
    return frame_header(opcode, len(data)) + data


def close_frame(code: int) -> bytes:
    """A goodbye."""
    return frame(Opcode.CLOSE, code.to_bytes(2, "big"))


def close_code(payload: bytes) -> int:
    """What to answer the peer's goodbye with: its own code, or 1002 if that is none (RFC 6455, 7.4)."""
    if not payload:
        return CloseCode.NORMAL
    code = int.from_bytes(payload[:2], "big")
    sound = len(payload) >= 2 and (1000 <= code <= 1014 or 3000 <= code <= 4999) and code not in (1004, 1005, 1006)
    return code if sound else CloseCode.PROTOCOL_ERROR


def accept(request: MediaRequest) -> Response:
    """The 101 to a handshake that ``check`` found sound."""
    key = (request.websocket or {}).get("sec-websocket-key", "").encode()
    token = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest()).decode()
    headers = (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", token))
    return Response(HTTPStatus.SWITCHING_PROTOCOLS, headers, length=None)


def check(request: MediaRequest, cors: Cors) -> Response | None:
    """What is wrong with the handshake (RFC 6455, 4.2.1), as a response; None if nothing is."""
    values = request.websocket or {}
    if values.get("sec-websocket-version") != "13":
        status = HTTPStatus.UPGRADE_REQUIRED
        return Response(status, (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), NO_STORE))
    if (
        request.method is not Method.GET
        or not request.chunked
        or "upgrade" not in tokens(values.get("connection", ""))
        or not _is_key(values)
    ):
        return refusal(request, HTTPStatus.BAD_REQUEST, "malformed WebSocket handshake", cors)
    if request.origin and not _is_same_site(request.origin, values) and not cors.headers(request.origin):
        # What CORS is to fetch, this is to WebSocket: browsers leave the decision to the server (RFC 6455, 10.2).
        return refusal(request, HTTPStatus.FORBIDDEN, "this origin may not play", cors)
    return None


def _is_key(values: Mapping[str, str]) -> bool:
    try:
        return len(base64.b64decode(values.get("sec-websocket-key", ""), validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _is_same_site(origin: str, values: Mapping[str, str]) -> bool:
    try:
        return urlsplit(origin).netloc.lower() == values.get("host", "").lower()
    except ValueError:
        # An address in brackets that do not close, or that hold none.
        return False


class FrameReader:
    """A client's frames. Only control frames are given; messages are checked, bounded and dropped."""

    __slots__ = ("_buffer", "_message")

    def __init__(self) -> None:
        self._buffer = b""
        #: Bytes of the message that is being sent in fragments; -1 between messages.
        self._message = -1

    def receive(self, data: bytes) -> list[tuple[Opcode, bytes]]:
        """The control frames that became complete. Raises WebSocketError."""
        buffer = self._buffer = self._buffer + data
        found: list[tuple[Opcode, bytes]] = []
        start, length = 0, len(buffer)
        while length - start >= 2:
            opcode, final, size, at = self._head(start)
            end = at + 4 + size
            if end > length or at > length:
                break
            if opcode >= Opcode.CLOSE:
                found.append((opcode, _unmask(buffer[at + 4 : end], buffer[at : at + 4])))
            else:
                self._message = -1 if final else max(self._message, 0) + size
            start = end
        # Cut once, not once a frame: a read may hold tens of thousands of empty ones.
        self._buffer = buffer[start:]
        return found

    def _head(self, start: int) -> tuple[Opcode, bool, int, int]:
        """Opcode, whether the message ends, payload length, and where the mask stands (a frame yet to come: far off)."""
        buffer = self._buffer
        first, second = buffer[start], buffer[start + 1]
        final, size, at = bool(first & 0x80), second & 0x7F, start + 2
        try:
            opcode = Opcode(first & 0x0F)
        except ValueError:
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "unknown opcode") from None
        if first & 0x70:
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "reserved bits without an extension")
        if not second & 0x80:
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "a client's frame must be masked")
        if opcode >= Opcode.CLOSE and (not final or size > _MAX_CONTROL):
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "control frame too long or in pieces")
        if (opcode is Opcode.CONTINUATION) is not (self._message >= 0) and opcode < Opcode.CLOSE:
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "fragments out of order")
        if size > _MAX_CONTROL:
            at += 2 if size == 126 else 8
            size = int.from_bytes(buffer[start + 2 : at], "big") if len(buffer) >= at else 0
            at = at if len(buffer) >= at else len(buffer) + 1
        if opcode < Opcode.CLOSE and max(self._message, 0) + size > MAX_MESSAGE:
            raise WebSocketError(CloseCode.TOO_BIG, "players have nothing to say")
        return opcode, final, size, at


def _unmask(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")
