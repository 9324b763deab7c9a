"""Rows of users, logins and API keys, and every statement about them."""

from collections.abc import Sequence
from unicodedata import normalize

from control.db import Row, Transaction

_USER = "id, username, email, password_hash, role, disabled, generation, created_at, updated_at, last_login"


def fold(text: str) -> str:
    """A name or an address as it is compared: written in another way it is the same (Unicode 15, 3.13, D146)."""
    return normalize("NFKC", normalize("NFKC", text).casefold()).strip()


async def user_by_id(tx: Transaction, user_id: int) -> Row | None:
    """One user."""
    return await tx.row(f"SELECT {_USER} FROM users WHERE id = ?", user_id)


async def user_by_name(tx: Transaction, name: str) -> Row | None:
    """The user of that name or, as people type either, of that address."""
    key = fold(name)
    return await tx.row(
        f"SELECT {_USER} FROM users WHERE username_key = ? OR email_key = ? ORDER BY username_key = ? DESC", key, key, key
    )


async def count_users(tx: Transaction) -> int:
    """How many users there are."""
    row = await tx.row("SELECT count(*) AS number FROM users")
    return int(row["number"]) if row else 0


async def list_users(tx: Transaction, limit: int, offset: int) -> Sequence[Row]:
    """Users by age."""
    return await tx.rows(f"SELECT {_USER} FROM users ORDER BY id LIMIT ? OFFSET ?", limit, offset)


async def insert_user(tx: Transaction, username: str, email: str, password_hash: str, role: str, now: float) -> int:
    """A new user's id. Raises Conflict for a name or an address that is taken."""
    row = await tx.row(
        "INSERT INTO users (username, username_key, email, email_key, password_hash, role, created_at, updated_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        username, fold(username), email, fold(email), password_hash, role, now, now,
    )  # fmt: skip
    assert row is not None  # noqa: S101  RETURNING gives one
    return int(row["id"])


async def update_user(tx: Transaction, user_id: int, fields: Row, now: float) -> None:
    """Change the named columns. Raises Conflict."""
    values = dict(fields)
    if "username" in values:
        values["username_key"] = fold(values["username"])
    if "email" in values:
        values["email_key"] = fold(values["email"])
    columns = ", ".join(f"{name} = ?" for name in values)
    await tx.execute(f"UPDATE users SET {columns}, updated_at = ? WHERE id = ?", *values.values(), now, user_id)


async def end_generation(tx: Transaction, user_id: int, now: float) -> None:
    """Every token that the user has is worth nothing from now on."""
    await tx.execute("UPDATE users SET generation = generation + 1, updated_at = ? WHERE id = ?", now, user_id)
    await tx.execute("UPDATE logins SET revoked_at = ? WHERE user_id = ? AND revoked_at IS NULL", now, user_id)


async def hold_user(tx: Transaction, user_id: int) -> None:
    """Nobody else changes this user, nor makes or changes what is the user's, until this transaction ends."""
    await tx.execute("UPDATE users SET updated_at = updated_at WHERE id = ?", user_id)


async def delete_user(tx: Transaction, user_id: int) -> None:
    """The user is gone, and with it all that is the user's."""
    await tx.execute("DELETE FROM users WHERE id = ?", user_id)


async def hold_administrators(tx: Transaction) -> None:
    """Nobody else changes an administrator until this transaction ends: two who demote each other must not both succeed."""
    held = set[int]()
    # One by one, for a statement takes several in whatever order; and whoever has become one in the meantime.
    while found := {row["id"] for row in await tx.rows("SELECT id FROM users WHERE role = 'administrator'")} - held:
        for number in sorted(found):
            await hold_user(tx, number)
        held |= found


async def count_administrators(tx: Transaction) -> int:
    """How many administrators could log in."""
    row = await tx.row("SELECT count(*) AS number FROM users WHERE role = 'administrator' AND disabled = 0")
    return int(row["number"]) if row else 0


async def insert_login(
    tx: Transaction, login_id: str, user_id: int, hashes: tuple[str, str], now: float, expires: float, address: str, agent: str
) -> None:
    """A login begins. ``hashes`` of its refresh token and of the word that all of its refresh tokens share."""
    await tx.execute(
        "INSERT INTO logins (id, user_id, refresh_hash, family_hash, created_at, expires_at, address, agent)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        login_id, user_id, *hashes, now, expires, address, agent,
    )  # fmt: skip
    await tx.execute("UPDATE users SET last_login = ? WHERE id = ?", now, user_id)
    await tx.execute("DELETE FROM logins WHERE expires_at < ?", now)


async def login_by_id(tx: Transaction, login_id: str) -> Row | None:
    """A login and its user."""
    return await tx.row(
        "SELECT l.id AS login_id, l.refresh_hash, l.family_hash, l.expires_at, l.revoked_at,"
        " u.id, u.username, u.email, u.role, u.disabled, u.generation"
        " FROM logins l JOIN users u ON u.id = l.user_id WHERE l.id = ?",
        login_id,
    )


async def renew_login(tx: Transaction, login_id: str, old_hash: str, new_hash: str, expires: float) -> bool:
    """Replace the refresh token; False if another call was faster."""
    changed = await tx.execute(
        "UPDATE logins SET refresh_hash = ?, expires_at = ? WHERE id = ? AND refresh_hash = ? AND revoked_at IS NULL",
        new_hash, expires, login_id, old_hash,
    )  # fmt: skip
    return changed == 1


async def revoke_login(tx: Transaction, login_id: str, now: float) -> None:
    """The login is over."""
    await tx.execute("UPDATE logins SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", now, login_id)


async def forget_failures(tx: Transaction, before: float) -> None:
    """What went wrong before that does not count any more."""
    await tx.execute("DELETE FROM login_failures WHERE last_at < ?", before)


async def hold_failures(tx: Transaction, subject: str, now: float) -> Row:
    """What went wrong lately for ``subject``; nobody else counts it until this transaction ends."""
    row = await tx.row(
        "INSERT INTO login_failures (subject, failures, last_at) VALUES (?, 0, ?)"
        " ON CONFLICT (subject) DO UPDATE SET failures = login_failures.failures RETURNING subject, failures, last_at",
        subject, now,
    )  # fmt: skip
    assert row is not None  # noqa: S101  RETURNING gives one
    return row


async def set_failures(tx: Transaction, subject: str, failures: int, at: float) -> None:
    """So many, the last of them at ``at``."""
    await tx.execute("UPDATE login_failures SET failures = ?, last_at = ? WHERE subject = ?", failures, at, subject)


async def clear_failures(tx: Transaction, subject: str) -> None:
    """It went right."""
    await tx.execute("DELETE FROM login_failures WHERE subject = ?", subject)


async def take_back_failure(tx: Transaction, subject: str, at: float, before: float, aged: int) -> bool:
    """The one at ``at`` was none. If it still is the last, the last is again the one ``before``, and the ``aged`` that it made
    too old to count do count; else False."""
    changed = await tx.execute(
        "UPDATE login_failures SET failures = failures - 1 + ?, last_at = ? WHERE subject = ? AND last_at = ? AND failures > 0",
        aged, before, subject, at,
    )  # fmt: skip
    if changed == 0:
        await tx.execute("UPDATE login_failures SET failures = failures - 1 WHERE subject = ? AND failures > 0", subject)
    return changed == 1


async def insert_api_key(
    tx: Transaction, user_id: int, name: str, prefix: str, key_hash: str, scopes: str, now: float, expires: float | None
) -> int:
    """A new key's id."""
    row = await tx.row(
        "INSERT INTO api_keys (user_id, name, prefix, key_hash, scopes, created_at, expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
        user_id, name, prefix, key_hash, scopes, now, expires,
    )  # fmt: skip
    assert row is not None  # noqa: S101  RETURNING gives one
    return int(row["id"])


async def count_api_keys(tx: Transaction, user_id: int) -> int:
    """How many keys a user has that are not revoked."""
    row = await tx.row("SELECT count(*) AS number FROM api_keys WHERE user_id = ? AND revoked_at IS NULL", user_id)
    return int(row["number"]) if row else 0


async def list_api_keys(tx: Transaction, user_id: int) -> Sequence[Row]:
    """A user's keys that are not revoked."""
    return await tx.rows(
        "SELECT id, name, prefix, scopes, created_at, expires_at, last_used_at FROM api_keys"
        " WHERE user_id = ? AND revoked_at IS NULL ORDER BY id LIMIT 100",
        user_id,
    )


async def api_key_by_prefix(tx: Transaction, prefix: str) -> Row | None:
    """A key and its user."""
    return await tx.row(
        "SELECT k.id AS key_id, k.key_hash, k.scopes, k.expires_at, k.revoked_at, k.last_used_at,"
        " u.id, u.username, u.role, u.disabled"
        " FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.prefix = ?",
        prefix,
    )


async def touch_api_key(tx: Transaction, key_id: int, now: float) -> None:
    """It was used."""
    await tx.execute("UPDATE api_keys SET last_used_at = ? WHERE id = ?", now, key_id)


async def revoke_api_key(tx: Transaction, user_id: int, key_id: int, now: float) -> bool:
    """False if the user has no such key."""
    changed = await tx.execute(
        "UPDATE api_keys SET revoked_at = ? WHERE id = ? AND user_id = ? AND revoked_at IS NULL", now, key_id, user_id
    )
    return changed == 1
