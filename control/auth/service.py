"""Logging in and staying logged in. No web framework in here."""

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from control import audit
from control.auth import models
from control.auth.passwords import Busy, Passwords
from control.auth.tokens import BadToken, Purpose, Tokens
from control.db import Database, Row
from control.errors import ControlError, ErrorCode, not_found
from control.permissions import Actor, Permission, Role

#: Seconds that a login lasts without being refreshed.
LOGIN_TTL = 30 * 86400.0
#: Seconds for which an answer about a token is believed: a revocation on another node takes so long to be seen here.
FRESH = 5.0
#: Answers that are kept.
MAX_KNOWN = 10_000
#: Wrong passwords that cost nothing; each further one doubles the wait, in seconds, up to the longest.
FREE_FAILURES = 5
LONGEST_WAIT = 900.0
#: Seconds after which a wrong password is forgotten.
FORGET = 3600.0
#: What every API key begins with, so that scanners of source code find one that slipped.
KEY_MARK = "msk"


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A login as its user is told of it."""

    user_id: int
    username: str
    email: str
    role: str
    access_token: str
    refresh_token: str
    expires_in: int


class Accounts:
    """Passwords to tokens, and tokens to Actors."""

    def __init__(self, db: Database, tokens: Tokens, passwords: Passwords, clock: Callable[[], float] = time.time) -> None:
        self.passwords = passwords
        self._db = db
        self._tokens = tokens
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, Actor | None]] = OrderedDict()

    # -- who is asking ---------------------------------------------------------------------------------------------------

    async def authenticate(self, token: str) -> Actor:
        """Who holds ``token``, an access token or an API key. Raises ControlError (401)."""
        key = hashlib.sha256(token.encode()).hexdigest()
        now = self._clock()
        known = self._known.get(key)
        if known is None or known[0] < now:
            actor = await self._look_up(token, now)
            known = self._known[key] = (now + FRESH, actor)
            self._known.move_to_end(key)
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        if known[1] is None:
            raise _unauthorized("Invalid or expired token")
        return known[1]

    def forget(self) -> None:
        """Somebody's rights changed: believe nothing that was known."""
        self._known.clear()

    async def _look_up(self, token: str, now: float) -> Actor | None:
        if token.startswith(f"{KEY_MARK}_"):
            return await self._look_up_key(token, now)
        try:
            claims = self._tokens.read(token)
        except BadToken:
            return None
        if claims.purpose is not Purpose.ACCESS:
            return None
        async with self._db.read() as tx:
            row = await models.login_by_id(tx, claims.login_id)
        if row is None or row["id"] != claims.user_id or row["generation"] != claims.generation:
            return None
        if row["disabled"] or row["revoked_at"] is not None or row["expires_at"] < now:
            return None
        return Actor(row["id"], row["username"], Role(row["role"]), claims.login_id)

    async def _look_up_key(self, token: str, now: float) -> Actor | None:
        _, _, rest = token.partition("_")
        prefix, _, _ = rest.partition("_")
        async with self._db.read() as tx:
            row = await models.api_key_by_prefix(tx, prefix)
        if row is None or not hmac.compare_digest(row["key_hash"], _digest(token)):
            return None
        if row["disabled"] or row["revoked_at"] is not None or (row["expires_at"] is not None and row["expires_at"] < now):
            return None
        async with self._db.write() as tx:
            await models.touch_api_key(tx, row["key_id"], now)
        scopes = frozenset(Permission(word) for word in row["scopes"].split()) if row["scopes"] else None
        return Actor(row["id"], row["username"], Role(row["role"]), scopes=scopes)

    # -- logging in ------------------------------------------------------------------------------------------------------

    async def login(self, name: str, password: str, address: str, agent: str, request_id: str) -> LoggedIn:
        """Raises ControlError: 401 for a wrong name or password, 429 after too many of them."""
        now = self._clock()
        subjects = (f"account:{models.fold(name)}", f"address:{address}")
        async with self._db.read() as tx:
            wait = _wait(await models.failures(tx, subjects), now)
            user = await models.user_by_name(tx, name)
        if wait > 0:
            raise ControlError(
                ErrorCode.RATE_LIMITED,
                "Too many failed attempts",
                {"retry_after": int(wait) + 1},
                {"Retry-After": str(int(wait) + 1)},
            )
        try:
            right = await self.passwords.verify(user["password_hash"] if user else None, password)
        except Busy:
            raise ControlError(ErrorCode.UNAVAILABLE, "Too many logins at once", headers={"Retry-After": "5"}) from None
        if user is None or not right or user["disabled"]:
            async with self._db.write() as tx:
                for subject in subjects:
                    await models.add_failure(tx, subject, now, now - FORGET)
                user_id = user["id"] if user else None
                await audit.note(tx, now, user_id, audit.Action.LOGIN_FAILED, "user", user_id or "", address, request_id, {})
            raise _unauthorized("Invalid username or password")
        stronger = await self.passwords.hash(password) if self.passwords.outdated(user["password_hash"]) else ""
        async with self._db.write() as tx:
            await models.clear_failures(tx, subjects[0])
            if stronger:
                await models.update_user(tx, user["id"], {"password_hash": stronger}, now)
            login_id, refresh = secrets.token_urlsafe(16), secrets.token_urlsafe(32)
            await models.insert_login(tx, login_id, user["id"], _digest(refresh), now, now + LOGIN_TTL, address, agent[:200])
            await audit.note(tx, now, user["id"], audit.Action.LOGIN, "user", user["id"], address, request_id, {})
        return self._logged_in(user, login_id, refresh, now)

    async def refresh(self, token: str, address: str, request_id: str) -> LoggedIn:
        """A fresh pair of tokens for a refresh token, which is then used up. Raises ControlError (401).

        One that was used already is a stolen one: whoever has it, the login ends.
        """
        now = self._clock()
        login_id, _, secret = token.partition(".")
        given, fresh = _digest(secret), secrets.token_urlsafe(32)
        async with self._db.write() as tx:
            row = await models.login_by_id(tx, login_id)
            live = row is not None and not row["disabled"] and row["revoked_at"] is None and row["expires_at"] >= now
            if row is not None and live and hmac.compare_digest(row["refresh_hash"], given):
                await models.renew_login(tx, login_id, given, _digest(fresh), now + LOGIN_TTL)
                return self._logged_in(row, login_id, fresh, now)
            if row is not None and live and hmac.compare_digest(row["previous_hash"], given):
                await models.revoke_login(tx, login_id, now)
                await audit.note(tx, now, row["id"], audit.Action.TOKEN_REUSED, "user", row["id"], address, request_id, {})
                self.forget()
        raise _unauthorized("Invalid or expired refresh token")

    def _logged_in(self, user: Row, login_id: str, refresh: str, now: float) -> LoggedIn:
        access = self._tokens.issue(user["id"], login_id, user["generation"], now)
        return LoggedIn(
            user["id"], user["username"], user["email"], user["role"], access, f"{login_id}.{refresh}", self._tokens.ttl
        )


def _wait(rows: Sequence[Row], now: float) -> float:
    """Seconds until the next try is allowed."""
    longest = 0.0
    for row in rows:
        beyond = row["failures"] - FREE_FAILURES
        if beyond >= 0 and now - row["last_at"] < FORGET:
            longest = max(longest, row["last_at"] + min(2.0**beyond, LONGEST_WAIT) - now)
    return longest


def _digest(secret: str) -> str:
    # Not a password hash: these secrets are long and random.
    return hashlib.sha256(secret.encode()).hexdigest()


def _unauthorized(message: str) -> ControlError:
    return ControlError(ErrorCode.UNAUTHORIZED, message, headers={"WWW-Authenticate": "Bearer"})


def new_api_key() -> tuple[str, str, str]:
    """A key to show once, its prefix to find it by, and its hash to keep."""
    prefix = secrets.token_hex(6)
    key = f"{KEY_MARK}_{prefix}_{secrets.token_urlsafe(32)}"
    return key, prefix, _digest(key)


def no_such_key(key_id: int) -> ControlError:
    """404 for an API key."""
    return not_found("API key", api_key_id=key_id)
