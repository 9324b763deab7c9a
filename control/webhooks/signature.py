"""How a receiver knows that a message is ours and unchanged."""

import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping, Sequence

_MARK = "whsec_"


def new_secret() -> str:
    """A secret in the form of Standard Webhooks: 24 random bytes."""
    return _MARK + base64.b64encode(secrets.token_bytes(24)).decode()


def headers(message_id: str, at: float, body: bytes, secrets_: Sequence[str]) -> Mapping[str, str]:
    """The headers that sign ``body``, sent at Unix time ``at``. ``secrets_``: the one in force first.

    ``X-Webhook-Signature`` is HMAC-SHA256 of the body in hex under the secret as it is written; ``webhook-*`` are those of
    Standard Webhooks 1.0.0, a signature for each secret.
    """
    seconds = str(int(at))
    signed = f"{message_id}.{seconds}.".encode() + body
    standard = [base64.b64encode(hmac.digest(_key(secret), signed, "sha256")).decode() for secret in secrets_]
    return {
        "X-Webhook-Signature": hmac.digest(secrets_[0].encode(), body, "sha256").hex(),
        "webhook-id": message_id,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in standard),
    }


def _key(secret: str) -> bytes:
    """The bytes of a secret: Standard Webhooks writes them in base64 behind a mark; an owner's own word is its own bytes."""
    if secret.startswith(_MARK):
        try:
            return base64.b64decode(secret.removeprefix(_MARK), validate=True)
        except binascii.Error:
            pass
    return secret.encode()
