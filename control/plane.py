"""The control plane's own things, opened before the engine and closed after it: database, accounts, limits."""

import base64
import contextlib
import hmac
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from control.auth import models
from control.auth.passwords import Passwords
from control.auth.service import Accounts
from control.auth.tokens import Tokens, server_secret
from control.bridge import ConfigAuthorizer, ControlAuthorizer
from control.db import Conflict, Database, open_database
from control.feed import Feed
from control.permissions import Role
from control.ratelimit import RateLimiter
from control.vault import Vault

if TYPE_CHECKING:
    from mediaserver.config import Config


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """What operations stand on. ``new_password`` is the administrator's, where one was made and nobody has logged in with it
    yet: to be shown."""

    db: Database
    accounts: Accounts
    limiter: RateLimiter
    vault: Vault
    feed: Feed
    authorizer: ControlAuthorizer
    new_password: str


@contextlib.asynccontextmanager
async def open_control(
    config: "Config", passwords: Passwords | None = None, clock: Callable[[], float] = time.time
) -> AsyncIterator[ControlPlane]:
    """Open everything. ``clock`` is Unix time for who is logged in and until when.

    Raises DatabaseUnavailable, OSError, and ValueError for a configuration that cannot be.
    """
    data_dir = Path(config.server.data_dir)
    secret = server_secret(config.auth.jwt_secret.get_secret_value(), data_dir)
    passwords = passwords or Passwords()
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(passwords.close)
        db = await open_database(config.database.url.get_secret_value(), data_dir)
        stack.push_async_callback(db.close)
        new_password = await _first_administrator(config, db, passwords, secret)
        accounts = Accounts(db, Tokens(secret, config.auth.token_ttl), passwords, clock)
        limiter = RateLimiter(config.limits, config.redis.url.get_secret_value())
        stack.push_async_callback(limiter.close)
        vault = Vault(secret)
        authorizer = ControlAuthorizer(db, vault, ConfigAuthorizer(config.auth))
        yield ControlPlane(db, accounts, limiter, vault, Feed(), authorizer, new_password)


async def _first_administrator(config: "Config", db: Database, passwords: Passwords, secret: bytes) -> str:
    """Make the administrator where there is no user yet. The password if it had to be made up.

    It follows from the server's secret and is told again at each start until somebody has logged in with it: a first start
    that then finds its port taken would else have told nobody.
    """
    name, password = config.auth.admin_username, config.auth.admin_password.get_secret_value()
    made_up = base64.b32encode(hmac.digest(secret, b"the first administrator's password", "sha256"))[:20].decode().lower()
    async with db.read() as tx:
        users = await models.list_users(tx, 2, 0)
    if not users:
        hashed = await passwords.hash(password or made_up)
        try:
            async with db.write() as tx:
                if not await models.count_users(tx):
                    await models.insert_user(tx, name, f"{name}@localhost", hashed, Role.ADMINISTRATOR.value, time.time())
                    return "" if password else made_up
        except Conflict:
            pass  # another node was faster
        return ""
    untouched = len(users) == 1 and users[0]["last_login"] is None and not password
    return made_up if untouched and await passwords.verify(users[0]["password_hash"], made_up) else ""
