"""``/api/auth``: login, refresh, logout, password, API keys."""

from control import audit
from control.auth import models, service
from control.auth.schemas import (
    ApiKey,
    ApiKeyCreate,
    ApiKeyCreated,
    ApiKeys,
    Credentials,
    Login,
    PasswordChange,
    Refresh,
)
from control.db import Row
from control.errors import ControlError, ErrorCode
from control.permissions import Permission
from control.ratelimit import Limit
from control.rest import Call, Domain
from control.schema import Message

auth = Domain("Authentication")


def _login(done: service.LoggedIn) -> Login:
    return Login(
        access_token=done.access_token,
        refresh_token=done.refresh_token,
        token_type="Bearer",  # noqa: S106 - a word
        expires_in=done.expires_in,
        success=True,
        token=done.access_token,
        userId=f"user_{done.user_id}",
        email=done.email,
        requires2FA=False,
    )


@auth.post(
    "/auth/login",
    permission=None,
    body=Credentials,
    answer=Login,
    limit=Limit.LOGIN,
    transaction=False,
    errors=(ErrorCode.UNAUTHORIZED, ErrorCode.RATE_LIMITED, ErrorCode.UNAVAILABLE),
)
async def log_in(call: Call, body: Credentials) -> Login:
    """Get an access token

    After five wrong passwords for an account, and after twenty from an address, the next try has to wait (429), the right
    password's too: a second after the last wrong one, and twice as long with each further one, up to 15 minutes. `Retry-After`
    and `X-RateLimit-Reset` say until when, `X-RateLimit-Limit` says how many wrong ones are free. After an hour without another
    they are forgotten. That is beside the limit of requests.
    """
    agent = call.request.headers.get("User-Agent", "")
    name = body.username or body.email
    return _login(await call.services.accounts.login(name, body.password, call.address, agent, call.request_id))


@auth.post(
    "/auth/refresh",
    permission=None,
    body=Refresh,
    answer=Login,
    limit=Limit.LOGIN,
    transaction=False,
    errors=(ErrorCode.UNAUTHORIZED,),
)
async def refresh(call: Call, body: Refresh) -> Login:
    """Get a fresh access token for a refresh token"""
    return _login(await call.services.accounts.refresh(body.refresh_token, call.address, call.request_id))


@auth.post("/auth/logout", permission=Permission.ACCOUNT, answer=Message)
async def log_out(call: Call) -> Message:
    """End this login: its tokens are worth nothing from now on"""
    call.require_login()
    await models.revoke_login(call.tx, call.actor.login_id, call.now)
    await audit.record(call, audit.Action.LOGOUT, "user", call.actor.user_id)
    call.after(call.services.accounts.forget)
    return Message(message="Logged out successfully")


@auth.post(
    "/auth/password", permission=Permission.ACCOUNT, body=PasswordChange, answer=Message, limit=Limit.LOGIN, transaction=False
)
async def change_password(call: Call, body: PasswordChange) -> Message:
    """Change the password: all logins end

    A wrong present one counts as it does where one logs in.
    """
    accounts = call.services.accounts
    call.require_login()
    async with call.services.db.read() as tx:
        user = await models.user_by_id(tx, call.actor.user_id)
    if user is None or not await accounts.is_password_of(user, body.current_password, call.address):
        raise ControlError(ErrorCode.FORBIDDEN, "The current password is wrong")
    hashed = await accounts.passwords.hash(body.new_password)
    await call.write(lambda: _set_password(call, user["id"], hashed))
    accounts.forget()
    return Message(message="Password changed successfully")


async def _set_password(call: Call, user_id: int, hashed: str) -> None:
    await models.update_user(call.tx, user_id, {"password_hash": hashed}, call.now)
    await models.end_generation(call.tx, user_id, call.now)
    await audit.record(call, audit.Action.PASSWORD_CHANGED, "user", user_id)


def _api_key(row: Row) -> ApiKey:
    return ApiKey(
        id=row["id"],
        name=row["name"],
        prefix=row["prefix"],
        scopes=row["scopes"].split(),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
    )


@auth.get("/auth/api-keys", permission=Permission.ACCOUNT, answer=ApiKeys)
async def list_keys(call: Call) -> ApiKeys:
    """List your API keys"""
    return ApiKeys(api_keys=[_api_key(row) for row in await models.list_api_keys(call.tx, call.actor.user_id)])


@auth.post(
    "/auth/api-keys",
    permission=Permission.ACCOUNT,
    body=ApiKeyCreate,
    answer=ApiKeyCreated,
    status=201,
    errors=(ErrorCode.CONFLICT,),
)
async def create_key(call: Call, body: ApiKeyCreate) -> ApiKeyCreated:
    """Make an API key: it is shown this once"""
    call.require_login()
    for scope in body.scopes:
        call.actor.require(scope)
    await models.hold_user(call.tx, call.actor.user_id)
    if await models.count_api_keys(call.tx, call.actor.user_id) >= service.MAX_API_KEYS:
        raise ControlError(ErrorCode.CONFLICT, f"Nobody has more than {service.MAX_API_KEYS} API keys: revoke one")
    key, prefix, hashed = service.new_api_key()
    expires = None if body.expires_in is None else call.now + body.expires_in
    scopes = sorted(scope.value for scope in body.scopes)
    number = await models.insert_api_key(
        call.tx, call.actor.user_id, body.name, prefix, hashed, " ".join(scopes), call.now, expires
    )
    await audit.record(call, audit.Action.API_KEY_CREATED, "api_key", number, scopes=scopes)
    return ApiKeyCreated(
        id=number,
        name=body.name,
        prefix=prefix,
        scopes=scopes,
        created_at=call.now,
        expires_at=expires,
        last_used_at=None,
        key=key,
    )


@auth.delete("/auth/api-keys/{key_id}", permission=Permission.ACCOUNT, answer=Message, errors=(ErrorCode.NOT_FOUND,))
async def revoke_key(call: Call) -> Message:
    """Revoke an API key"""
    number = call.id("key_id", "API key")
    if not await models.revoke_api_key(call.tx, call.actor.user_id, number, call.now):
        raise service.no_such_key(number)
    await audit.record(call, audit.Action.API_KEY_REVOKED, "api_key", number)
    call.after(call.services.accounts.forget)
    return Message(message="API key revoked successfully")
