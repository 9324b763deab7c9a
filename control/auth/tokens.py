"""Access tokens: JWTs (RFC 7519) under one pinned algorithm, and the secret that signs them."""

import enum
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import jwt

ALGORITHM = "HS256"
ISSUER = "mediaserver"
#: RFC 7518, 3.2: a key of the hash's size or larger.
LEAST_SECRET = 32


class Purpose(enum.Enum):
    """What a token is good for: ACCESS for everything; PENDING for the second factor alone."""

    ACCESS = "access"
    PENDING = "pending"


class BadToken(Exception):
    """It is none of ours, was changed, or has expired."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says. ``generation`` is the user's at the time."""

    user_id: int
    login_id: str
    generation: int
    purpose: Purpose
    expires: int


class Tokens:
    """Issues and reads access tokens."""

    def __init__(self, secret: bytes, ttl: float) -> None:
        self.ttl = int(ttl)
        self._secret = secret

    def issue(self, user_id: int, login_id: str, generation: int, now: float, purpose: Purpose = Purpose.ACCESS) -> str:
        """A token that lasts ``ttl`` seconds."""
        claims = {
            "iss": ISSUER,
            "sub": str(user_id),
            "sid": login_id,
            "gen": generation,
            "use": purpose.value,
            "iat": int(now),
            "exp": int(now) + self.ttl,
        }
        return jwt.encode(claims, self._secret, ALGORITHM)

    def read(self, token: str) -> Claims:
        """Raises BadToken."""
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                options={"require": ["exp", "iat", "sub", "iss"]},
            )
            return Claims(int(claims["sub"]), str(claims["sid"]), int(claims["gen"]), Purpose(claims["use"]), int(claims["exp"]))
        except (jwt.InvalidTokenError, KeyError, ValueError, TypeError):
            raise BadToken from None


def server_secret(configured: str, data_dir: Path) -> bytes:
    """The secret from which all others are derived: the configured one, or one that is made and kept in ``data_dir``.

    Raises OSError, and ValueError for one that is too short.
    """
    if configured:
        if len(configured.encode()) < LEAST_SECRET:
            raise ValueError(f"auth.jwt_secret: at least {LEAST_SECRET} bytes are needed")
        return configured.encode()
    file = data_dir / "secret.key"
    try:
        return bytes.fromhex(file.read_text("ascii"))
    except FileNotFoundError:
        data_dir.mkdir(parents=True, exist_ok=True)
    secret = secrets.token_bytes(LEAST_SECRET)
    partial = data_dir / f"secret.key.{os.getpid()}"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(secret.hex())
        out.flush()
        os.fsync(out.fileno())
    try:
        os.link(partial, file)  # not over another node's
    except FileExistsError:
        return bytes.fromhex(file.read_text("ascii"))
    finally:
        partial.unlink()
    return secret
