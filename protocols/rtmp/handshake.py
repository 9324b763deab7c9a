"""The RTMP handshake, simple (RTMP 1.0, section 5.2) and with the digests that Flash players and servers exchange.

With digests, C1 and S1 hold, at a place that four of their own bytes tell, an HMAC-SHA256 of the rest; there are two schemes
for the place. C2 and S2 end in an HMAC keyed by the digest that they answer.
"""

import hashlib
import hmac
import os
from abc import ABC, abstractmethod

from protocols.errors import RemoteProtocolError

VERSION = 3
BLOCK_LENGTH = 1536
DIGEST_LENGTH = 32

_SALT = bytes.fromhex("f0eec24a8068bee82e00d0d1029e7e576eec5d2d29806fab93b8e636cfeb31ae")
CLIENT_NAME = b"Genuine Adobe Flash Player 001"
SERVER_NAME = b"Genuine Adobe Flash Media Server 001"
_CLIENT_VERSION = bytes((10, 0, 45, 2))
_SERVER_VERSION = bytes((4, 5, 0, 1))


class Key:
    """A key for HMAC-SHA256 (RFC 2104), of at most 64 bytes, that is used often: what no message changes is reckoned once."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = key.ljust(64, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def digest(self, *message: bytes) -> bytes:
        """Of a message in pieces."""
        inner, outer = self._inner.copy(), self._outer.copy()
        for piece in message:
            inner.update(piece)
        outer.update(inner.digest())
        return outer.digest()


_KEYS = {name: Key(name) for name in (CLIENT_NAME, SERVER_NAME)}

#: Where the four bytes stand that say where the digest stands: scheme 0 and scheme 1.
SCHEMES = (8, 772)


class Handshake(ABC):
    """What both sides do: take the other's version and first block, answer, and let its second block pass.

    ``reply`` is what to send as soon as the first block is whole. The second block's content is not checked, as real
    clients and servers send anything there.
    """

    __slots__ = ("_buffer", "_skip", "reply")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skip = -1
        self.reply = b""

    @property
    def done(self) -> bool:
        return self._skip == 0

    def receive(self, data: bytes) -> bytes:
        """Take what belongs to the handshake and return what is left. Raises RemoteProtocolError at a wrong first byte."""
        if self._skip < 0:
            self._buffer += data
            if self._buffer and self._buffer[0] != VERSION:
                raise RemoteProtocolError(f"not RTMP: the first byte is {self._buffer[0]}, not {VERSION}")
            if len(self._buffer) <= BLOCK_LENGTH:
                return b""
            block = bytes(self._buffer[1 : 1 + BLOCK_LENGTH])
            data = bytes(self._buffer[1 + BLOCK_LENGTH :])
            self._buffer = bytearray()
            self.reply = self._answer(block)
            self._skip = BLOCK_LENGTH
        taken = min(self._skip, len(data))
        self._skip -= taken
        return data[taken:]

    @abstractmethod
    def _answer(self, block: bytes) -> bytes:
        """What to send in answer to the other side's first block."""


class ServerHandshake(Handshake):
    """Takes C0, C1 and C2; replies with S0, S1 and S2 together."""

    __slots__ = ("_entropy",)

    def __init__(self, entropy: bytes | None = None) -> None:
        super().__init__()
        self._entropy = entropy

    def _answer(self, block: bytes) -> bytes:
        filler = _filler(self._entropy)
        scheme = find_scheme(block, CLIENT_NAME) if block[4:8] != bytes(4) else None
        if scheme is None:
            return bytes((VERSION,)) + bytes(8) + filler + block
        s1 = sign(bytes(4) + _SERVER_VERSION + filler, SERVER_NAME, scheme)
        return bytes((VERSION,)) + s1 + answer_digest(block, SERVER_NAME, scheme, filler)


class ClientHandshake(Handshake):
    """Begins with C0 and C1 (``hello``); takes S0, S1 and S2; replies with C2. ``scheme`` None: without digests."""

    __slots__ = ("_filler", "hello")

    def __init__(self, entropy: bytes | None = None, *, scheme: int | None = SCHEMES[1]) -> None:
        super().__init__()
        self._filler = _filler(entropy)
        c1 = bytes(8) + self._filler
        if scheme is not None:
            c1 = sign(bytes(4) + _CLIENT_VERSION + self._filler, CLIENT_NAME, scheme)
        self.hello = bytes((VERSION,)) + c1

    def _answer(self, block: bytes) -> bytes:
        scheme = find_scheme(block, SERVER_NAME)
        return block if scheme is None else answer_digest(block, CLIENT_NAME, scheme, self._filler)


def sign(block: bytes, name: bytes, scheme: int) -> bytes:
    """``block`` (1536 bytes) with the digest of the side called ``name`` put in at the place of ``scheme``."""
    place = _place(block, scheme)
    return block[:place] + _digest(block, name, place) + block[place + DIGEST_LENGTH :]


def find_scheme(block: bytes, name: bytes) -> int | None:
    """The scheme by which the side called ``name`` signed ``block``, or None if it did not."""
    for scheme in SCHEMES:
        place = _place(block, scheme)
        if hmac.compare_digest(block[place : place + DIGEST_LENGTH], _digest(block, name, place)):
            return scheme
    return None


def answer_digest(block: bytes, name: bytes, scheme: int, filler: bytes) -> bytes:
    """C2 or S2 from the side called ``name`` to the other side's signed ``block``."""
    place = _place(block, scheme)
    key = hmac.digest(name + _SALT, block[place : place + DIGEST_LENGTH], hashlib.sha256)
    content = filler[: BLOCK_LENGTH - DIGEST_LENGTH]
    return content + hmac.digest(key, content, hashlib.sha256)


def _place(block: bytes, scheme: int) -> int:
    return sum(block[scheme : scheme + 4]) % 728 + scheme + 4


def _digest(block: bytes, name: bytes, place: int) -> bytes:
    return _KEYS[name].digest(block[:place], block[place + DIGEST_LENGTH :])


def _filler(entropy: bytes | None) -> bytes:
    return hashlib.shake_128(os.urandom(16) if entropy is None else entropy).digest(BLOCK_LENGTH - 8)
