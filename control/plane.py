"""The control plane's own things, opened before the engine and closed after it: database, accounts, limits."""

import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from control.auth import models
from control.auth.passwords import Passwords
from control.auth.service import Accounts
from control.auth.tokens import Tokens, server_secret
from control.bridge import ConfigAuthorizer, ControlAuthorizer
from control.db import Database, open_database
from control.feed import Feed
from control.permissions import Role
from control.ratelimit import RateLimiter
from control.vault import Vault

if TYPE_CHECKING:
    from mediaserver.config import Config


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """What operations stand on. ``new_password`` is the administrator's, where one was made just now: to be shown once."""

    db: Database
    accounts: Accounts
    limiter: RateLimiter
    vault: Vault
    feed: Feed
    authorizer: ControlAuthorizer
    new_password: str


@contextlib.asynccontextmanager
async def open_control(config: "Config", passwords: Passwords | None = None) -> AsyncIterator[ControlPlane]:
    """Open everything. Raises DatabaseUnavailable, OSError, and ValueError for a configuration that cannot be."""
    data_dir = Path(config.server.data_dir)
    secret = server_secret(config.auth.jwt_secret.get_secret_value(), data_dir)
    passwords = passwords or Passwords()
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(passwords.close)
        db = await open_database(config.database.url.get_secret_value(), data_dir)
        stack.push_async_callback(db.close)
        new_password = await _first_administrator(config, db, passwords)
        accounts = Accounts(db, Tokens(secret, config.auth.token_ttl), passwords)
        limiter = RateLimiter(config.limits, config.redis.url.get_secret_value())
        vault = Vault(secret)
        authorizer = ControlAuthorizer(db, vault, ConfigAuthorizer(config.auth))
        yield ControlPlane(db, accounts, limiter, vault, Feed(), authorizer, new_password)


async def _first_administrator(config: "Config", db: Database, passwords: Passwords) -> str:
    """Make the administrator where there is no user yet. The password if it had to be made up."""
    async with db.read() as tx:
        if await models.count_users(tx):
            return ""
    name, password = config.auth.admin_username, config.auth.admin_password.get_secret_value()
    made_up = "" if password else secrets.token_urlsafe(12)
    hashed = await passwords.hash(password or made_up)
    async with db.write() as tx:
        if await models.count_users(tx):
            return ""  # another node was faster
        await models.insert_user(tx, name, f"{name}@localhost", hashed, Role.ADMINISTRATOR.value, time.time())
    return made_up
