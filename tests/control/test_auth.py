"""Logging in, staying logged in, and everything that must not work; on SQLite and on PostgreSQL."""

import asyncio
import base64
import contextlib
import hmac
import json
import math
import threading
import time
import warnings
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Literal, TypeVar

import jwt
import pytest
from argon2 import PasswordHasher

from control.auth import passwords as hashing
from control.auth import service
from control.auth.passwords import Busy, Passwords
from control.auth.service import Accounts
from control.auth.tokens import BadToken, Purpose, Tokens
from control.db import Database
from control.permissions import Role
from control.plane import ControlPlane, open_control
from control.secret import server_secret
from mediaserver.config import Config
from tests.control.conftest import OpenPanel
from tests.control.panel import ADMIN, PASSWORD, Panel
from tests.control.test_held import blocked

T = TypeVar("T")


@pytest.fixture
async def here(panel: OpenPanel) -> Panel:
    return await panel()


async def rows(panel: Panel, sql: str, *values: object) -> list[dict[str, Any]]:
    async with panel.control.db.read() as tx:
        return [dict(row) for row in await tx.rows(sql, *values)]


# -- login -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "who", [{"username": "Jörg"}, {"username": "jörg@example.com"}, {"email": "JÖRG@EXAMPLE.COM"}, {"email": "jo\u0308rg"}]
)
async def test_login_by_name_or_address_in_either_field(here: Panel, who: dict[str, str]) -> None:
    await here.person("jörg")
    answer = await here.nobody.post("/api/auth/login", json={**who, "password": PASSWORD})
    assert answer.status == 200
    told = answer.json
    assert (told["token_type"], told["expires_in"], told["success"], told["requires2FA"]) == ("Bearer", 3600, True, False)
    assert told["token"] == told["access_token"]
    assert told["email"] == "jörg@example.com"
    assert told["userId"].startswith("user_")
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("name", "password"), [(ADMIN, "wrong"), ("nobody", PASSWORD), (ADMIN, PASSWORD + " "), ("admin'--", PASSWORD)]
)
async def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(here: Panel, name: str, password: str) -> None:
    answer = await here.nobody.post("/api/auth/login", json={"username": name, "password": password})
    assert answer.status == 401
    assert (answer.error["code"], answer.error["message"]) == ("UNAUTHORIZED", "Invalid username or password")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("name", [ADMIN, "nobody"])
async def test_a_password_is_checked_whoever_it_is_for(here: Panel, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []
    passwords = (await here.services()).accounts.passwords
    verify = passwords._matches
    monkeypatch.setattr(passwords, "_matches", lambda *given: checked.append(given) or verify(*given))
    await here.nobody.post("/api/auth/login", json={"username": name, "password": "wrong"})
    assert len(checked) == 1
    assert checked[0][0].startswith("$argon2id$")


async def test_disabling_a_user_ends_what_he_has_and_keeps_him_out(here: Panel) -> None:
    number, user = await here.person("someone")
    admin = await here.log_in()
    assert (await user.get("/api/users/me")).status == 200
    assert (await admin.put(f"/api/users/{number}", json={"enabled": False})).status == 200
    assert (await user.get("/api/users/me")).status == 401
    refreshed = await here.nobody.post("/api/auth/refresh", json={"refresh_token": user.login["refresh_token"]})
    assert refreshed.status == 401
    answer = await here.nobody.post("/api/auth/login", json={"username": "someone", "password": PASSWORD})
    assert (answer.status, answer.error["message"]) == (401, "Invalid username or password")
    assert (await admin.put(f"/api/users/{number}", json={"enabled": True})).status == 200
    assert (await user.get("/api/users/me")).status == 401  # the old login stays ended
    await here.log_in("someone")


async def test_a_header_of_broken_bytes_is_no_mistake_of_the_server(here: Panel) -> None:
    odd = b"\xff\xfe\x80 agent".decode("utf-8", "surrogateescape")
    await here.log_in(headers={"User-Agent": odd})
    for header in ("Authorization", "X-API-Key"):
        answer = await here.nobody.get("/api/users/me", headers={header: f"Bearer {odd}"})
        assert answer.status == 401
        assert answer.error["code"] == "UNAUTHORIZED"


# -- brute force -------------------------------------------------------------------------------------------------------


async def guess(panel: Panel, name: str = ADMIN, password: str = "wrong", address: str = "198.51.100.7") -> Any:
    return await panel.nobody.post(
        "/api/auth/login", json={"username": name, "password": password}, headers={"X-Forwarded-For": address}
    )


PROXIED = {"trusted_proxies": ["127.0.0.1"]}


async def test_guesses_at_an_account_are_slowed_from_wherever_they_come(panel: OpenPanel) -> None:
    here = await panel(http=PROXIED)
    for number in range(service.FREE_FAILURES):
        # A name and an address of mail are one account.
        answer = await guess(here, (ADMIN, "admin@localhost")[number % 2], address=f"198.51.100.{number}")
        assert answer.status == 401
    waits = []
    for number in range(12):
        answer = await guess(here, password=PASSWORD, address=f"198.51.100.{100 + number}")
        assert answer.status == 429  # the right password too: it tells nothing
        assert answer.error["code"] == "RATE_LIMITED"
        waits.append(int(answer.headers["Retry-After"]))
        here.clock.now += waits[-1]
        assert (await guess(here, address=f"198.51.100.{200 + number}")).status == 401
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]


async def test_who_has_to_wait_is_told_of_the_limit_that_refuses(panel: OpenPanel) -> None:
    """And not of the operation's, from which there is something left."""
    here = await panel(http=PROXIED)
    for _ in range(service.FREE_FAILURES + 3):
        answer = await guess(here)
        if answer.status == 429:
            here.clock.now += int(answer.headers["Retry-After"])
            answer = await guess(here)
        assert answer.status == 401
    refused = await guess(here, password=PASSWORD)
    reset = math.ceil(here.clock.now + 8)
    told = {
        name: refused.headers[name] for name in ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After")
    }
    assert list(told.values()) == [str(service.FREE_FAILURES), "0", str(reset), "8"]
    assert refused.error["message"] == "Too many wrong passwords for this account"
    assert refused.error["details"] == {"limit": service.FREE_FAILURES, "reset": reset, "retry_after": 8}
    for number in range(service.FREE_FAILURES_OF_ADDRESS):
        await guess(here, f"user{number}", address="198.51.100.99")
    refused = await guess(here, "another", address="198.51.100.99")
    assert refused.headers["X-RateLimit-Limit"] == str(service.FREE_FAILURES_OF_ADDRESS)
    assert refused.error["message"] == "Too many wrong passwords from this address"
    here.clock.now += 900
    assert (await guess(here, password=PASSWORD)).status == 200
    assert (await guess(here)).status == 401  # forgiven: it costs nothing again
    assert (await guess(here, password=PASSWORD)).status == 200


async def test_guesses_at_names_that_do_not_exist_are_slowed_alike(panel: OpenPanel) -> None:
    here = await panel(http=PROXIED)
    statuses = [(await guess(here, "nobody", address=f"198.51.100.{n}")).status for n in range(service.FREE_FAILURES + 1)]
    assert statuses == [401] * service.FREE_FAILURES + [429]


@pytest.mark.parametrize("network", ["203.0.113.9", "2001:db8:1:2::{}"])
async def test_guesses_from_an_address_are_slowed_whatever_they_are_at(panel: OpenPanel, network: str) -> None:
    here = await panel(http=PROXIED)
    statuses = [
        (await guess(here, f"user{number}", address=network.format(number + 1))).status
        for number in range(service.FREE_FAILURES_OF_ADDRESS + 1)
    ]
    assert statuses == [401] * service.FREE_FAILURES_OF_ADDRESS + [429]
    # Somebody else, and from another address, comes in.
    assert (await guess(here, password=PASSWORD, address="2001:db8:1:3::1")).status == 200


async def test_many_guesses_at_once_are_as_many_as_one_after_another(panel: OpenPanel) -> None:
    here = await panel(http=PROXIED)
    answers = await asyncio.gather(*(guess(here, address=f"198.51.100.{number}") for number in range(20)))
    assert sorted(answer.status for answer in answers) == [401] * service.FREE_FAILURES + [429] * (20 - service.FREE_FAILURES)


async def test_logging_in_to_an_account_of_one_s_own_does_not_free_the_address(panel: OpenPanel) -> None:
    here = await panel(http=PROXIED)
    await here.person("mine")
    for number in range(service.FREE_FAILURES_OF_ADDRESS):
        assert (await guess(here, f"user{number}")).status == 401
        if not number % 4:
            assert (await guess(here, "mine", PASSWORD)).status in (200, 429)
    assert (await guess(here, "victim")).status == 429


async def test_a_guess_is_forgotten_after_a_while(panel: OpenPanel) -> None:
    here = await panel(http=PROXIED)
    for _ in range(service.FREE_FAILURES):
        await guess(here)
    assert (await guess(here)).status == 429
    here.clock.now += service.FORGET + 1
    assert (await guess(here)).status == 401
    assert [row["failures"] for row in await rows(here, "SELECT failures FROM login_failures")] == [1, 1]


async def test_the_present_password_cannot_be_guessed_with_a_stolen_token(here: Panel) -> None:
    _, user = await here.person("victim")
    statuses = [
        (await user.post("/api/auth/password", json={"current_password": "wrong", "new_password": "something else"})).status
        for _ in range(service.FREE_FAILURES + 1)
    ]
    assert statuses == [403] * service.FREE_FAILURES + [429]


@pytest.mark.parametrize("trusted", [[], ["10.0.0.0/8"]])
async def test_a_forwarded_address_of_somebody_who_is_not_trusted_counts_for_nothing(
    panel: OpenPanel, trusted: list[str]
) -> None:
    here = await panel(http={"trusted_proxies": trusted})
    for number in range(service.FREE_FAILURES_OF_ADDRESS):
        await guess(here, f"user{number}", address=f"198.51.100.{number}")
    assert (await guess(here, "another", address="203.0.113.50")).status == 429
    assert {row["address"] for row in await rows(here, "SELECT address FROM audit_log")} == {"127.0.0.1"}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_address_on_a_second_line_of_a_proxy_counts(panel: OpenPanel) -> None:
    here = await panel(http=PROXIED)
    headers = [("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-For", "203.0.113.9")]
    async with here.client.post("/api/auth/login", json={"username": "x", "password": "y"}, headers=headers) as response:
        assert response.status == 401
    assert {row["address"] for row in await rows(here, "SELECT address FROM audit_log")} == {"203.0.113.9"}


# -- tokens ------------------------------------------------------------------------------------------------------------


def part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forgeries(panel: Panel, good: str) -> dict[str, str]:
    """Tokens of which none may work."""
    head, body, signature = good.split(".")
    claims = jwt.decode(good, options={"verify_signature": False})
    secret = panel.control.vault.token_key
    now = int(panel.clock.now)

    def signed(key: bytes = secret, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **changed: Any) -> str:
        kept = {name: value for name, value in {**claims, **changed}.items() if value is not ...}
        with warnings.catch_warnings(action="ignore"):  # of keys that are too short
            return jwt.encode(kept, key, algorithm, headers=headers)

    empty = base64.urlsafe_b64encode(hmac.digest(b"", f"{head}.{body}".encode(), "sha256")).rstrip(b"=").decode()
    return {
        "none": f"{part({'alg': 'none', 'typ': 'JWT'})}.{body}.",
        "None": f"{part({'alg': 'None', 'typ': 'JWT'})}.{body}.{signature}",
        "no signature": f"{head}.{body}.",
        "two parts": f"{head}.{body}",
        "changed claims": f"{head}.{part({**claims, 'sub': '2'})}.{signature}",
        "another algorithm": signed(algorithm="HS512"),
        "another key": signed(b"x" * 32),
        "the secret from which the key comes": signed(server_secret("", Path(panel.config.server.data_dir))),
        "the empty key": f"{head}.{body}.{empty}",
        "another key by kid": signed(b"x" * 32, headers={"kid": "../../dev/null"}),
        "its own key": signed(b"x" * 32, headers={"jwk": {"kty": "oct", "k": "eHh4"}, "jku": "http://127.0.0.1/"}),
        "expired": signed(exp=now - 1),
        "expires now": signed(exp=now),
        "no exp": signed(exp=...),
        "no subject": signed(sub=...),
        "no login": signed(sid=...),
        "no generation": signed(gen=...),
        "no issuer": signed(iss=...),
        "another issuer": signed(iss="somebody"),
        "another audience": signed(aud="somebody"),
        "a pending one": signed(use="pending"),
        "of no use": signed(use=...),
        "another user": signed(sub="4711"),
        "another login": signed(sid="x"),
        "another generation": signed(gen=99),
        "odd types": signed(gen="[]", exp="soon"),
        "infinite": signed(exp=float("inf")),
        "not yet": signed(nbf=now + 10_000_000_000),
        "a key that is none": "msk_0123456789ab_" + "A" * 43,
        "a key of odd shape": "msk_",
        "long": "x" * 6000,
        "dots": "..",
    }


async def test_no_forged_token_works(here: Panel) -> None:
    admin = await here.log_in()
    assert (await admin.get("/api/users/me")).status == 200
    for what, token in forgeries(here, admin.token).items():
        answer = await here.nobody.get("/api/users/me", headers={"Authorization": f"Bearer {token}"})
        assert (what, answer.status) == (what, 401)
        assert answer.error["code"] == "UNAUTHORIZED"
        assert token[:40] not in json.dumps(answer.json) or what == "dots"


async def test_a_token_ends_when_it_says_even_if_it_was_used_a_moment_before(here: Panel) -> None:
    admin = await here.log_in()
    here.clock.now += 3600 - 1
    assert (await admin.get("/api/users/me")).status == 200
    here.clock.now += 1
    assert (await admin.get("/api/users/me")).status == 401


async def test_a_token_of_a_node_whose_clock_is_ahead_is_taken() -> None:
    tokens = Tokens(b"x" * 32, 60)
    assert tokens.read(tokens.issue(1, "login", 0, now=105.0), now=100.0).login_id == "login"
    with pytest.raises(BadToken):
        tokens.read(tokens.issue(1, "login", 0, now=40.0), now=100.0)
    assert tokens.read(tokens.issue(1, "", 0, 0.0, Purpose.PENDING), 1.0).purpose is Purpose.PENDING


async def test_without_a_token_nobody_is_let_in_and_other_schemes_are_nobody(here: Panel) -> None:
    for headers in ({}, {"Authorization": "Basic YWRtaW46YWRtaW4="}, {"Authorization": "Bearer"}, {"X-API-Key": ""}):
        answer = await here.nobody.get("/api/users/me", headers=headers)
        assert (answer.status, answer.error["code"]) == (401, "UNAUTHORIZED")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_logging_out_ends_the_login_at_once_and_no_other(here: Panel) -> None:
    one, other = await here.log_in(), await here.log_in()
    assert (await one.get("/api/users/me")).status == 200
    assert (await one.post("/api/auth/logout")).status == 200
    assert (await one.get("/api/users/me")).status == 401
    gone = await here.nobody.post("/api/auth/refresh", json={"refresh_token": one.login["refresh_token"]})
    assert gone.status == 401
    assert (await other.get("/api/users/me")).status == 200


async def test_what_was_looked_up_before_a_logout_is_not_believed_after_it(here: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = await here.log_in()
    accounts, looked, ended = (await here.services()).accounts, asyncio.Event(), asyncio.Event()
    look_up = accounts._look_up

    async def slow(token: str, now: float) -> Any:
        found = await look_up(token, now)
        looked.set()
        await ended.wait()
        return found

    monkeypatch.setattr(accounts, "_look_up", slow)
    asking = asyncio.create_task(accounts.authenticate(admin.token))
    await looked.wait()
    accounts.forget()
    ended.set()
    await asking
    assert not accounts._known


async def refresh(panel: Panel, token: str) -> Any:
    return await panel.nobody.post("/api/auth/refresh", json={"refresh_token": token})


async def test_a_refresh_token_works_once_and_gives_a_fresh_pair(here: Panel) -> None:
    admin = await here.log_in()
    here.clock.now += 4000
    assert (await admin.get("/api/users/me")).status == 401
    first = await refresh(here, admin.login["refresh_token"])
    assert first.status == 200
    assert first.json["refresh_token"] != admin.login["refresh_token"]
    admin.token = first.json["access_token"]
    assert (await admin.get("/api/users/me")).status == 200
    assert (await refresh(here, first.json["refresh_token"])).status == 200


@pytest.mark.parametrize("generations", [1, 3])
async def test_a_refresh_token_that_was_used_ends_the_login_however_old_it_is(here: Panel, generations: int) -> None:
    admin = await here.log_in()
    stolen = newest = admin.login["refresh_token"]
    for _ in range(generations):
        answer = await refresh(here, newest)
        newest = answer.json["refresh_token"]
    admin.token = answer.json["access_token"]
    assert (await admin.get("/api/users/me")).status == 200
    assert (await refresh(here, stolen)).status == 401
    assert (await refresh(here, newest)).status == 401
    assert (await admin.get("/api/users/me")).status == 401
    assert [row["action"] for row in await rows(here, "SELECT action FROM audit_log WHERE action = 'token.reused'")]


async def test_of_two_who_refresh_at_once_one_at_most_succeeds_and_the_login_ends(here: Panel) -> None:
    admin = await here.log_in()
    answers = await asyncio.gather(*(refresh(here, admin.login["refresh_token"]) for _ in range(6)))
    assert sorted(answer.status for answer in answers) == [200] + [401] * 5
    winner = next(answer for answer in answers if answer.status == 200)
    assert (await refresh(here, winner.json["refresh_token"])).status == 401


async def test_guessing_at_a_refresh_token_ends_nobody_s_login(here: Panel) -> None:
    admin = await here.log_in()
    login_id, family, secret = admin.login["refresh_token"].split(".")
    for forged in (login_id, f"{login_id}.x.{secret}", f"x.{family}.{secret}", f"{login_id}.{family}.{secret}.", ".", "é.ü.ö"):
        assert (await refresh(here, forged)).status == 401
    assert (await refresh(here, admin.login["refresh_token"])).status == 200


async def test_a_login_that_is_not_refreshed_ends(here: Panel) -> None:
    admin = await here.log_in()
    here.clock.now += service.LOGIN_TTL
    assert (await refresh(here, admin.login["refresh_token"])).status == 401
    await here.log_in()
    assert len(await rows(here, "SELECT id FROM logins")) <= 2


async def test_a_new_password_ends_every_login(here: Panel) -> None:
    _, user = await here.person("someone")
    other = await here.log_in("someone")
    wrong = await user.post("/api/auth/password", json={"current_password": "wrong", "new_password": "another password"})
    assert wrong.status == 403
    done = await user.post("/api/auth/password", json={"current_password": PASSWORD, "new_password": "another password"})
    assert done.status == 200
    for person in (user, other):
        assert (await person.get("/api/users/me")).status == 401
        assert (await refresh(here, person.login["refresh_token"])).status == 401
    assert (await here.nobody.post("/api/auth/login", json={"username": "someone", "password": PASSWORD})).status == 401
    await here.log_in("someone", "another password")


async def test_another_role_ends_the_logins_and_the_same_one_does_not(here: Panel) -> None:
    number, user = await here.person("someone")
    admin = await here.log_in()
    await admin.put(f"/api/users/{number}", json={"role": "user", "enabled": True})
    assert (await user.get("/api/users/me")).status == 200
    await admin.put(f"/api/users/{number}", json={"role": "moderator"})
    assert (await user.get("/api/users/me")).status == 401


# -- API keys ----------------------------------------------------------------------------------------------------------


async def test_an_api_key_is_shown_once_and_kept_as_a_hash(here: Panel) -> None:
    admin = await here.log_in()
    made = await admin.post("/api/auth/api-keys", json={"name": "ci"})
    assert made.status == 201
    key = made.json["key"]
    listed = await admin.get("/api/auth/api-keys")
    assert [row["prefix"] for row in listed.json["api_keys"]] == [made.json["prefix"]]
    assert "key" not in listed.json["api_keys"][0]
    kept = json.dumps([await rows(here, "SELECT * FROM api_keys"), await rows(here, "SELECT * FROM audit_log")])
    assert key not in kept
    assert key.rpartition(made.json["prefix"])[2] not in kept
    for headers in ({"Authorization": f"Bearer {key}"}, {"X-API-Key": key}):
        assert (await here.nobody.get("/api/users/me", headers=headers)).json["username"] == ADMIN
    listed = await admin.get("/api/auth/api-keys")
    assert listed.json["api_keys"][0]["last_used_at"] is not None


async def test_scopes_narrow_a_key_and_never_widen_its_user(here: Panel) -> None:
    _, user = await here.person("someone")
    refused = await user.post("/api/auth/api-keys", json={"name": "wide", "scopes": ["users"]})
    assert (refused.status, refused.error["code"]) == (403, "FORBIDDEN")
    admin = await here.log_in()
    made = await admin.post("/api/auth/api-keys", json={"name": "narrow", "scopes": ["users:view"]})
    narrow = {"X-API-Key": made.json["key"]}
    assert (await here.nobody.get("/api/users", headers=narrow)).status == 200
    for method, path, body in (
        ("GET", "/api/users/me", None),
        ("POST", "/api/users", {"username": "evil", "email": "e@x.y", "password": PASSWORD}),
        ("POST", "/api/auth/api-keys", {"name": "child"}),
        ("GET", "/api/auth/api-keys", None),
    ):
        assert (await here.nobody.ask(method, path, json=body, headers=narrow)).status == 403


async def test_a_key_for_streams_sends_none_of_them_elsewhere(here: Panel) -> None:
    """Destinations of a stream are destinations."""
    admin = await here.log_in()
    headers = {"X-API-Key": (await admin.post("/api/auth/api-keys", json={"name": "k", "scopes": ["streams"]})).json["key"]}
    stream = {"name": "show", "input_url": "rtmp://localhost:1935/live/a-key-that-nobody-knows"}
    evil = {"destinations": [{"name": "evil", "platform": "custom", "rtmp_url": "rtmp://192.0.2.7/a", "stream_key": "k"}]}
    assert (await here.nobody.post("/api/streams", json=stream | evil, headers=headers)).status == 403
    number = (await here.nobody.post("/api/streams", json=stream, headers=headers)).json["id"]
    for change in (evil, {"destinations": []}):
        answer = await here.nobody.put(f"/api/streams/{number}", json=change, headers=headers)
        assert (answer.status, answer.error["details"]) == (403, {"permission": "destinations"})
    assert (await here.nobody.put(f"/api/streams/{number}", json={"name": "other"}, headers=headers)).status == 200


async def test_a_key_changes_nothing_that_one_logs_in_with(here: Panel) -> None:
    number, _ = await here.person("someone")
    admin = await here.log_in()
    made = await admin.post("/api/auth/api-keys", json={"name": "key"})
    headers = {"X-API-Key": made.json["key"]}
    for whose in (1, number):
        for change in ({"username": "taken-over"}, {"email": "evil@x.y"}, {"password": "another password"}):
            answer = await here.nobody.put(f"/api/users/{whose}", json=change, headers=headers)
            assert (answer.status, answer.error["code"]) == (403, "FORBIDDEN"), (whose, change)
    assert (await here.nobody.put(f"/api/users/{number}", json={"enabled": True}, headers=headers)).status == 200
    await here.log_in("someone")


@pytest.mark.parametrize("scopes", [[], ["account"]])
async def test_a_key_makes_no_key_and_changes_no_password_and_does_not_log_out(here: Panel, scopes: list[str]) -> None:
    admin = await here.log_in()
    made = await admin.post("/api/auth/api-keys", json={"name": "key", "scopes": scopes, "expires_in": 60})
    headers = {"X-API-Key": made.json["key"]}
    for path, body in (
        ("/api/auth/api-keys", {"name": "child", "scopes": scopes}),
        ("/api/auth/password", {"current_password": PASSWORD, "new_password": "another password"}),
        ("/api/auth/logout", None),
    ):
        answer = await here.nobody.post(path, json=body, headers=headers)
        assert (path, answer.status) == (path, 403)


async def test_a_key_ends_with_its_time_its_revocation_and_its_user(here: Panel) -> None:
    number, user = await here.person("someone")
    keys = [(await user.post("/api/auth/api-keys", json={"name": "k", **extra})).json for extra in ({"expires_in": 60}, {}, {})]

    async def works(key: dict[str, Any]) -> bool:
        return (await here.nobody.get("/api/users/me", headers={"X-API-Key": key["key"]})).status == 200

    assert [await works(key) for key in keys] == [True, True, True]
    here.clock.now += 60
    assert [await works(key) for key in keys] == [False, True, True]
    assert (await user.delete(f"/api/auth/api-keys/{keys[1]['id']}")).status == 200
    assert [await works(key) for key in keys] == [False, False, True]
    assert (await user.delete(f"/api/auth/api-keys/{keys[1]['id']}")).status == 404
    admin = await here.log_in()
    await admin.put(f"/api/users/{number}", json={"enabled": False})
    assert [await works(key) for key in keys] == [False, False, False]


async def test_nobody_sees_or_revokes_the_keys_of_another(here: Panel) -> None:
    _, user = await here.person("someone")
    key = (await user.post("/api/auth/api-keys", json={"name": "mine"})).json
    admin = await here.log_in()
    assert (await admin.get("/api/auth/api-keys")).json == {"api_keys": []}
    assert (await admin.delete(f"/api/auth/api-keys/{key['id']}")).status == 404
    assert (await here.nobody.get("/api/users/me", headers={"X-API-Key": key["key"]})).status == 200


async def test_nobody_has_keys_without_end(here: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_API_KEYS", 3)
    admin = await here.log_in()
    statuses = [(await admin.post("/api/auth/api-keys", json={"name": "k"})).status for _ in range(4)]
    assert statuses == [201, 201, 201, 409]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_nobody_has_more_keys_for_asking_at_once(here: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_API_KEYS", 3)
    admin = await here.log_in()
    async with here.control.db.write() as tx:
        await tx.execute("SELECT 1 FROM users FOR UPDATE")
        asking = [asyncio.create_task(admin.post("/api/auth/api-keys", json={"name": "k"})) for _ in range(5)]
        await blocked(here, 5)
    assert sorted([(await answer).status for answer in asking]) == [201, 201, 201, 409, 409]
    assert len((await admin.get("/api/auth/api-keys")).json["api_keys"]) == 3


# -- passwords ---------------------------------------------------------------------------------------------------------


class Slow(PasswordHasher):
    """Takes until the loop has seen that it is at work."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.loop = asyncio.get_running_loop()
        self.begun, self.seen = asyncio.Event(), threading.Event()

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.wait()
        return super().hash(password, salt=salt)

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - so it is called there
        self.wait()
        return super().verify(hash, password)

    def wait(self) -> None:
        self.loop.call_soon_threadsafe(self.begun.set)
        assert self.seen.wait(20), "the loop stands still"

    async def while_it_works(self, work: Awaitable[T]) -> T:
        self.seen.clear()
        self.begun.clear()
        working = asyncio.ensure_future(work)
        await self.begun.wait()
        self.seen.set()
        return await working


async def test_a_password_is_hashed_off_the_loop() -> None:
    slow = Slow()
    with contextlib.closing(Passwords(slow)) as passwords:
        hashed = await slow.while_it_works(passwords.hash("secret"))
        assert await slow.while_it_works(passwords.verify(hashed, "secret"))


async def test_too_many_passwords_at_once_are_an_answer_and_no_queue_without_end(
    here: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "MAX_WAITING", 0)
    answer = await here.nobody.post("/api/auth/login", json={"username": ADMIN, "password": PASSWORD})
    assert (answer.status, answer.error["code"], answer.headers["Retry-After"]) == (503, "UNAVAILABLE", "5")


async def test_a_password_that_nobody_had_time_to_check_was_no_wrong_one(
    panel: OpenPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = await panel(http=PROXIED)
    admin = await here.log_in()
    with monkeypatch.context() as patched:
        patched.setattr(hashing, "MAX_WAITING", 0)
        for _ in range(service.FREE_FAILURES_OF_ADDRESS):
            assert (await guess(here, password=PASSWORD)).status == 503
        change = {"current_password": PASSWORD, "new_password": "another password"}
        assert (await admin.post("/api/auth/password", json=change)).status == 503
    assert sum(row["failures"] for row in await rows(here, "SELECT failures FROM login_failures")) == 0
    assert (await guess(here, password=PASSWORD)).status == 200


def test_what_is_kept_is_argon2id_with_the_parameters_of_rfc_9106() -> None:
    hasher = PasswordHasher()
    assert hasher.type.name == "ID"
    assert (hasher.time_cost, hasher.memory_cost, hasher.parallelism) == (3, 65536, 4)
    with pytest.raises(Busy):
        raise Busy


async def test_a_weaker_hash_becomes_a_stronger_one_at_the_next_login(here: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = (await here.services()).accounts.passwords
    before = (await rows(here, "SELECT password_hash FROM users"))[0]["password_hash"]
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=2, memory_cost=16, parallelism=1))
    await here.log_in()
    after = (await rows(here, "SELECT password_hash FROM users"))[0]["password_hash"]
    assert "m=8,t=1" in before
    assert "m=16,t=2" in after
    await here.log_in()


# -- the first start ---------------------------------------------------------------------------------------------------


def configured(folder: Path, url: str, **auth: str) -> Config:
    return Config.model_validate({"server": {"data_dir": str(folder)}, "database": {"url": url}, "auth": auth})


def accounts_of(control: ControlPlane, passwords: Passwords) -> Accounts:
    return Accounts(control.db, Tokens(control.vault.token_key, 3600.0), passwords)


async def test_the_first_start_makes_an_administrator_and_tells_the_password_until_it_was_used(
    database_url: str, tmp_path: Path, passwords: Passwords
) -> None:
    config = configured(tmp_path, database_url)
    told = []
    for _ in range(2):
        async with open_control(config, passwords) as control:
            told.append(control.new_password)
    assert told[0]
    assert told[0] == told[1]
    async with open_control(config, passwords) as control:
        done = await accounts_of(control, passwords).login("admin", told[0], "127.0.0.1", "", "")
        assert done.role == Role.ADMINISTRATOR.value
    async with open_control(config, passwords) as control:
        assert control.new_password == ""


async def test_a_configured_password_is_taken_and_never_told(database_url: str, tmp_path: Path, passwords: Passwords) -> None:
    config = configured(tmp_path, database_url, admin_username="chief", admin_password="geheim")
    async with open_control(config, passwords) as control:
        assert control.new_password == ""
        assert (await accounts_of(control, passwords).login("chief", "geheim", "127.0.0.1", "", "")).username == "chief"
    async with open_control(configured(tmp_path, database_url), passwords) as control:
        assert control.new_password == ""


async def test_two_nodes_that_start_at_once_make_one_administrator(
    database_url: str, tmp_path: Path, passwords: Passwords
) -> None:
    config = configured(tmp_path, database_url)

    async def start() -> str:
        async with open_control(config, passwords) as control:
            async with control.db.read() as tx:
                assert len(await tx.rows("SELECT id FROM users")) == 1
            return control.new_password

    told = set(await asyncio.gather(*(start() for _ in range(3))))
    assert len(told - {""}) == 1


def test_the_server_s_secret_is_made_once_and_is_nobody_else_s(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first = server_secret("", folder)
    assert len(first) == 32
    assert server_secret("", folder) == first
    assert [file.name for file in folder.iterdir()] == ["secret.key"]
    assert (folder / "secret.key").stat().st_mode & 0o777 == 0o600
    assert server_secret("c" * 32, folder) == b"c" * 32


@pytest.mark.parametrize("broken", ["", "zz", "00ff", "ü" * 64])
def test_a_broken_secret_is_told_and_never_used(tmp_path: Path, broken: str) -> None:
    (tmp_path / "secret.key").write_text(broken)
    with pytest.raises(ValueError, match=r"secret\.key is broken"):
        server_secret("", tmp_path)
    with pytest.raises(ValueError, match="32 bytes"):
        server_secret("short", tmp_path)


async def test_everything_that_changes_who_may_is_in_the_audit_log(here: Panel, database: Database) -> None:
    number, user = await here.person("someone")
    await here.nobody.post("/api/auth/login", json={"username": "someone", "password": "wrong"})
    key = (await user.post("/api/auth/api-keys", json={"name": "k"})).json
    await user.delete(f"/api/auth/api-keys/{key['id']}")
    await user.post("/api/auth/password", json={"current_password": PASSWORD, "new_password": "another password"})
    admin = await here.log_in()
    await admin.put(f"/api/users/{number}", json={"enabled": False})
    await admin.delete(f"/api/users/{number}")
    await admin.post("/api/auth/logout")
    log = await rows(here, "SELECT * FROM audit_log ORDER BY id")
    assert [row["action"] for row in log] == [
        "login", "user.created", "login", "login.failed", "api_key.created", "api_key.revoked", "password.changed", "login",
        "user.disabled", "user.deleted", "logout",
    ]  # fmt: skip
    assert all(row["request_id"].startswith("req_") and row["address"] for row in log)
    assert abs(log[-1]["at"] - here.clock.now) < 1
    kept = json.dumps(log)
    assert not [secret for secret in (PASSWORD, "another password", key["key"], user.token) if secret in kept]
    assert time.time() != here.clock.now
