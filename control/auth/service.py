"""Logging in and staying logged in. No web framework in here."""

import contextlib
import hashlib
import hmac
import math
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from control import audit, strangers
from control.asked import KEY_MARK
from control.auth import models
from control.auth.passwords import Passwords
from control.auth.tokens import BadToken, Claims, Purpose, Tokens
from control.auth.tries import TakenBack, Try
from control.db import Database, DatabaseUnavailable, Row, Transaction
from control.errors import ControlError, ErrorCode, not_found
from control.permissions import Actor, Permission, Role
from control.ratelimit import Draw
from control.transactions import transact
from mediaserver.addresses import network_of

T = TypeVar("T")

#: Seconds that a login lasts without being refreshed.
LOGIN_TTL = 30 * 86400.0
#: Seconds for which an answer about a token is believed: a revocation on another node takes so long to be seen here.
FRESH = 5.0
#: Answers that are kept.
MAX_KNOWN = 10_000
#: Wrong passwords that cost nothing, for one account and from one address; each further one doubles the wait, in seconds, up
#: to the longest.
FREE_FAILURES = 5
FREE_FAILURES_OF_ADDRESS = 20
LONGEST_WAIT = 900.0
#: Seconds without another after which all wrong passwords are forgotten; as further ones come, as many as are free grow too old
#: in that time.
FORGET = 3600.0
#: Keys that a user may have.
MAX_API_KEYS = 100
#: Seconds for which the use of an API key is not noted again.
USE_NOTED = 60.0

_API_KEY = re.compile(rf"{KEY_MARK}_[0-9a-f]{{12}}_[A-Za-z0-9_-]{{43}}")
_ADDRESS = "address:"


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


@dataclass(frozen=True, slots=True)
class _Holder:
    """Who holds a token, and until when at most; of an API key also its id and when it was last noted as used."""

    actor: Actor
    expires: float
    key_id: int | None = None
    used: float = 0.0


class Accounts:
    """Passwords to tokens, and tokens to Actors."""

    def __init__(self, db: Database, tokens: Tokens, passwords: Passwords, clock: Callable[[], float] = time.time) -> None:
        self.passwords = passwords
        self.clock = clock
        self._db = db
        self._tokens = tokens
        self._known: OrderedDict[bytes, tuple[float, Actor | None]] = OrderedDict()
        self._forgotten = 0
        self._strangers = strangers.Strangers()
        self._taken_back = TakenBack()

    # -- who is asking ---------------------------------------------------------------------------------------------------

    async def authenticate(self, token: str, address: str = "") -> Actor:
        """Who holds ``token``, an access token or an API key. Raises ControlError: 401, and 429 where ``address`` has tried many
        API keys that are none."""
        key = _key(token)
        now = self.clock()
        known = self._known.get(key)
        if known is None or known[0] <= now:
            guessed = address if _API_KEY.fullmatch(token) is not None else ""
            if guessed and (wait := self._strangers.wait(guessed, now)) > 0:
                raise _wait_for("Too many unknown API keys from this address", strangers.WRONG_KEYS, wait, now)
            forgotten = self._forgotten
            known = await self._look_up(token, now)
            if guessed and known[1] is None:
                self._strangers.note(guessed, token, now)
            # What was looked up before somebody's rights changed is not kept: it may be what they were.
            if forgotten == self._forgotten:
                self._known[key] = known
                self._known.move_to_end(key)
                if len(self._known) > MAX_KNOWN:
                    self._known.popitem(last=False)
        if known[1] is None:
            raise _unauthorized("Invalid or expired token")
        return known[1]

    def vouch(self, token: str) -> Actor | None:
        """Who holds ``token`` as far as that can be told without the database: whoever did when it was looked up last, or,
        where it never was, whose login the server has signed it for, as one who may least."""
        now = self.clock()
        claims = self._claims(token, now)
        known = self._known.get(_key(token))
        if known is not None and (claims is not None or _API_KEY.fullmatch(token) is not None):
            return known[1]
        return None if claims is None else Actor(claims.user_id, "", Role.USER, claims.login_id)

    @property
    def changes(self) -> int:
        """How often something that was known has turned out to be so no more."""
        return self._forgotten

    def forget(self) -> None:
        """Somebody's rights changed: believe nothing that was known."""
        self._forgotten += 1
        self._known.clear()

    def doubt(self, token: str) -> None:
        """What is known of ``token`` is not so any more; all others' holders are who they were."""
        self._forgotten += 1
        self._known.pop(_key(token), None)

    async def confirm(self, tx: Transaction, token: str, actor: Actor) -> None:
        """``token`` still makes its holder what ``actor`` is, as ``tx`` sees it. Raises ControlError (401, 403)."""
        holder = await self._holder(tx, token, self.clock())
        if holder is None or holder.actor.user_id != actor.user_id:
            raise _unauthorized("Invalid or expired token")
        if (holder.actor.role, holder.actor.scopes) != (actor.role, actor.scopes):
            raise ControlError(ErrorCode.FORBIDDEN, "Your rights have just changed: ask again")

    async def _look_up(self, token: str, now: float) -> tuple[float, Actor | None]:
        """Whose token it is, and until when that may be believed without another look."""
        holder = None
        if _API_KEY.fullmatch(token) is not None or self._claims(token, now) is not None:
            async with self._db.read() as tx:
                holder = await self._holder(tx, token, now)
        if holder is None:
            return now + FRESH, None
        if holder.key_id is not None and holder.used < now - USE_NOTED:
            with contextlib.suppress(DatabaseUnavailable):
                async with self._db.write() as tx:
                    await models.touch_api_key(tx, holder.key_id, now)
        return min(now + FRESH, holder.expires), holder.actor

    async def _holder(self, tx: Transaction, token: str, now: float) -> _Holder | None:
        if token.startswith(f"{KEY_MARK}_"):
            return await self._holder_of_key(tx, token, now)
        return await self._holder_of_login(tx, token, now)

    def _claims(self, token: str, now: float) -> Claims | None:
        """What an access token says, if it is one of ours."""
        try:
            claims = self._tokens.read(token, now)
        except BadToken:
            return None
        return claims if claims.purpose is Purpose.ACCESS else None

    async def _holder_of_login(self, tx: Transaction, token: str, now: float) -> _Holder | None:
        claims = self._claims(token, now)
        row = None if claims is None else await models.login_by_id(tx, claims.login_id)
        if claims is None or row is None or row["id"] != claims.user_id or row["generation"] != claims.generation:
            return None
        if not _is_live(row, now):
            return None
        actor = Actor(row["id"], row["username"], Role(row["role"]), claims.login_id)
        return _Holder(actor, min(claims.expires, row["expires_at"]))

    async def _holder_of_key(self, tx: Transaction, token: str, now: float) -> _Holder | None:
        if _API_KEY.fullmatch(token) is None:
            return None
        row = await models.api_key_by_prefix(tx, token.split("_")[1])
        if row is None or not hmac.compare_digest(row["key_hash"], _digest(token)):
            return None
        expires = float("inf") if row["expires_at"] is None else row["expires_at"]
        if row["disabled"] or row["revoked_at"] is not None or expires <= now:
            return None
        scopes = frozenset(Permission(word) for word in row["scopes"].split()) if row["scopes"] else None
        actor = Actor(row["id"], row["username"], Role(row["role"]), scopes=scopes)
        return _Holder(actor, expires, row["key_id"], row["last_used_at"] or 0.0)

    # -- logging in ------------------------------------------------------------------------------------------------------

    async def login(self, name: str, password: str, address: str, agent: str, request_id: str) -> LoggedIn:
        """Raises ControlError: 401 for a wrong name or password, 429 after too many of them."""
        now = self.clock()

        async def begin(tx: Transaction) -> tuple[Row | None, Sequence[Try]]:
            user = await models.user_by_name(tx, name)
            return user, await self._begin_try(tx, _subjects(user, name, address), now)

        user, tries = await self._write(begin)
        right = await self._verify(user["password_hash"] if user else None, password, tries)
        if user is None or not right or user["disabled"]:
            number = user["id"] if user else None
            failed = audit.Action.LOGIN_FAILED
            await self._write(lambda tx: audit.note(tx, now, number, failed, "user", number or "", address, request_id, {}))
            raise _unauthorized("Invalid username or password")
        stronger = await self.passwords.hash(password) if self.passwords.outdated(user["password_hash"]) else ""
        login_id, family, secret = secrets.token_urlsafe(16), secrets.token_urlsafe(16), secrets.token_urlsafe(32)

        async def end(tx: Transaction) -> None:
            await models.hold_user(tx, user["id"])
            # While the password was being checked it may have been changed, or its user disabled.
            now_user = await models.user_by_id(tx, user["id"])
            if now_user is None or now_user["generation"] != user["generation"] or now_user["disabled"]:
                raise _unauthorized("Invalid username or password")
            await self._end_try(tx, tries)
            if stronger:
                await models.update_user(tx, user["id"], {"password_hash": stronger}, now)
            hashes = _digest(secret), _digest(family)
            await models.insert_login(tx, login_id, user["id"], hashes, now, now + LOGIN_TTL, address, _printable(agent))
            await audit.note(tx, now, user["id"], audit.Action.LOGIN, "user", user["id"], address, request_id, {})

        await self._write(end)
        return self._logged_in(user, f"{login_id}.{family}.{secret}", login_id, now)

    async def is_password_of(self, user: Row, password: str, address: str) -> bool:
        """Whether ``password`` is the one of ``user``, who is logged in. Raises ControlError (429) after too many wrong ones."""
        subjects = _subjects(user, "", address)
        tries = await self._write(lambda tx: self._begin_try(tx, subjects, self.clock()))
        if not await self._verify(user["password_hash"], password, tries):
            return False
        await self._write(lambda tx: self._end_try(tx, tries))
        return True

    async def _write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        return await transact(self._db.write, work)

    async def _begin_try(self, tx: Transaction, subjects: Sequence[str], now: float) -> Sequence[Try]:
        """Count a try as failed before it is made, so that many at once are as many as one after another. Raises ControlError."""
        await models.forget_failures(tx, now - FORGET)
        rows = [await models.hold_failures(tx, subject, now) for subject in subjects]
        wait, free = max((_wait(row, now), _free(row["subject"])) for row in rows)
        if wait > 0:
            whose = "for this account" if free == FREE_FAILURES else "from this address"
            raise _wait_for(f"Too many wrong passwords {whose}", free, wait, now)
        tries = [_next_try(row, now) for row in rows]
        for row, each in zip(rows, tries, strict=True):
            await models.set_failures(tx, each.subject, row["failures"] - each.aged + 1, each.at)
        return tries

    async def _verify(self, hashed: str | None, password: str, tries: Sequence[Try]) -> bool:
        """Whether it is the password. A try that comes to no answer was none, and counts for nothing. Raises Busy."""
        try:
            return await self.passwords.verify(hashed, password)
        except BaseException:
            await self._write(lambda tx: self._take_back(tx, tries))
            raise

    async def _take_back(self, tx: Transaction, tries: Sequence[Try]) -> None:
        for each in tries:
            older = self._taken_back.beyond(each)
            if not await models.take_back_failure(tx, each.subject, each.at, older.before, older.aged):
                self._taken_back.note(each)

    async def _end_try(self, tx: Transaction, tries: Sequence[Try]) -> None:
        """It was right: the account's failures are forgiven; the address's stay as they were, or one account of one's own would
        free it."""
        account, address = tries
        await models.clear_failures(tx, account.subject)
        await self._take_back(tx, [address])

    async def refresh(self, token: str, address: str, request_id: str) -> LoggedIn:
        """A fresh pair of tokens for a refresh token, which is then used up. Raises ControlError (401).

        One that was used already is a stolen one: whoever has it, the login ends.
        """
        now = self.clock()
        login_id, family, secret = token.split(".") if token.count(".") == 2 else ("", "", "")
        fresh = secrets.token_urlsafe(32)

        async def renew(tx: Transaction) -> tuple[Row | None, bool]:
            """The login, and whether it is renewed."""
            row = await models.login_by_id(tx, login_id)
            if row is None or not _is_live(row, now) or not hmac.compare_digest(row["family_hash"], _digest(family)):
                return None, False
            # Of two who come at once with the same token the database lets one through.
            if await models.renew_login(tx, login_id, _digest(secret), _digest(fresh), now + LOGIN_TTL):
                return row, True
            await models.revoke_login(tx, login_id, now)
            await audit.note(tx, now, row["id"], audit.Action.TOKEN_REUSED, "user", row["id"], address, request_id, {})
            return row, False

        row, renewed = await self._write(renew)
        if row is not None and renewed:
            return self._logged_in(row, f"{login_id}.{family}.{fresh}", login_id, now)
        if row is not None:
            self.forget()
        raise _unauthorized("Invalid or expired refresh token")

    def _logged_in(self, user: Row, refresh: str, login_id: str, now: float) -> LoggedIn:
        access = self._tokens.issue(user["id"], login_id, user["generation"], now)
        return LoggedIn(user["id"], user["username"], user["email"], user["role"], access, refresh, self._tokens.ttl)


def _is_live(login: Row, now: float) -> bool:
    return not login["disabled"] and login["revoked_at"] is None and bool(login["expires_at"] > now)


def _subjects(user: Row | None, name: str, address: str) -> tuple[str, str]:
    """Whose failures count: an account has one count under its name and its address, and one that is not there has one too."""
    account = f"user:{user['id']}" if user else f"name:{_digest(models.fold(name))}"
    return account, f"{_ADDRESS}{network_of(address)}"


def _free(subject: str) -> int:
    return FREE_FAILURES_OF_ADDRESS if subject.startswith(_ADDRESS) else FREE_FAILURES


def _next_try(row: Row, now: float) -> Try:
    """Many people behind one address mistype a word now and then: what comes so slowly does not add up for ever."""
    before = row["last_at"]
    aged = int(max(0.0, now - before) * _free(row["subject"]) / FORGET)
    return Try(row["subject"], now, before, min(aged, row["failures"]))


def _wait(row: Row, now: float) -> float:
    """Seconds until the next try is allowed; 0 or less if it is."""
    beyond = row["failures"] - _free(row["subject"])
    if beyond < 0 or now - row["last_at"] >= FORGET:
        return 0.0
    return float(row["last_at"] + min(2.0 ** min(beyond, 20), LONGEST_WAIT) - now)


def _wait_for(message: str, limit: int, wait: float, now: float) -> ControlError:
    """429 of a limit of our own, ``limit`` mistakes: what its headers say is about that, and not about the operation's."""
    draw = Draw(allowed=False, limit=limit, remaining=0, reset=math.ceil(now + wait), wait=math.ceil(wait))
    details = {"limit": limit, "reset": draw.reset, "retry_after": draw.wait}
    return ControlError(ErrorCode.RATE_LIMITED, message, details, draw.headers())


def _printable(agent: str) -> str:
    """A header as text that every database takes."""
    return "".join(letter if letter.isprintable() else "?" for letter in agent[:200])


def _key(token: str) -> bytes:
    """What a token is remembered under."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


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
