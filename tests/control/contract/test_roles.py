"""Who may do what to whose things: every operation, for every role, API key and token that is none, on own and others' things.

The table is written by hand; what the code says of itself is not asked.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from control.api import DOMAINS
from control.permissions import Permission
from tests.control.contract.conftest import SECRET
from tests.control.contract.things import Owner, good_body, make, make_user
from tests.control.panel import PASSWORD, Answer, Panel, Person

ROLES = ("administrator", "moderator", "user")


@dataclass(frozen=True)
class Row:
    """Statuses for an administrator, a moderator and a user, on their own thing and on another's (empty: there is none).

    ``scope`` is what an API key must have, empty where nobody is asked who he is. ``narrow`` is what another's thing is to an
    administrator's key with that scope alone. ``instead``: a scope that is as good, for another's thing too. ``login``: no API
    key can.
    """

    scope: str
    own: str
    others: str = ""
    narrow: int = 404
    instead: str = ""
    login: bool = False


TABLE: Mapping[str, Row] = {
    "POST /auth/login": Row("", "200 200 200"),
    "POST /auth/refresh": Row("", "200 200 200"),
    "POST /auth/logout": Row("account", "200 200 200", login=True),
    "POST /auth/password": Row("account", "200 200 200", login=True),
    "GET /auth/api-keys": Row("account", "200 200 200"),
    "POST /auth/api-keys": Row("account", "201 201 201", login=True),
    "DELETE /auth/api-keys/{key_id}": Row("account", "200 200 200", "404 404 404"),
    "GET /users": Row("users:view", "200 200 403"),
    "GET /users/me": Row("account", "200 200 200"),
    "GET /users/{user_id}": Row("account", "200 200 200", "200 200 403", narrow=403, instead="users:view"),
    "POST /users": Row("users", "201 403 403"),
    "PUT /users/{user_id}": Row("account", "200 200 200", "200 403 403", narrow=403, login=True),
    "DELETE /users/{user_id}": Row("users", "409 403 403", "200 403 403", narrow=200),
    "GET /streams": Row("streams", "200 200 200"),
    "POST /streams": Row("streams", "201 201 201"),
    "GET /streams/{stream_id}": Row("streams", "200 200 200", "200 200 404"),
    "PUT /streams/{stream_id}": Row("streams", "200 200 200", "200 403 404"),
    "DELETE /streams/{stream_id}": Row("streams", "200 200 200", "200 403 404"),
    "POST /streams/{stream_id}/start": Row("streams", "200 200 200", "200 403 404"),
    "POST /streams/{stream_id}/stop": Row("streams", "200 200 200", "200 200 404"),
    "GET /streams/{stream_id}/status": Row("streams", "200 200 200", "200 200 404"),
    "GET /streams/{stream_id}/stats": Row("streams", "200 200 200", "200 200 404"),
    "GET /destinations": Row("destinations", "200 200 200"),
    "POST /destinations": Row("destinations", "201 201 201"),
    "GET /destinations/{destination_id}": Row("destinations", "200 200 200", "200 404 404"),
    "PUT /destinations/{destination_id}": Row("destinations", "200 200 200", "200 404 404"),
    "DELETE /destinations/{destination_id}": Row("destinations", "200 200 200", "200 404 404"),
    "GET /rtmp/status": Row("rtmp:view", "200 200 200"),
    "POST /rtmp/start": Row("rtmp", "200 403 403"),
    "POST /rtmp/stop": Row("rtmp", "200 403 403"),
    "POST /rtmp/auth": Row("", "200 200 200"),
    "GET /analytics/dashboard": Row("analytics", "200 200 200"),
    "GET /analytics/streams/{stream_id}": Row("analytics", "200 200 200", "200 200 404"),
    "GET /system/status": Row("system", "200 200 200"),
    "GET /system/health": Row("system", "200 200 200"),
    "GET /webhooks": Row("webhooks", "200 200 200"),
    "POST /webhooks": Row("webhooks", "201 201 201"),
    "GET /webhooks/{webhook_id}": Row("webhooks", "200 200 200", "404 404 404"),
    "PUT /webhooks/{webhook_id}": Row("webhooks", "200 200 200", "404 404 404"),
    "DELETE /webhooks/{webhook_id}": Row("webhooks", "200 200 200", "404 404 404"),
    "POST /webhooks/{webhook_id}/secret": Row("webhooks", "200 200 200", "404 404 404"),
    "GET /webhooks/{webhook_id}/deliveries": Row("webhooks", "200 200 200", "404 404 404"),
    "GET /webhooks/{webhook_id}/deliveries/{delivery_id}": Row("webhooks", "200 200 200", "404 404 404"),
    "POST /webhooks/{webhook_id}/deliveries/{delivery_id}/replay": Row("webhooks", "201 201 201", "404 404 404"),
    "GET /events": Row("streams", "200 200 200"),
    "GET /audit": Row("audit", "200 403 403"),
}
OPERATIONS = [f"{operation.method} {operation.path}" for domain in DOMAINS for operation in domain.operations]
#: After these a login is over.
ENDING = ("POST /auth/logout", "POST /auth/password")
CODES = {401: {"UNAUTHORIZED"}, 403: {"FORBIDDEN"}, 404: {"NOT_FOUND", "STREAM_NOT_FOUND"}, 409: {"CONFLICT"}}


def test_every_operation_has_a_row() -> None:
    assert set(TABLE) == set(OPERATIONS)
    assert {row.scope for row in TABLE.values() if row.scope} <= {permission.value for permission in Permission}


async def attempt(panel: Panel, who: Person, operation: str, owner: Owner) -> Answer:
    """``who`` does it to a new thing of ``owner``."""
    method, path = operation.split(" ")
    innermost = re.findall(r"\{(\w+)\}", path)[-1:]
    ids: dict[str, int] = {}
    for parameter in innermost:
        ids = await make(panel, owner, parameter)
    options: dict[str, Any] = {}
    if operation == "POST /rtmp/auth":
        options["data"] = {"name": "anything", "secret": SECRET}
    elif (body := good_body(operation, owner)) is not None:
        options["json"] = body
    # A GET of what never ends: its head says as much.
    method = "HEAD" if operation == "GET /events" else method
    answer = await who.ask(method, "/api" + path.format(**ids), **options)
    if method != "HEAD" and answer.status in CODES:
        assert answer.error["code"] in CODES[answer.status], answer
    return answer


async def key_of(owner: Owner, *scopes: str) -> Person:
    """A program with an API key."""
    answer = await owner.person.post("/api/auth/api-keys", json={"name": "key", "scopes": list(scopes)})
    assert answer.status == 201, answer
    return Person(owner.person.panel, answer.json["key"])


async def owner_of(panel: Panel, role: str) -> Owner:
    return await make_user(panel, role)


@pytest.mark.parametrize("role", ROLES)
async def test_what_each_role_may_do_to_its_own_things_and_to_others(here: Panel, role: str) -> None:
    column = ROLES.index(role)
    actor, victim = await owner_of(here, role), await make_user(here)
    seen, wanted = {}, {}
    for operation, row in TABLE.items():
        wanted[operation] = row.own.split()[column]
        seen[operation] = str((await attempt(here, actor.person, operation, actor)).status)
        if operation in ENDING:
            actor = await owner_of(here, role)
        if row.others:
            wanted[f"another's: {operation}"] = row.others.split()[column]
            seen[f"another's: {operation}"] = str((await attempt(here, actor.person, operation, victim)).status)
            if operation.startswith("DELETE /users"):
                victim = await make_user(here)
    assert seen == wanted


@pytest.mark.parametrize("role", ROLES)
async def test_an_api_key_may_what_its_user_may_but_log_out_and_make_keys(here: Panel, role: str) -> None:
    column = ROLES.index(role)
    actor = await owner_of(here, role)
    key = await key_of(actor)
    seen, wanted = {}, {}
    for operation, row in TABLE.items():
        wanted[operation] = "403" if row.login else row.own.split()[column]
        seen[operation] = str((await attempt(here, key, operation, actor)).status)
    assert seen == wanted


@pytest.mark.parametrize("scope", [permission.value for permission in Permission])
async def test_a_key_with_one_scope_does_what_that_names_and_nothing_else(here: Panel, scope: str) -> None:
    """An administrator's: all that keeps it from anything is its scope."""
    actor, victim = await owner_of(here, "administrator"), await make_user(here)
    key = await key_of(actor, scope)
    seen, wanted = {}, {}
    for operation, row in TABLE.items():
        named = scope in (row.scope or scope, row.instead) and not row.login
        wanted[operation] = row.own.split()[0] if named else "403"
        seen[operation] = str((await attempt(here, key, operation, actor)).status)
        if row.others:
            # Things of others take another scope, but where a whole right is about others.
            wanted[f"another's: {operation}"] = (
                row.others.split()[0] if scope == row.instead else str(row.narrow) if named else "403"
            )
            seen[f"another's: {operation}"] = str((await attempt(here, key, operation, victim)).status)
            if operation.startswith("DELETE /users") and named:
                victim = await make_user(here)
    assert seen == wanted


async def test_a_key_has_no_more_scopes_than_its_user_has_rights(here: Panel) -> None:
    actor = await make_user(here)
    for permission in Permission:
        answer = await actor.person.post("/api/auth/api-keys", json={"name": "key", "scopes": [permission.value]})
        mine = permission.value in ("streams", "destinations", "analytics", "webhooks", "account", "rtmp:view", "system")
        assert answer.status == (201 if mine else 403), permission


async def test_who_is_nobody_or_nobody_any_more_may_do_nothing(here: Panel) -> None:
    """No token, one that is none, was changed, has expired, was logged out or revoked, or whose user is disabled or deleted."""
    expired = (await make_user(here)).person
    doomed = await make_user(here)
    short = await doomed.person.post("/api/auth/api-keys", json={"name": "short", "expires_in": 60})
    here.clock.now += 3700
    disabled, deleted, gone = await make_user(here), await make_user(here), await make_user(here)
    nobodies = {
        "no token": here.nobody,
        "no token at all": Person(here, "x"),
        "changed": Person(here, gone.person.token[:-2] + ("AA" if gone.person.token[-2:] != "AA" else "BB")),
        "expired": expired,
        "expired key": Person(here, short.json["key"]),
        "of a disabled user": disabled.person,
        "key of a disabled user": await key_of(disabled),
        "of a deleted user": deleted.person,
        "key of a deleted user": await key_of(deleted),
        "logged out": gone.person,
        "revoked key": await key_of(gone),
        "refresh token": Person(here, gone.person.login["refresh_token"]),
    }
    admin = await here.log_in()
    keys = (await gone.person.get("/api/auth/api-keys")).json["api_keys"]
    assert (await gone.person.delete(f"/api/auth/api-keys/{keys[0]['id']}")).status == 200
    assert (await gone.person.post("/api/auth/logout")).status == 200
    assert (await admin.put(f"/api/users/{disabled.user_id}", json={"enabled": False})).status == 200
    assert (await admin.delete(f"/api/users/{deleted.user_id}")).status == 200
    owner = await make_user(here)
    seen, wanted = {}, {}
    for operation, row in TABLE.items():
        if operation == "POST /auth/refresh":
            continue  # a refresh token is used once: see below
        things = {name: await attempt(here, person, operation, owner) for name, person in nobodies.items()}
        for name, answer in things.items():
            wanted[f"{name}: {operation}"] = 401 if row.scope else 200
            seen[f"{name}: {operation}"] = answer.status
            assert answer.status != 401 or answer.headers["WWW-Authenticate"] == "Bearer"
    assert seen == wanted
    for former in (disabled, deleted, gone):
        again = await here.nobody.post("/api/auth/refresh", json={"refresh_token": former.person.login["refresh_token"]})
        assert again.status == 401
    name = (await admin.get(f"/api/users/{disabled.user_id}")).json["username"]
    login = await here.nobody.post("/api/auth/login", json={"username": name, "password": PASSWORD})
    assert login.status == 401


async def test_what_is_another_s_is_not_told_from_what_is_not_there(here: Panel) -> None:
    """But for its number, which whoever asked knows."""
    actor, victim = await make_user(here), await make_user(here)
    for operation, row in TABLE.items():
        if not row.others or row.others.split()[2] != "404":
            continue
        method, path = operation.split(" ")
        ids = await make(here, victim, re.findall(r"\{(\w+)\}", path)[-1])
        options = {} if (body := good_body(operation, actor)) is None else {"json": body}
        there = await actor.person.ask(method, "/api" + path.format(**ids), **options)
        absent = await actor.person.ask(method, "/api" + path.format(**dict.fromkeys(ids, 4711)), **options)
        told = [_without_numbers(answer.error) for answer in (there, absent)]
        assert told[0] == told[1], operation


def _without_numbers(error: dict[str, Any]) -> Any:
    kept = {name: value for name, value in error.items() if name not in ("timestamp", "requestId")}
    return re.sub(r"\d+", "N", str(kept))


async def test_a_stream_s_destination_is_its_owner_s_whoever_makes_it(here: Panel) -> None:
    admin, owner = await make_user(here, "administrator"), await make_user(here)
    stream = (await make(here, owner, "stream_id"))["stream_id"]
    body = {"name": "There", "platform": "twitch"}
    one = await admin.person.post("/api/destinations", json=body | {"stream_id": stream})
    two = await admin.person.put(f"/api/streams/{stream}", json={"destinations": [body, body | {"name": "There too"}]})
    assert (one.status, two.status) == (201, 200)
    mine = (await owner.person.get("/api/destinations")).json
    assert {destination["name"] for destination in mine["destinations"]} == {"There", "There too"}
    assert (await admin.person.get("/api/destinations")).json["total"] == 0
    other = await make_user(here)
    refused = await other.person.post("/api/destinations", json=body | {"stream_id": stream})
    assert (refused.status, refused.error["code"]) == (404, "STREAM_NOT_FOUND")


async def test_a_key_is_its_owner_s(here: Panel) -> None:
    """Another's key is a conflict, one's own is shared by streams in turn; deleted with its last stream, it is free."""
    owner, other = await make_user(here), await make_user(here)
    body = {"name": "Show", "input_url": "rtmp://localhost/live/the_same_key_of_two"}
    first, second = [(await owner.person.post("/api/streams", json=body)).json["id"] for _ in range(2)]
    taken = await other.person.post("/api/streams", json=body)
    assert (taken.status, taken.error["code"], taken.fields) == (409, "CONFLICT", {"input_url"})
    own = (await make(here, other, "stream_id"))["stream_id"]
    moved = await other.person.put(f"/api/streams/{own}", json={"input_url": body["input_url"]})
    assert (moved.status, moved.error["code"]) == (409, "CONFLICT")
    await owner.person.post(f"/api/streams/{first}/start")
    await owner.person.post(f"/api/streams/{second}/start")
    states = [(await owner.person.get(f"/api/streams/{number}")).json["status"] for number in (first, second)]
    assert states == ["stopped", "starting"]
    await owner.person.delete(f"/api/streams/{first}")
    assert (await other.person.post("/api/streams", json=body)).status == 409
    await owner.person.post(f"/api/streams/{second}/stop")
    elsewhere = await owner.person.put(
        f"/api/streams/{second}", json={"input_url": "rtmp://localhost/live/another_key_of_theirs"}
    )
    assert elsewhere.status == 200
    assert (await other.person.post("/api/streams", json=body)).status == 201
