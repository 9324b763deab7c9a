"""Users: who may do what to whom, and what an account must be; on SQLite and on PostgreSQL."""

import asyncio
import itertools

import asyncpg
import pytest

from control import db
from control.auth import models
from control.db import Deadlocked, Transaction
from control.permissions import TABLE, Actor, Permission, Role
from control.transactions import TRIES
from tests.control.conftest import OpenPanel
from tests.control.panel import PASSWORD, Panel, Person
from tests.control.test_held import blocked


@pytest.fixture
async def here(panel: OpenPanel) -> Panel:
    return await panel()


def new(name: str, **fields: object) -> dict[str, object]:
    return {"username": name, "email": f"{name}@example.com", "password": PASSWORD, "role": "user", **fields}


ADMINISTRATOR, MODERATOR, USER = Role.ADMINISTRATOR, Role.MODERATOR, Role.USER
#: Operation → who may, on whom: "all", "own" (oneself alone) or nobody.
MATRIX: dict[str, dict[Role, str]] = {
    "list": {ADMINISTRATOR: "all", MODERATOR: "all", USER: ""},
    "show": {ADMINISTRATOR: "all", MODERATOR: "all", USER: "own"},
    "create": {ADMINISTRATOR: "all", MODERATOR: "", USER: ""},
    "rename": {ADMINISTRATOR: "all", MODERATOR: "own", USER: "own"},
    "promote": {ADMINISTRATOR: "all", MODERATOR: "", USER: ""},
    "disable": {ADMINISTRATOR: "all", MODERATOR: "", USER: ""},
    "set password": {ADMINISTRATOR: "all", MODERATOR: "", USER: ""},
    "delete": {ADMINISTRATOR: "others", MODERATOR: "", USER: ""},
}


async def attempt(person: Person, what: str, number: int) -> int:
    requests = {
        "list": ("GET", "/api/users", None),
        "show": ("GET", f"/api/users/{number}", None),
        "create": ("POST", "/api/users", new("created")),
        "rename": ("PUT", f"/api/users/{number}", {"email": f"renamed{number}@example.com"}),
        "promote": ("PUT", f"/api/users/{number}", {"role": "administrator"}),
        "disable": ("PUT", f"/api/users/{number}", {"enabled": False}),
        "set password": ("PUT", f"/api/users/{number}", {"password": "another password"}),
        "delete": ("DELETE", f"/api/users/{number}", None),
    }
    method, path, body = requests[what]
    answer = await person.ask(method, path, json=body)
    if answer.status >= 400:
        assert answer.error["code"] in ("FORBIDDEN", "CONFLICT")
    return answer.status


@pytest.mark.parametrize(("what", "role"), list(itertools.product(MATRIX, Role)), ids=str)
async def test_who_may_do_what_to_whom(here: Panel, what: str, role: Role) -> None:
    other, _ = await here.person("other")
    own, person = await here.person("self", role)
    allowed = MATRIX[what][role]
    done = 201 if what == "create" else 200
    if what not in ("list", "create"):
        assert await attempt(person, what, other) == (done if allowed in ("all", "others") else 403)
    # The last: it may end the login.
    refused = 409 if allowed == "others" else 403
    assert await attempt(person, what, own) == (done if allowed in ("all", "own") else refused)


async def test_whether_a_user_exists_is_not_told_to_who_may_not_see_any(here: Panel) -> None:
    other, _ = await here.person("other")
    _, person = await here.person("self")
    answers = [await person.get(f"/api/users/{number}") for number in (other, 4711)]
    assert [answer.status for answer in answers] == [403, 403]
    assert answers[0].error["message"] == answers[1].error["message"]


async def test_nobody_asks_without_logging_in(here: Panel) -> None:
    for what in MATRIX:
        assert (what, await attempt_as_nobody(here, what)) == (what, 401)


async def attempt_as_nobody(here: Panel, what: str) -> int:
    try:
        return await attempt(here.nobody, what, 1)
    except AssertionError:
        return 401


def test_every_permission_is_an_administrator_s_and_every_role_has_a_row() -> None:
    assert TABLE[ADMINISTRATOR] == frozenset(Permission)
    assert TABLE[USER] < TABLE[MODERATOR] < TABLE[ADMINISTRATOR]
    assert not {p for p in TABLE[USER] if p.value.endswith("all")}
    assert not Actor(1, "x", ADMINISTRATOR, scopes=frozenset()).may(Permission.USERS)
    assert not Actor(1, "x", USER, scopes=frozenset(Permission)).may(Permission.USERS)


async def test_the_documented_fields_and_their_types(here: Panel) -> None:
    admin = await here.log_in()
    made = await admin.post("/api/users", json=new("newuser"))
    assert made.status == 201
    listed = (await admin.get("/api/users")).json
    assert set(listed) == {"users", "total", "page", "per_page"}
    user = listed["users"][1]
    assert user == made.json
    assert (user["username"], user["email"], user["role"], user["enabled"]) == ("newuser", "newuser@example.com", "user", True)
    assert user["created_at"].endswith("Z")
    assert user["last_login"] is None
    assert listed["users"][0]["last_login"] is not None
    assert not [word for word in str(listed) if PASSWORD in word or "argon2" in word]
    assert (await admin.get("/api/users/user_1")).json["id"] == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (new("straße"), new("STRASSE", email="other@example.com")),
        (new("first"), new("second", email="FIRST@Example.COM")),
        (new("Ångström"), new("A\u030angstro\u0308m", email="x@example.com")),
        (new("first"), new("Admin")),
    ],
)
async def test_names_and_addresses_that_look_alike_are_one(
    here: Panel, first: dict[str, object], second: dict[str, object]
) -> None:
    admin = await here.log_in()
    assert (await admin.post("/api/users", json=first)).status == 201
    answer = await admin.post("/api/users", json=second)
    assert answer.status in (409, 422)
    if answer.status == 409:
        assert answer.error["code"] == "CONFLICT"
        assert answer.fields
        number = (await admin.post("/api/users", json=new("third"))).json["id"]
        assert (await admin.put(f"/api/users/{number}", json={"email": first["email"]})).status == 409


async def test_what_is_taken_is_named(here: Panel) -> None:
    admin = await here.log_in()
    number = (await admin.post("/api/users", json=new("third", email="third@example.com"))).json["id"]
    for body, faulty in ((new("third", email="x@example.com"), "username"), (new("fifth", email="Third@example.com"), "email")):
        answer = await admin.post("/api/users", json=body)
        assert (answer.status, list(answer.fields)) == (409, [faulty])
    assert (await admin.post("/api/users", json=new("fourth"))).status == 201
    answer = await admin.put(f"/api/users/{number}", json={"email": "Fourth@example.com"})
    assert (answer.status, list(answer.fields)) == (409, ["email"])


async def test_a_put_changes_what_was_sent_and_nothing_else(here: Panel) -> None:
    admin = await here.log_in()
    before = (await admin.post("/api/users", json=new("someone"))).json
    here.clock.now += 100
    for body in ({"username": "renamed"}, {"email": "x@y.z"}, {"role": "moderator"}, {"enabled": False}, {}):
        answer = await admin.put(f"/api/users/{before['id']}", json=body)
        assert answer.status == 200
        assert answer.json == {**before, **body}
        before = answer.json
    assert (await admin.get(f"/api/users/{before['id']}")).json == before


async def test_the_last_administrator_stays_one(here: Panel) -> None:
    admin = await here.log_in()
    for body in ({"role": "user"}, {"role": "moderator"}, {"enabled": False}):
        answer = await admin.put("/api/users/1", json=body)
        assert (answer.status, answer.error["code"]) == (409, "CONFLICT")
    assert (await admin.delete("/api/users/1")).status == 409
    number, second = await here.person("second", ADMINISTRATOR)
    assert (await admin.put("/api/users/1", json={"role": "user"})).status == 200
    assert (await second.put(f"/api/users/{number}", json={"enabled": False})).status == 409
    assert (await second.delete("/api/users/1")).status == 200


@pytest.mark.parametrize("what", ["demote", "delete", "disable"])
async def test_two_administrators_who_remove_each_other_do_not_both_succeed(here: Panel, what: str) -> None:
    number, second = await here.person("second", ADMINISTRATOR)
    first = await here.log_in()
    for person in (first, second):
        assert (await person.get("/api/users/me")).status == 200  # known: nothing is looked up again

    async def remove(person: Person, victim: int) -> int:
        path = f"/api/users/{victim}"
        if what == "delete":
            return (await person.delete(path)).status
        return (await person.put(path, json={"role": "user"} if what == "demote" else {"enabled": False})).status

    statuses = await asyncio.gather(remove(first, number), remove(second, 1))
    assert sorted(statuses) in ([200, 401], [200, 409], [200, 403])
    async with here.control.db.read() as tx:
        left = await tx.rows("SELECT id FROM users WHERE role = 'administrator' AND disabled = 0")
    assert len(left) == 1


async def test_deleting_a_user_ends_all_that_was_the_user_s(here: Panel) -> None:
    number, person = await here.person("gone")
    key = (await person.post("/api/auth/api-keys", json={"name": "k"})).json["key"]
    admin = await here.log_in()
    assert (await admin.delete(f"/api/users/{number}")).json == {"message": "User deleted successfully"}
    assert (await person.get("/api/users/me")).status == 401
    assert (await here.nobody.get("/api/users/me", headers={"X-API-Key": key})).status == 401
    assert (await admin.delete(f"/api/users/{number}")).status == 404
    async with here.control.db.read() as tx:
        for table in ("logins", "api_keys"):
            assert await tx.rows(f"SELECT id FROM {table} WHERE user_id = ?", number) == []


async def test_a_key_neither_makes_nor_changes_nor_deletes_anybody_above_a_user(here: Panel) -> None:
    """Who is an administrator would be one when the key is revoked, and could do what it has no scope for."""
    moderator, _ = await here.person("moderator", MODERATOR)
    someone, _ = await here.person("someone")
    admin = await here.log_in()
    made = await admin.post("/api/auth/api-keys", json={"name": "k", "scopes": ["users", "account"]})
    key = Person(here, made.json["key"])
    before = (await admin.get("/api/users")).json
    refused = [await key.post("/api/users", json=new(role, role=role)) for role in ("administrator", "moderator")]
    refused.append(await key.delete(f"/api/users/{moderator}"))
    for change in ({"role": "administrator"}, {"role": "user"}, {"enabled": False}, {"enabled": True}):
        refused += [await key.put(f"/api/users/{number}", json=change) for number in (1, moderator)]
    refused += [await key.put(f"/api/users/{someone}", json={"role": role}) for role in ("administrator", "moderator")]
    assert {(answer.status, answer.error["code"]) for answer in refused} == {(403, "FORBIDDEN")}
    assert (await admin.get("/api/users")).json == before
    assert (await key.post("/api/users", json=new("provisioned"))).status == 201
    for enabled in (False, True):
        assert (await key.put(f"/api/users/{someone}", json={"enabled": enabled, "role": "user"})).json["enabled"] is enabled
    assert (await key.delete(f"/api/users/{someone}")).status == 200


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_who_waits_in_a_circle_with_another_is_served_after_it(
    panel: OpenPanel, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "LOCKED", 60.0)  # the circle is seen first
    here = await panel()
    number, _ = await here.person("gone")
    admin = await here.log_in()
    other = await asyncpg.connect(database_url)
    hold = "UPDATE users SET updated_at = updated_at WHERE id = $1"
    await other.execute("SET deadlock_timeout = '1h'")  # it is not the one that is given up
    hold_user, tries = models.hold_user, list[asyncio.Task[str]]()

    async def close_the_circle(tx: Transaction, user_id: int) -> None:
        if user_id == number and not tries:
            # The deletion holds every administrator.
            tries.append(asyncio.create_task(other.execute(f"{hold}; COMMIT".replace("$1", "1"))))
            await blocked(here)
        await hold_user(tx, user_id)

    monkeypatch.setattr(models, "hold_user", close_the_circle)
    await other.execute("BEGIN")
    await other.execute(hold, number)
    assert (await admin.delete(f"/api/users/{number}")).json == {"message": "User deleted successfully"}
    await tries[0]
    assert (await admin.get("/api/users")).json["total"] == 1
    await other.close()


@pytest.mark.parametrize("given_up", [1, TRIES])
async def test_what_the_database_gives_up_is_tried_again_and_not_for_ever(
    here: Panel, monkeypatch: pytest.MonkeyPatch, given_up: int
) -> None:
    number, _ = await here.person("gone")
    admin = await here.log_in()
    delete, conductor = models.delete_user, (await here.services()).conductor
    tries, ended = list[int](), list[str]()

    async def fail(tx: Transaction, user_id: int) -> None:
        tries.append(user_id)
        if len(tries) <= given_up:
            raise Deadlocked("in favour of another")
        await delete(tx, user_id)

    async def stop_all(_: object, reason: str) -> None:
        ended.append(reason)

    monkeypatch.setattr(models, "delete_user", fail)
    monkeypatch.setattr(conductor, "stop_all", stop_all)
    answer = await admin.delete(f"/api/users/{number}")
    if given_up < TRIES:
        assert (answer.status, len(tries), len(ended)) == (200, given_up + 1, 1)
        assert (await admin.get("/api/audit?per_page=1")).json["entries"][0]["action"] == "user.deleted"
    else:
        assert (answer.status, len(tries), len(ended)) == (503, TRIES, 0)
        assert (await admin.get(f"/api/users/{number}")).status == 200


async def test_a_list_is_bounded_and_stands_where_it_was_asked(here: Panel) -> None:
    admin = await here.log_in()
    for number in range(12):
        await admin.post("/api/users", json=new(f"user{number}"))
    first, second = [(await admin.get(f"/api/users?page={page}")).json for page in (1, 2)]
    assert [len(page["users"]) for page in (first, second)] == [10, 3]
    assert (second["total"], second["page"], second["per_page"]) == (13, 2, 10)
    assert len((await admin.get("/api/users?per_page=100")).json["users"]) == 13
    assert (await admin.get("/api/users?page=1000000")).json["users"] == []
    for query in ("per_page=101", "per_page=0", "page=0", "page=-1", "page=1000001", "page=x", "page=", "page=1.5"):
        answer = await admin.get(f"/api/users?{query}")
        assert (query, answer.status, answer.fields) == (query, 422, {query.partition("=")[0]})


BAD = [
    ({"username": "a"}, {"username"}),
    ({"username": "a" * 65}, {"username"}),
    ({"username": "with space"}, {"username"}),
    ({"username": "new\nline"}, {"username"}),
    ({"username": "bidi\u202e"}, {"username"}),
    ({"username": 7}, {"username"}),
    ({"username": None}, {"username"}),
    ({"email": "no address"}, {"email"}),
    ({"email": "a@b@c"}, {"email"}),
    ({"email": "x" * 320 + "@y"}, {"email"}),
    ({"password": "short"}, {"password"}),
    ({"password": "x" * 1025}, {"password"}),
    ({"role": "root"}, {"role"}),
    ({"role": ["administrator"]}, {"role"}),
    ({"id": 1}, {"id"}),
    ({"password_hash": "x", "generation": 3, "disabled": 0}, {"password_hash", "generation", "disabled"}),
    ({"username": "a", "email": "b", "password": "c", "role": "d", "x": 1}, {"username", "email", "password", "role", "x"}),
]


@pytest.mark.parametrize(("change", "named"), BAD)
async def test_every_faulty_field_is_named(here: Panel, change: dict[str, object], named: set[str]) -> None:
    admin = await here.log_in()
    answer = await admin.post("/api/users", json=new("fine") | change)
    assert (answer.status, answer.error["code"]) == (422, "VALIDATION_ERROR")
    assert answer.fields == named


async def test_what_is_missing_is_named_too(here: Panel) -> None:
    admin = await here.log_in()
    assert (await admin.post("/api/users", json={})).fields == {"username", "email", "password"}


@pytest.mark.parametrize(
    "number", ["0", "-1", "999", "9223372036854775807", "9223372036854775808", "1" * 100, "x", "1e3", "٣", "%00"]
)
async def test_an_id_beyond_all_ids_is_not_found(here: Panel, number: str) -> None:
    admin = await here.log_in()
    for method in ("GET", "PUT", "DELETE"):
        answer = await admin.ask(method, f"/api/users/{number}", json={} if method == "PUT" else None)
        assert (answer.status, answer.error["code"]) == (404, "NOT_FOUND")


async def test_a_key_for_users_enables_and_disables_them_and_one_that_views_them_shows_them(here: Panel) -> None:
    number, _ = await here.person("someone")
    admin = await here.log_in()
    path, keys = f"/api/users/{number}", {}
    for scopes in (["users"], ["users:view"], ["account"], ["streams"]):
        made = await admin.post("/api/auth/api-keys", json={"name": "key", "scopes": scopes})
        keys[scopes[0]] = Person(here, made.json["key"])
    assert (await keys["users"].put(path, json={"enabled": False})).json["enabled"] is False
    assert (await keys["users"].put(path, json={"enabled": True})).json["enabled"] is True
    assert (await keys["users:view"].get(path)).json["username"] == "someone"
    for scope, method, wanted in (
        ("users", "GET", "account or users:view"),
        ("users:view", "PUT", "account or users"),
        ("account", "GET", "users:view"),
        ("account", "PUT", "users"),
        ("streams", "GET", "account or users:view"),
    ):
        answer = await keys[scope].ask(method, path, json={"enabled": False} if method == "PUT" else None)
        assert (answer.status, answer.error["details"]) == (403, {"permission": wanted}), (scope, method)
