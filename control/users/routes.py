"""``/api/users``."""

from collections.abc import Mapping, Sequence

from control import audit
from control.auth import models
from control.db import Conflict, Row
from control.errors import ControlError, ErrorCode, invalid, not_found
from control.permissions import Permission, Role
from control.rest import Call, Domain
from control.schema import Message, Page, changes
from control.streams import models as stream_rows
from control.users.schemas import User, UserCreate, Users, UserUpdate

users = Domain("Users")


def _user(row: Row) -> User:
    return User(
        id=row["id"],
        username=row["username"],
        email=row["email"],
        role=row["role"],
        enabled=not row["disabled"],
        created_at=row["created_at"],
        last_login=row["last_login"],
    )


#: What users may change of themselves here; a password takes the present one, at /auth/password.
_ONE_S_OWN = {"username", "email"}
#: What one logs in with.
_LOGIN = {"username", "email", "password"}


def _require_unless_self(call: Call, permission: Permission) -> None:
    """Raises ControlError where the user in the path is somebody else and ``permission`` is not given. Of oneself the operation
    has asked for it, or for that of one's own account."""
    if call.id("user_id", "User", "user") != call.actor.user_id:
        call.actor.require(permission)


def _require_login_above_user(call: Call, *roles: str) -> None:
    """An account above ``user`` could do what an API key's scopes keep it from, and outlive it. Raises ControlError (403)."""
    if set(roles) - {Role.USER.value}:
        call.require_login()


async def _found(call: Call) -> Row:
    number = call.id("user_id", "User", "user")
    row = await models.user_by_id(call.tx, number)
    if row is None:
        raise not_found("User", user_id=number)
    return row


@users.get("/users", permission=Permission.USERS_VIEW, query=Page, answer=Users)
async def list_users(call: Call, query: Page) -> Users:
    """List users"""
    rows = await models.list_users(call.tx, query.per_page, query.offset)
    total = await models.count_users(call.tx)
    return Users(users=[_user(row) for row in rows], total=total, page=query.page, per_page=query.per_page)


@users.get("/users/me", permission=Permission.ACCOUNT, answer=User)
async def show_self(call: Call) -> User:
    """Show yourself"""
    row = await models.user_by_id(call.tx, call.actor.user_id)
    if row is None:
        raise not_found("User")
    return _user(row)


@users.get(
    "/users/{user_id}",
    permission=Permission.ACCOUNT,
    instead=(Permission.USERS_VIEW,),
    answer=User,
    errors=(ErrorCode.NOT_FOUND,),
)
async def show_user(call: Call) -> User:
    """Show a user"""
    _require_unless_self(call, Permission.USERS_VIEW)
    return _user(await _found(call))


@users.post(
    "/users",
    permission=Permission.USERS,
    body=UserCreate,
    answer=User,
    status=201,
    transaction=False,
    errors=(ErrorCode.CONFLICT,),
)
async def create_user(call: Call, body: UserCreate) -> User:
    """Create a user

    With an API key it is one whose role is `user`: any other takes a login.
    """
    _require_login_above_user(call, body.role.value)
    hashed = await call.services.accounts.passwords.hash(body.password)
    return _user(await call.write(lambda: _insert(call, body, hashed)))


async def _insert(call: Call, body: UserCreate, hashed: str) -> Row:
    try:
        number = await models.insert_user(call.tx, body.username, body.email, hashed, body.role.value, call.now)
    except Conflict as conflict:
        raise _taken(conflict) from None
    await audit.record(call, audit.Action.USER_CREATED, "user", number, role=body.role.value)
    row = await models.user_by_id(call.tx, number)
    assert row is not None  # noqa: S101  just made
    return row


@users.put(
    "/users/{user_id}",
    permission=Permission.ACCOUNT,
    instead=(Permission.USERS,),
    body=UserUpdate,
    answer=User,
    transaction=False,
    errors=(ErrorCode.NOT_FOUND, ErrorCode.CONFLICT),
)
async def update_user(call: Call, body: UserUpdate) -> User:
    """Change a user: another role or password ends the user's logins, disabling also what the user publishes

    An API key enables and disables users whose role is `user`, and changes nothing else: that takes a login.
    """
    _require_unless_self(call, Permission.USERS)
    wanted = changes(body)
    if wanted.keys() - _ONE_S_OWN:
        call.actor.require(Permission.USERS)
    if wanted.keys() & _LOGIN:
        call.require_login()
    hashed = await call.services.accounts.passwords.hash(wanted.pop("password")) if "password" in wanted else ""
    fields = _columns(wanted, hashed)
    row = await call.write(lambda: _update(call, fields, sorted(wanted)))
    call.services.accounts.forget()
    return _user(row)


async def _update(call: Call, fields: Mapping[str, object], sent: Sequence[str]) -> Row:
    row = await _held(call)
    if fields:
        _require_login_above_user(call, row["role"], str(fields.get("role", row["role"])))
        try:
            await models.update_user(call.tx, row["id"], fields, call.now)
        except Conflict as conflict:
            raise _taken(conflict) from None
    await _keep_an_administrator(call)
    if any(fields.get(name, row[name]) != row[name] for name in ("role", "password_hash", "disabled")):
        await models.end_generation(call.tx, row["id"], call.now)
    if fields.get("disabled"):
        await _take_off_air(call, row["id"], "its owner was disabled")
    await audit.record(call, _action(fields, row), "user", row["id"], fields=sent)
    return await _found(call)


async def _held(call: Call) -> Row:
    """The user in the path, which nobody else changes now, nor any administrator; who did so before may have changed the one who
    asks."""
    await models.hold_administrators(call.tx)
    await call.confirm(call.tx)
    await models.hold_user(call.tx, call.id("user_id", "User", "user"))
    return await _found(call)


async def _take_off_air(call: Call, user_id: int, reason: str) -> None:
    """None of the user's streams is wanted any more, and what is on air ends."""
    stream_ids = await stream_rows.end_all_of(call.tx, user_id)
    call.after(lambda: call.services.conductor.stop_all(stream_ids, reason))


async def _keep_an_administrator(call: Call) -> None:
    """Raises ControlError where what was just done leaves nobody who could undo it."""
    if not await models.count_administrators(call.tx):
        raise ControlError(ErrorCode.CONFLICT, "The last administrator stays one")


def _columns(wanted: Mapping[str, object], hashed: str) -> dict[str, object]:
    """What was sent as columns."""
    fields = {name: value for name, value in wanted.items() if name in {"username", "email"}}
    role, enabled = wanted.get("role"), wanted.get("enabled")
    if isinstance(role, Role):
        fields["role"] = role.value
    if enabled is not None:
        fields["disabled"] = int(not enabled)
    if hashed:
        fields["password_hash"] = hashed
    return fields


def _action(fields: Mapping[str, object], before: Row) -> audit.Action:
    if fields.get("disabled", before["disabled"]) == before["disabled"]:
        return audit.Action.USER_UPDATED
    return audit.Action.USER_DISABLED if fields["disabled"] else audit.Action.USER_ENABLED


@users.delete("/users/{user_id}", permission=Permission.USERS, answer=Message, errors=(ErrorCode.NOT_FOUND, ErrorCode.CONFLICT))
async def delete_user(call: Call) -> Message:
    """Delete a user, and all that is the user's

    An API key deletes users whose role is `user`: any other takes a login.
    """
    if call.id("user_id", "User", "user") == call.actor.user_id:
        raise ControlError(ErrorCode.CONFLICT, "Nobody deletes the account that asks")
    row = await _held(call)
    _require_login_above_user(call, row["role"])
    await _take_off_air(call, row["id"], "its owner was deleted")
    await models.delete_user(call.tx, row["id"])
    await _keep_an_administrator(call)
    await audit.record(call, audit.Action.USER_DELETED, "user", row["id"])
    call.after(call.services.accounts.forget)
    return Message(message="User deleted successfully")


def _taken(conflict: Conflict) -> ControlError:
    # Both databases name the column, or what is named after it.
    faulty = "email" if "email_key" in str(conflict) else "username"
    return ControlError(ErrorCode.CONFLICT, f"A user with this {faulty} exists already", invalid(**{faulty: "is taken"}).details)
