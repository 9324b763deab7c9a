"""Access tokens: JWTs (RFC 7519) under one pinned algorithm, and the secret that signs them."""

import contextlib
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

    def read(self, token: str, now: float) -> Claims:
        """What ``token`` says at ``now``. Raises BadToken."""
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                # The time is the caller's: another node's clock may be a moment ahead of ours, and says so in "iat".
                options={"require": ["exp", "iat", "sub", "iss"], "verify_exp": False, "verify_iat": False},
            )
            read = Claims(int(claims["sub"]), str(claims["sid"]), int(claims["gen"]), Purpose(claims["use"]), int(claims["exp"]))
        except (jwt.InvalidTokenError, KeyError, ValueError, TypeError, OverflowError):
            raise BadToken from None
        if read.expires <= now:
            raise BadToken
        return read


def server_secret(configured: str, data_dir: Path) -> bytes:
    """The secret from which all others are derived: the configured one, or one that is made and kept in ``data_dir``.

    Raises OSError, and ValueError for one that is too short or broken.
    """
    if configured:
        if len(configured.encode()) < LEAST_SECRET:
            raise ValueError(f"auth.jwt_secret: at least {LEAST_SECRET} bytes are needed")
        return configured.encode()
    file = data_dir / "secret.key"
    if not file.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        _make_secret(file)
    try:
        secret = bytes.fromhex(file.read_text("ascii"))
    except ValueError:
        secret = b""
    if len(secret) < LEAST_SECRET:
        # A new one in its place would end every login and lose what was encrypted under the old one: not without being asked.
        raise ValueError(f"{file} is broken: restore it, or remove it to have a new one made (all must log in again)")
    return secret


def _make_secret(file: Path) -> None:
    """Write a new secret whole or not at all, and not over another process's."""
    partial = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as out:
            out.write(secrets.token_hex(LEAST_SECRET))
            out.flush()
            os.fsync(out.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(partial, file)
    finally:
        partial.unlink()
