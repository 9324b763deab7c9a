"""Access tokens: JWTs (RFC 7519) under one pinned algorithm."""

import enum
from dataclasses import dataclass

import jwt

ALGORITHM = "HS256"
ISSUER = "mediaserver"


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
