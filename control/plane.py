"""The control plane's own things, opened before the engine and closed after it: database, secrets, limits."""

import asyncio
import base64
import contextlib
import hmac
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from control.analytics.countries import Atlas, Countries, NoAtlas
from control.auth import models
from control.bridge import ConfigAuthorizer, ControlAuthorizer
from control.db import Conflict, Database, open_database
from control.feed import Feed
from control.footing import writing, writing_database
from control.ondemand import PASSWORDS
from control.permissions import Role
from control.ratelimit import RateLimiter
from control.secret import server_secret
from control.streams.grants import Grants
from control.vault import Vault
from mediaserver.ondemand import load

if TYPE_CHECKING:
    from control.auth.passwords import Passwords
    from mediaserver.config import Config


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """What all else stands on. ``clock`` is Unix time for who is logged in and until when; ``new_password`` the administrator's,
    where one was made and nobody has logged in with it yet: to be shown. ``passwords``: a test's, None for the usual."""

    db: Database
    limiter: RateLimiter
    vault: Vault
    feed: Feed
    grants: Grants
    authorizer: ControlAuthorizer
    atlas: Atlas
    clock: Callable[[], float]
    passwords: "Passwords | None"
    new_password: str


@contextlib.asynccontextmanager
async def open_control(
    config: "Config", passwords: "Passwords | None" = None, clock: Callable[[], float] = time.time
) -> AsyncIterator[ControlPlane]:
    """Open everything.

    Raises DatabaseUnavailable, CannotServe for a folder that takes nothing, and ValueError for a configuration that cannot be.
    """
    data_dir, url = Path(config.server.data_dir), config.database.url.get_secret_value()
    atlas = await _atlas(config.analytics.country_file)
    with writing("server.data_dir", data_dir):
        secret = server_secret(config.auth.jwt_secret.get_secret_value(), data_dir)
    async with contextlib.AsyncExitStack() as stack:
        with writing_database(url, data_dir):
            db = await open_database(url, data_dir)
            stack.push_async_callback(db.close)
            new_password = await _first_administrator(config, db, passwords, secret)
        limiter = RateLimiter(config.limits, config.redis.url.get_secret_value())
        stack.push_async_callback(limiter.close)
        vault = Vault(secret)
        grants = Grants(db, vault)
        authorizer = ControlAuthorizer(grants, ConfigAuthorizer(config.auth), clock)
        yield ControlPlane(db, limiter, vault, Feed(), grants, authorizer, atlas, clock, passwords, new_password)


async def _atlas(file: str) -> Atlas:
    try:
        return await asyncio.to_thread(Countries, Path(file)) if file else NoAtlas()
    except (OSError, ValueError) as error:
        raise ValueError(f"analytics.country_file = {file!r}: {error}") from error


async def _first_administrator(config: "Config", db: Database, passwords: "Passwords | None", secret: bytes) -> str:
    """Make the administrator where there is no user yet. The password if it had to be made up.

    It follows from the server's secret and is told again at each start until somebody has logged in with it: a first start
    that then finds its port taken would else have told nobody. So does its salt, by which its hash is known again.
    """
    name, password = config.auth.admin_username, config.auth.admin_password.get_secret_value()
    made_up = base64.b32encode(hmac.digest(secret, b"the first administrator's password", "sha256"))[:20].decode().lower()
    salt = hmac.digest(secret, b"the salt of that password", "sha256")[:16]
    async with db.read() as tx:
        users = await models.list_users(tx, 2, 0)
    if users:
        untouched = len(users) == 1 and users[0]["last_login"] is None and not password
        return made_up if untouched and _salted_with(salt, users[0]["password_hash"]) else ""
    hashed = await _hash(passwords, password, None) if password else await _hash(passwords, made_up, salt)
    try:
        async with db.write() as tx:
            if await models.count_users(tx):
                return ""
            await models.insert_user(tx, name, f"{name}@localhost", hashed, Role.ADMINISTRATOR.value, time.time())
    except Conflict:
        return ""  # another node was faster
    return "" if password else made_up


async def _hash(passwords: "Passwords | None", password: str, salt: bytes | None) -> str:
    if passwords is not None:
        return await passwords.hash(password, salt)
    return str(await asyncio.to_thread((await load(PASSWORDS)).hash_once, password, salt))


def _salted_with(salt: bytes, hashed: str) -> bool:
    """Whether ``hashed`` (``$argon2id$v=…$m=…$SALT$HASH``) was made with ``salt``."""
    return base64.b64encode(salt).decode().rstrip("=") in hashed.split("$")
