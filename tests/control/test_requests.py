"""What any request meets on its way in, whatever it is for: prefixes, methods, broken bodies, other origins, faults below."""

import asyncio
import gzip
import io
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from control import db
from control.app import MAX_BODY
from control.rest import PREFIXES
from tests.control.conftest import OpenPanel
from tests.control.panel import PASSWORD, Panel
from tests.control.test_db import locked

LOGIN = "/api/auth/login"


@pytest.fixture
async def here(panel: OpenPanel) -> Panel:
    return await panel()


one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@one_database
@pytest.mark.parametrize("prefix", PREFIXES)
async def test_every_prefix_is_the_same_api(here: Panel, prefix: str) -> None:
    assert set(PREFIXES) == {"/api", "/api/v1", "/v1/api", "/api/v1/api"}
    answer = await here.nobody.post(f"{prefix}/auth/login", json={"username": "admin", "password": PASSWORD})
    assert answer.status == 200
    headers = {"Authorization": f"Bearer {answer.json['access_token']}"}
    assert (await here.nobody.get(f"{prefix}/users/me", headers=headers)).json["username"] == "admin"
    assert (await here.nobody.get(f"{prefix}/users/me")).error["code"] == "UNAUTHORIZED"
    assert (await here.nobody.get(f"{prefix}/nothing/here")).error["code"] == "NOT_FOUND"


@one_database
async def test_a_method_that_an_address_does_not_take_is_told_with_those_that_it_does(here: Panel) -> None:
    answer = await here.nobody.delete("/api/users")
    assert (answer.status, answer.error["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert set(answer.headers["Allow"].replace(" ", "").split(",")) == {"GET", "HEAD", "POST"}


@one_database
async def test_head_is_get_without_a_body(here: Panel) -> None:
    admin = await here.log_in()
    get, head = await admin.get("/api/users"), await admin.ask("HEAD", "/api/users")
    assert (head.status, head.headers["Content-Length"]) == (200, get.headers["Content-Length"])


BROKEN: dict[str, bytes] = {
    "nothing in it": b"",
    "a space": b" ",
    "half": b'{"username": "admin", "password": ',
    "a comma too many": b'{"username": "admin", "password": "x",}',
    "single quotes": b"{'username': 'admin', 'password': 'x'}",
    "two of them": b'{"username": "a", "password": "x"}{}',
    "a comment": b'{"username": "a", /* */ "password": "x"}',
    "a list": b"[]",
    "a word": b'"admin"',
    "a number": b"1",
    "null": b"null",
    "NaN": b'{"username": "a", "password": NaN}',
    "Infinity": b"Infinity",
    "no UTF-8": b'{"username": "\xff\xfe", "password": "x"}',
    "UTF-16": '{"username": "a", "password": "x"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"username": "a", "password": "x"}',
    "a raw control character": b'{"username": "a\x01", "password": "x"}',
    "a raw NUL": b'{"username": "a\x00", "password": "x"}',
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"username":' * 10_000 + b"1" + b"}" * 10_000,
    "deep and whole": b'{"username": "a", "password": "x", "y": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "a number without end": b'{"username": ' + b"9" * 100_000 + b', "password": "x"}',
    "a float without end": b'{"username": 1e999, "password": "x"}',
    "a form": b"username=admin&password=x",
}


@one_database
@pytest.mark.parametrize("what", BROKEN)
async def test_broken_json_of_every_kind_is_a_4xx_in_the_documented_shape(here: Panel, what: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await here.nobody.post(LOGIN, data=BROKEN[what], headers=headers)
    assert (answer.status, answer.error["code"]) == (422, "VALIDATION_ERROR")
    assert answer.fields


ODD: dict[str, tuple[str, str]] = {
    "a NUL": (r'{"username": "ad\u0000min", "password": "x"}', "username"),
    "a NUL in a name": (r'{"username": "admin", "password": "x", "a\u0000": 1}', "body"),
    "half a surrogate pair": (r'{"username": "\ud800", "password": "x"}', "body"),
    "the other half": (r'{"username": "\udc00x", "password": "x"}', "body"),
    "a name twice": ('{"username": "admin", "password": "x", "password": "y"}', "password"),
    "a number for a word": ('{"username": 1, "password": true}', "username"),
    "an unknown field": ('{"username": "admin", "password": "x", "role": "administrator"}', "role"),
    "__proto__": ('{"username": "admin", "password": "x", "__proto__": {}}', "__proto__"),
}


@pytest.mark.parametrize("what", ODD)
async def test_json_that_cannot_be_kept_or_means_nothing_is_refused(here: Panel, what: str) -> None:
    text, field = ODD[what]
    answer = await here.nobody.post(LOGIN, data=text, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.error["code"]) == (422, "VALIDATION_ERROR")
    assert field in answer.fields


@one_database
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", "x"]
)
async def test_a_body_of_another_type_is_refused(here: Panel, kind: str) -> None:
    answer = await here.nobody.post(LOGIN, data=b"{}", headers={"Content-Type": kind})
    assert (answer.status, answer.error["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


@one_database
@pytest.mark.parametrize("size", [MAX_BODY + 1, 3 << 20])
async def test_a_huge_body_is_refused(here: Panel, size: int) -> None:
    text = json.dumps({"username": "a", "password": "x" * size}).encode()
    answer = await here.nobody.post(LOGIN, data=io.BytesIO(text), headers={"Content-Type": "application/json"})
    assert (answer.status, answer.error["code"]) == (413, "TOO_LARGE")


@one_database
async def test_a_small_body_that_unpacks_to_a_huge_one_or_to_nothing_is_refused(
    here: Panel, caplog: pytest.LogCaptureFixture
) -> None:
    bomb = gzip.compress(b" " * (16 << 20), 1)
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = await here.nobody.post(LOGIN, data=bomb, headers=headers)
    assert (answer.status, answer.error["code"]) == (413, "TOO_LARGE")
    with caplog.at_level(logging.INFO):
        answer = await here.nobody.post(LOGIN, data=b"this is no gzip", headers=headers)
    assert (answer.status, answer.fields) == (422, {"body"})
    assert not caplog.records


@one_database
async def test_many_faults_are_told_within_bounds(here: Panel) -> None:
    text = json.dumps({"username": "a", "password": "x", **{f"{n}-" + "field" * 20: n for n in range(1000)}})
    answer = await here.nobody.post(LOGIN, data=text, headers={"Content-Type": "application/json"})
    assert answer.status == 422
    assert len(answer.fields) == 100
    assert max(map(len, answer.fields)) <= 100


@pytest.mark.parametrize(
    "query",
    [
        "page=1&page=2",
        "nothing=1",
        "page=1%00",
        "page=%ff",
        "page=NaN",
        "per_page=1e2",
        "page=%F0%9F%98%80",
        "&".join(f"a{n}=1" for n in range(200)),
    ],
)
async def test_a_broken_query_is_a_422(here: Panel, query: str) -> None:
    admin = await here.log_in()
    answer = await admin.get(f"/api/users?{query}")
    assert (answer.status, answer.error["code"]) == (422, "VALIDATION_ERROR")
    assert answer.fields


@one_database
async def test_nothing_of_a_secret_is_told_back(here: Panel, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "control")
    secret = "canary-4711-canary"
    for body in ({"username": "a", "password": secret, "x": secret}, {"username": {"a": secret}, "password": [secret]}):
        answer = await here.nobody.post(LOGIN, json=body)
        assert answer.status == 422
        assert secret not in json.dumps(answer.json)
    await here.nobody.post(LOGIN, json={"username": "a", "password": secret})
    assert secret not in caplog.text


# -- heads ------------------------------------------------------------------------------------------------------------


async def first_bytes(panel: Panel, request: bytes) -> bytes:
    """What comes back for these bytes, until the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", panel.client.port)
    writer.write(request)
    async with asyncio.timeout(30):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@one_database
@pytest.mark.parametrize("line", [b"OPTIONS *", b"CONNECT a:1", b"GET http://x", b"GET http://x?"])
async def test_a_target_without_a_path_is_no_mistake_of_ours(here: Panel, line: bytes, caplog: pytest.LogCaptureFixture) -> None:
    answer = await first_bytes(here, line + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 ")
    assert int(answer[9:12]) < 500
    assert "Traceback" not in caplog.text


@one_database
async def test_an_expectation_that_nobody_knows_is_passed_over(here: Panel) -> None:
    head = b"HTTP/1.1\r\nHost: x\r\nExpect: banana\r\nConnection: close\r\n\r\n"
    answer = await first_bytes(here, b"GET /api/users/me " + head)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b'"UNAUTHORIZED"' in answer
    assert (await first_bytes(here, b"GET /api/nothing " + head)).startswith(b"HTTP/1.1 417 ")


@one_database
async def test_who_waits_to_be_asked_for_the_body_is_asked_for_it(here: Panel) -> None:
    body = b'{"username": "admin", "password": "wrong"}'
    head = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    answer = await first_bytes(here, head + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 ")


# -- faults below ------------------------------------------------------------------------------------------------------


@one_database
async def test_a_database_that_is_locked_for_too_long_is_a_503_in_the_documented_shape(
    panel: OpenPanel, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "LOCKED", 0.2)
    here = await panel()
    admin = await here.log_in()
    async with locked(Path(database_url.removeprefix("sqlite:///"))):
        made = await admin.post("/api/users", json={"username": "new", "email": "n@e.w", "password": PASSWORD})
        login = await here.nobody.post(LOGIN, json={"username": "admin", "password": PASSWORD})
        for answer in (made, login):
            assert (answer.status, answer.error["code"], answer.headers["Retry-After"]) == (503, "UNAVAILABLE", "5")
        assert (await admin.get("/api/users")).status == 200
    assert (await admin.post("/api/users", json={"username": "new", "email": "n@e.w", "password": PASSWORD})).status == 201


async def test_a_database_that_is_gone_is_a_503_for_every_token(monkeypatch: pytest.MonkeyPatch, here: Panel) -> None:
    for words in ("control.duty.LAST_WORDS", "control.webhooks.service.LAST_WORDS"):
        monkeypatch.setattr(words, 0.0)  # nobody takes them
    admin = await here.log_in()
    await here.control.db.close()
    for answer in (await admin.get("/api/users/me"), await here.nobody.post(LOGIN, json={"username": "a", "password": "b"})):
        assert (answer.status, answer.error["code"]) == (503, "UNAVAILABLE")
        assert {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} <= set(answer.headers)


@one_database
async def test_a_mistake_of_ours_is_a_500_in_the_documented_shape_and_in_the_log(
    here: Panel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    admin = await here.log_in()

    async def broken(*_: Any) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr("control.auth.models.list_users", broken)
    answer = await admin.get("/api/users")
    assert (answer.status, answer.error["code"]) == (500, "INTERNAL_SERVER_ERROR")
    assert "secret" not in json.dumps(answer.json)
    assert "ZeroDivisionError" in caplog.text


# -- other origins -----------------------------------------------------------------------------------------------------

PREFLIGHT = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization,content-type"}


@one_database
@pytest.mark.parametrize("origin", ["https://panel.example", "https://evil.example", "null"])
@pytest.mark.parametrize("configured", [["https://panel.example"], ["*"], []])
async def test_a_preflight_tells_what_is_taken_from_whom(panel: OpenPanel, origin: str, configured: list[str]) -> None:
    here = await panel(http={"cors_origins": configured})
    answer = await here.nobody.ask("OPTIONS", "/api/users/1", headers={"Origin": origin, **PREFLIGHT})
    assert answer.status == 204
    assert set(answer.headers["Access-Control-Allow-Methods"].split(",")) == {"GET", "HEAD", "PUT", "DELETE"}
    assert {"Authorization", "Content-Type", "X-API-Key"} <= set(answer.headers["Access-Control-Allow-Headers"].split(", "))
    expected = "*" if "*" in configured else origin if origin in configured else None
    assert answer.headers.get("Access-Control-Allow-Origin") == expected
    plain = await here.nobody.get("/api/users/1", headers={"Origin": origin})
    assert plain.headers.get("Access-Control-Allow-Origin") == expected
    assert "Retry-After" in plain.headers["Access-Control-Expose-Headers"]
    for told in (answer, plain):
        # A browser that sends no cookie of ours has none to misuse.
        assert "Access-Control-Allow-Credentials" not in told.headers
        assert expected == "*" or told.headers["Vary"] == "Origin"


@one_database
async def test_options_of_what_is_not_there_is_a_404(here: Panel) -> None:
    answer = await here.nobody.ask("OPTIONS", "/api/nothing", headers={"Origin": "https://x.example", **PREFLIGHT})
    assert (answer.status, answer.error["code"]) == (404, "NOT_FOUND")


@one_database
async def test_a_preflight_tells_what_is_left_and_takes_nothing_of_it(panel: OpenPanel) -> None:
    here = await panel(limits={"api_without_token": 5})
    for path, status in 4 * [("/api/users", 204), ("/api/nothing", 404)]:
        answer = await here.nobody.ask("OPTIONS", path, headers={"Origin": "https://x.example", **PREFLIGHT})
        assert answer.status == status
        assert (answer.headers["X-RateLimit-Limit"], answer.headers["X-RateLimit-Remaining"]) == ("5", "5")
        assert int(answer.headers["X-RateLimit-Reset"]) > 0
    assert (await here.nobody.get("/api/users")).headers["X-RateLimit-Remaining"] == "4"
