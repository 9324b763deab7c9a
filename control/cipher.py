"""AES for secrets at rest: see ``control.vault``, which loads it."""

import base64
import binascii
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from control.vault import Unreadable

_MARK = "v1:"
_NONCE = 12


class Cipher:
    """AES-256-GCM (NIST SP 800-38D). Each place has a ``purpose`` of its own, so that what was written in one column cannot be
    moved to another."""

    def __init__(self, key: bytes) -> None:
        self._aes = AESGCM(key)

    def seal(self, purpose: str, text: str) -> str:
        """``text`` for the database."""
        nonce = secrets.token_bytes(_NONCE)
        return _MARK + base64.b64encode(nonce + self._aes.encrypt(nonce, text.encode(), purpose.encode())).decode()

    def open(self, purpose: str, sealed: str) -> str:
        """The text again. Raises Unreadable for what was not sealed here."""
        try:
            data = binascii.a2b_base64(sealed.removeprefix(_MARK), strict_mode=True)
            return self._aes.decrypt(data[:_NONCE], data[_NONCE:], purpose.encode()).decode()
        except (InvalidTag, ValueError):
            raise Unreadable from None

    def read(self, purpose: str, sealed: str) -> str | None:
        """The same to show it; None for what was not sealed here."""
        try:
            return self.open(purpose, sealed)
        except Unreadable:
            return None
