"""Secrets that must be used again (stream keys, passwords in URLs): encrypted at rest under the server's own key."""

import hashlib
import hmac
from typing import TYPE_CHECKING

from control.ondemand import CIPHER
from mediaserver.errors import Refused
from mediaserver.ondemand import load

if TYPE_CHECKING:
    from control.cipher import Cipher


class Unreadable(Refused):
    """A secret was encrypted under another key: the server's own secret is not what it was."""

    def __init__(self) -> None:
        super().__init__("it was encrypted under another secret of the server (auth.jwt_secret, secret.key): set it anew")


class Vault:
    """Keys that are derived from the server's ``secret`` (RFC 5869)."""

    def __init__(self, secret: bytes) -> None:
        #: What access tokens are signed with.
        self.token_key = _derive(secret, b"tokens")
        self._cipher_key = _derive(secret, b"vault")
        self._hash_key = _derive(secret, b"look-up")
        self._cipher: Cipher | None = None

    def look_up(self, purpose: str, text: str) -> str:
        """What finds a sealed ``text`` again: the same for the same text, and useless without the server's key."""
        return hmac.digest(self._hash_key, f"{purpose}\0{text}".encode(), "sha256").hex()

    async def cipher(self) -> "Cipher":
        """What seals and opens. A server that keeps no secrets does without."""
        if self._cipher is None:
            self._cipher = (await load(CIPHER)).Cipher(self._cipher_key)
        return self._cipher


def _derive(secret: bytes, label: bytes) -> bytes:
    """HKDF with one block of output, which is all that is needed."""
    extracted = hmac.digest(b"mediaserver", secret, hashlib.sha256)
    return hmac.digest(extracted, label + b"\x01", hashlib.sha256)
