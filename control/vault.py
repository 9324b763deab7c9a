"""Secrets that must be used again (stream keys, passwords in URLs): encrypted at rest under the server's own key."""

import base64
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_MARK = "v1:"
_NONCE = 12


class Vault:
    """AES-256-GCM (NIST SP 800-38D) under keys that are derived from ``secret`` (RFC 5869). Each place has a ``purpose`` of its
    own, so that what was written in one column cannot be moved to another."""

    def __init__(self, secret: bytes) -> None:
        self._cipher_key = _derive(secret, b"vault")
        self._hash_key = _derive(secret, b"look-up")

    def seal(self, purpose: str, text: str) -> str:
        """``text`` for the database."""
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._cipher().encrypt(nonce, text.encode(), purpose.encode())
        return _MARK + base64.b64encode(nonce + sealed).decode()

    def open(self, purpose: str, sealed: str) -> str:
        """The text again. Raises ValueError for what was not sealed here."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - see _cipher

        try:
            data = base64.b64decode(sealed.removeprefix(_MARK), validate=True)
            return self._cipher().decrypt(data[:_NONCE], data[_NONCE:], purpose.encode()).decode()
        except InvalidTag:
            raise ValueError("sealed under another key") from None

    def look_up(self, purpose: str, text: str) -> str:
        """What finds a sealed ``text`` again: the same for the same text, and useless without the server's key."""
        return hmac.digest(self._hash_key, f"{purpose}\0{text}".encode(), "sha256").hex()

    def _cipher(self) -> "AESGCM":
        # The library takes 10 MB: a server that keeps no secrets does without.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        return AESGCM(self._cipher_key)


def _derive(secret: bytes, label: bytes) -> bytes:
    """HKDF with one block of output, which is all that is needed."""
    extracted = hmac.digest(b"mediaserver", secret, hashlib.sha256)
    return hmac.digest(extracted, label + b"\x01", hashlib.sha256)
