"""What no operation takes: every faulty field is named, all of them at once, in the documented shape, and nothing is a 5xx."""

import base64
import io
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from control.api import DOMAINS
from control.rest import Operation
from tests.control.contract.things import Owner, good_body, make, make_user
from tests.control.panel import PASSWORD, Answer, Panel

OPERATIONS = {f"{operation.method} {operation.path}": operation for domain in DOMAINS for operation in domain.operations}
WITH_BODY = {name: operation for name, operation in OPERATIONS.items() if operation.body is not None and not operation.form}
WITH_QUERY = {name: operation for name, operation in OPERATIONS.items() if operation.query is not None}
WITH_ID = {name: operation for name, operation in OPERATIONS.items() if "{" in operation.path}

LONG = "x" * 3000
#: Marks that turn the order of letters around (Unicode's Bidi_Control), and what ends a line without looking like it.
_UNSEEN = [f"a{letter}b" for letter in "\u061c\u200e\u200f\u202a\u202e\u2066\u2069\u0085\u2028\u009b"]
_TITLES: list[Any] = ["", "   ", "x" * 201, 1, True, [], {}, "line\nbreak", "tab\there", *_UNSEEN]
_FLAGS: list[Any] = [1, 0, "true", "", [], {}]
_DESTINATION_FAULTS: dict[str, list[Any]] = {
    "name": _TITLES,
    "platform": ["", "You Tube", "x" * 33, 1, "-x"],
    "rtmp_url": [
        "",
        "http://example.com/live",
        "rtmp://",
        "rtmp://user@example.com/live",
        "rtmp://[::1/live",
        "rtmp://example.com:65536/live",
        "rtmp://example.com:0/live",
        "rtmp://h:x/",
        f"rtmp://example.com/{LONG}",
        1,
    ],
    "stream_key": ["a b", "a\tb", LONG, 1, " ", "\n", "\u2003"],
    "rendition": ["720P", "x" * 17, "../x", 1],
    "enabled": _FLAGS,
}
_STREAM_FAULTS: dict[str, list[Any]] = {
    "name": _TITLES,
    "input_url": [
        "",
        " ",
        "a b",
        f"rtmp://localhost/live/{LONG}",
        1,
        ["x"],
        "rtmp://a\u0001/live/x",
        "rtmp://[::1/live/x",
        "rtmp://a:x/live/y",
        "rtmp://a:65536/live/y",
    ],
    "input_type": ["", "RTMP", "ftp", 1],
    "latency_mode": ["", "ultra", 1],
    "record_enabled": _FLAGS,
    "auto_start": _FLAGS,
    "video_codec": ["", "h263", 1],
    "audio_codec": ["", "mp3", 1],
    "bitrate_mode": ["", "abr", 1],
    "keyframe_interval": [-1, 20.1, "2", True, [], 1e300],
    "qualities": ["720p", ["721p"], [1], {}, ["720p"] * 9, 1],
    "destinations": ["x", [1], {}, [{"name": "a", "platform": "twitch"}] * 51],
}
_USER_FAULTS: dict[str, list[Any]] = {
    "username": ["", "x", "x" * 65, "a b", 1, "a/b"],
    "email": ["", "x", "a@", "@b", "a b@c", "x" * 320 + "@b.c", 1, *(f"{odd}@example.com" for odd in _UNSEEN)],
    "password": ["", "1234567", "x" * 1025, 12345678],
    "role": ["", "root", "Administrator", 1],
}
_WEBHOOK_FAULTS: dict[str, list[Any]] = {
    "url": ["", "x", "ftp://example.com/", "http://", "http://u:p@example.com/", "http://example.com/#a", "http://a b/", 1],
    "events": [[], ["stream.paused"], "stream.started", [1], ["stream.started"] * 4],
    "thresholds": [[0], [-1], [1.5], ["1"], [True], [10**10], [1] * 21, 5],
    "enabled": _FLAGS,
}


def _or_null(faults: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    return {name: [*values, None] for name, values in faults.items()}


#: Operation → field → values that are each refused. By hand, as nobody asks the models what they think of themselves.
FAULTS: Mapping[str, Mapping[str, list[Any]]] = {
    "POST /auth/login": {
        "username": ["x" * 321, 1, [], {}, True],
        "email": ["x" * 321, 1],
        "password": ["", "x" * 1025, 1, None, [], {}],
    },
    "POST /auth/refresh": {"refresh_token": ["", "x" * 201, 1, None, [], {}]},
    "POST /auth/password": {"current_password": ["", "x" * 1025, 1, None], "new_password": ["", "1234567", "x" * 1025, 1, None]},
    "POST /auth/api-keys": {
        "name": [*_TITLES, None],
        "scopes": ["streams", ["everything"], [1], {}, ["streams"] * 51],
        "expires_in": [0, 59, 10**10, "60", 1.5, True],
    },
    "POST /users": _or_null(_USER_FAULTS),
    "PUT /users/{user_id}": _or_null({**_USER_FAULTS, "enabled": _FLAGS}),
    "POST /streams": _or_null(_STREAM_FAULTS),
    "PUT /streams/{stream_id}": _or_null(_STREAM_FAULTS),
    "POST /destinations": {**_DESTINATION_FAULTS, "stream_id": [0, -1, 1 << 63, "1", 1.5, True]},
    "PUT /destinations/{destination_id}": _or_null(_DESTINATION_FAULTS),
    "POST /webhooks": {**_WEBHOOK_FAULTS, "secret": ["", "x" * 15, "x" * 201, "a secret with spaces", 1], "urls": ["x", [], 1]},
    "PUT /webhooks/{webhook_id}": _or_null({**_WEBHOOK_FAULTS, "urls": ["x", [], 1]}),
}

#: What a body must have.
REQUIRED: Mapping[str, set[str]] = {
    "POST /auth/login": {"password"},
    "POST /auth/refresh": {"refresh_token"},
    "POST /auth/password": {"current_password", "new_password"},
    "POST /auth/api-keys": {"name"},
    "POST /users": {"username", "email", "password"},
    "PUT /users/{user_id}": set(),
    "POST /streams": {"name", "input_url"},
    "PUT /streams/{stream_id}": set(),
    "POST /destinations": {"name"},
    "PUT /destinations/{destination_id}": set(),
    "POST /webhooks": {"url"},
    "PUT /webhooks/{webhook_id}": set(),
}

_PAGE_FAULTS = {
    "page": ["0", "-1", "1000001", "x", "1.5", "", "9" * 30, "1e3", "0x1", "%00", "NaN", "true"],
    "per_page": ["0", "-1", "101", "x", "1.5", "", "9" * 30],
}
QUERIES: Mapping[str, Mapping[str, list[str]]] = {
    "GET /users": _PAGE_FAULTS,
    "GET /audit": _PAGE_FAULTS,
    "GET /streams": _PAGE_FAULTS,
    "GET /destinations": _PAGE_FAULTS,
    "GET /webhooks": _PAGE_FAULTS,
    "GET /webhooks/{webhook_id}/deliveries": {**_PAGE_FAULTS, "state": ["", "lost", "PENDING"]},
    "GET /streams/{stream_id}/stats": {
        "start_time": ["", "yesterday", "2025-13-01", "2025-01-01T25:00:00Z", "9" * 30],
        "end_time": ["", "tomorrow", "2025-02-30T00:00:00Z", "1735689600"],
        "interval": ["", "2m", "1M", "60"],
    },
    "GET /analytics/dashboard": {"period": ["", "1y", "24H", "0"]},
    "GET /analytics/streams/{stream_id}": {
        "start_date": ["", "yesterday", "2025-02-30", "2025-1-1", "2025-01-01T00:00:00Z", "9999-12-31", "0000-00-00"],
        "end_date": ["", "2025-13-01", "1"],
        "metrics": ["", "height", "viewers,", "viewers;bitrate", "viewers," * 50],
    },
    "GET /events": {"token": ["x" * 4097], "last_event_id": ["x" * 65]},
}


def test_every_operation_that_takes_something_has_a_row() -> None:
    assert set(FAULTS) == set(REQUIRED) == set(WITH_BODY)
    assert set(QUERIES) == set(WITH_QUERY)
    for name, operation in WITH_BODY.items():
        assert operation.body is not None
        assert set(FAULTS[name]) == set(operation.body.model_fields), name
    for name, operation in WITH_QUERY.items():
        assert operation.query is not None
        assert set(QUERIES[name]) == set(operation.query.model_fields), name


@pytest.fixture
async def admin(here: Panel) -> Owner:
    return await make_user(here, "administrator")


async def path_of(panel: Panel, owner: Owner, operation: Operation) -> str:
    """Its address, for a thing that is there."""
    ids: dict[str, int] = {}
    for parameter in re.findall(r"\{(\w+)\}", operation.path)[-1:]:
        ids = await make(panel, owner, parameter)
    return "/api" + operation.path.format(**ids)


async def send(
    owner: Owner, operation: Operation, path: str, data: bytes | str | io.BytesIO, kind: str = "application/json"
) -> Answer:
    return await owner.person.ask(operation.method, path, data=data, headers={"Content-Type": kind})


def refused(answer: Answer, what: object) -> set[str]:
    """The fields that a 422 in the documented shape names."""
    assert (answer.status, answer.error["code"]) == (422, "VALIDATION_ERROR"), (what, answer)
    told = answer.error["details"]["fields"].values()
    assert all(isinstance(text, str) and text and not text.startswith("Value error") for text in told)
    return answer.fields


# -- bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAULTS)
async def test_every_faulty_field_is_named_and_all_of_them_at_once(here: Panel, admin: Owner, name: str) -> None:
    operation = WITH_BODY[name]
    path, good = await path_of(here, admin, operation), good_body(name, admin) or {}
    for field, values in FAULTS[name].items():
        for value in values:
            named = refused(await send(admin, operation, path, json.dumps({**good, field: value})), (field, value))
            assert {told.partition(".")[0] for told in named} == {field}, (field, value, named)
    for number in range(2):
        faulty = {field: values[min(number, len(values) - 1)] for field, values in FAULTS[name].items()}
        named = refused(await send(admin, operation, path, json.dumps(faulty)), faulty)
        assert {told.partition(".")[0] for told in named} == set(faulty)
    assert await unchanged(here, admin, operation, path)


async def unchanged(panel: Panel, owner: Owner, operation: Operation, path: str) -> bool:
    """Whether nothing of what was refused was done: what is there is as it was made."""
    if operation.method == "POST":
        return True
    answer = await owner.person.get(path)
    return answer.status == 200 and answer.json.get("name", "Show") in ("Show", "There") and answer.json.get("enabled", True)


@pytest.mark.parametrize("name", FAULTS)
async def test_what_is_required_is_named_and_what_is_not_known_is_refused(here: Panel, admin: Owner, name: str) -> None:
    operation = WITH_BODY[name]
    path, good = await path_of(here, admin, operation), good_body(name, admin) or {}
    if REQUIRED[name]:
        for empty in ("{}", ""):
            assert refused(await send(admin, operation, path, empty), empty) >= REQUIRED[name]
    unknown = {"nobody_knows_me": 1, "role ": 1, "__class__": {}, "": 1, "\u202e": 1, "Name": 1}
    named = refused(await send(admin, operation, path, json.dumps({**good, **unknown})), unknown)
    assert len(named) == len(unknown)
    assert {"nobody_knows_me", "__class__"} <= named
    # What the server decides is nothing that a body may say.
    for field in ("id", "user_id", "userId", "created_at", "status", "password_hash", "disabled", "generation", "key_hash"):
        assert field in refused(await send(admin, operation, path, json.dumps({**good, field: 1})), field)


NO_BODIES: Mapping[str, bytes] = {
    "half": b'{"name": ',
    "a list": b"[]",
    "a word": b'"x"',
    "null": b"null",
    "a number": b"1",
    "two": b"{}{}",
    "a comma too many": b'{"a": 1,}',
    "deep": b'{"name": ' + b"[" * 60_000 + b"]" * 60_000 + b"}",
    "deep and broken": b"[" * 100_000,
    "NaN": b'{"keyframe_interval": NaN, "name": NaN}',
    "infinite": b'{"keyframe_interval": Infinity, "name": -Infinity}',
    "too large for a float": b'{"keyframe_interval": 1e999, "name": 1e999}',
    "too many digits": b'{"name": ' + b"9" * 50_000 + b"}",
    "no UTF-8": b'{"name": "\xff\xfe"}',
    "an overlong NUL": b'{"name": "\xc0\x80"}',
    "a NUL": rb'{"name": "a\u0000b"}',
    "half a surrogate pair": rb'{"name": "\ud800"}',
    "the other half": rb'{"name": "x\udfffy"}',
    "a NUL in a name": rb'{"na\u0000me": "x"}',
    "a surrogate in a name": rb'{"\ud800": "x"}',
    "a name twice": b'{"name": "a", "name": "b"}',
    "a name twice, deep": b'{"destinations": [{"name": "a", "platform": "twitch", "name": "b"}]}',
    "a million small things": b'{"name": [' + b"0," * 120_000 + b"0]}",
}


@pytest.mark.parametrize("name", FAULTS)
async def test_json_of_every_broken_kind_is_refused_in_the_documented_shape(here: Panel, admin: Owner, name: str) -> None:
    operation = WITH_BODY[name]
    path = await path_of(here, admin, operation)
    for what, data in NO_BODIES.items():
        assert refused(await send(admin, operation, path, data), what)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/xml", "x", "json"):
        answer = await send(admin, operation, path, b"{}", kind)
        assert (answer.status, answer.error["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE"), kind
    for size in (300_000, 2_000_000):
        large = io.BytesIO(json.dumps({"name": "x" * size}).encode())
        answer = await send(admin, operation, path, large)
        assert (answer.status, answer.error["code"]) == (413, "TOO_LARGE")


@pytest.mark.parametrize("name", FAULTS)
async def test_every_word_of_a_body_that_no_database_keeps_is_named(here: Panel, admin: Owner, name: str) -> None:
    """A NUL and half a surrogate pair, in each field that takes words."""
    operation = WITH_BODY[name]
    path, good = await path_of(here, admin, operation), good_body(name, admin) or {}
    for field, value in good.items():
        if isinstance(value, str):
            for odd in ("\0", "\ud800"):
                assert refused(await send(admin, operation, path, json.dumps({**good, field: value + odd})), field)


async def test_faults_deep_within_are_named_by_their_place(here: Panel, admin: Owner) -> None:
    destinations = [{"name": "fine", "platform": "twitch"}, {"name": 1, "platform": "T", "x": 1}, {"platform": "twitch"}, 7]
    body = {"name": "Show", "input_url": "rtmp://localhost/live/k", "destinations": destinations, "qualities": ["720p", "x"]}
    named = refused(await admin.person.post("/api/streams", json=body), body)
    places = {"destinations.1.name", "destinations.1.platform", "destinations.1.x", "destinations.2.name", "destinations.3"}
    assert named == places | {"qualities.1"}
    homeless = {**body, "qualities": [], "destinations": [{"name": "Kick", "platform": "kick"}]}
    assert refused(await admin.person.post("/api/streams", json=homeless), homeless) == {"destinations.0.rtmp_url"}
    assert (await admin.person.get("/api/streams")).json["streams"] == []


@pytest.mark.parametrize("platform", ["linkedin", "kick", "x", "custom"])
async def test_an_address_that_is_missing_is_what_is_named(here: Panel, admin: Owner, platform: str) -> None:
    for body in ({"name": "There", "platform": platform}, {"name": "There", "platform": platform, "rtmp_url": None}):
        assert refused(await admin.person.post("/api/destinations", json=body), body) == {"rtmp_url"}
        nested = {"destinations": [{"name": "One", "platform": "twitch"}, body]}
        number = (await make(here, admin, "stream_id"))["stream_id"]
        named = refused(await admin.person.put(f"/api/streams/{number}", json=nested), nested)
        assert named == {"destinations.1.rtmp_url"}


@pytest.mark.parametrize("body", [{}, {"username": ""}, {"email": " "}, {"username": " ", "email": "admin"}])
async def test_a_name_that_is_missing_is_what_is_named(here: Panel, body: dict[str, str]) -> None:
    answer = await here.nobody.post("/api/auth/login", json={**body, "password": PASSWORD})
    assert refused(answer, body) == {"username"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("qualities", ["720p", "720p"]),
        ("input_url", "http://localhost/live/key"),
        ("input_url", "rtmp://localhost/other_app/key"),
        ("input_url", "rtmp://localhost/live/"),
        ("input_url", "rtmp://localhost/live/a/b"),
        ("input_url", "rtmp://localhost/live/..%2f"),
        ("input_url", "rtmp://"),
        ("input_url", "//localhost/live/key"),
    ],
)
async def test_what_is_only_wrong_in_its_meaning_is_named_too(here: Panel, admin: Owner, field: str, value: object) -> None:
    body = {"name": "Show", "input_url": "rtmp://localhost/live/meaning", field: value}
    assert refused(await admin.person.post("/api/streams", json=body), value) == {field}
    number = (await make(here, admin, "stream_id"))["stream_id"]
    assert refused(await admin.person.put(f"/api/streams/{number}", json={field: value}), value) == {field}


# -- queries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUERIES)
async def test_every_faulty_parameter_is_named(here: Panel, admin: Owner, name: str) -> None:
    operation = WITH_QUERY[name]
    path = await path_of(here, admin, operation)
    for field, values in QUERIES[name].items():
        for value in values:
            assert refused(await admin.person.get(f"{path}?{field}={value}"), (field, value)) == {field}
        twice = await admin.person.get(f"{path}?{field}=1&{field}=1")
        assert field in refused(twice, field)
    every = "&".join(f"{field}={values[-1]}" for field, values in QUERIES[name].items())
    assert refused(await admin.person.get(f"{path}?{every}"), every) == set(QUERIES[name])
    for unknown in ("nobody_knows_me=1", "Page=1", "%F0%9F%98%80=1", "x", "page[]=1"):
        assert refused(await admin.person.get(f"{path}?{unknown}"), unknown)
    many = "&".join(f"x{number}=1" for number in range(500))
    assert refused(await admin.person.get(f"{path}?{many}"), "500 parameters")


@pytest.mark.parametrize("name", [name for name, fields in QUERIES.items() if "per_page" in fields])
async def test_pages_are_bounded(here: Panel, admin: Owner, name: str) -> None:
    path = await path_of(here, admin, WITH_QUERY[name])
    for page, per_page in ((1, 1), (1, 100), (1_000_000, 100)):
        answer = await admin.person.get(f"{path}?page={page}&per_page={per_page}")
        assert (answer.status, answer.json["page"], answer.json["per_page"]) == (200, page, per_page)
    usual = await admin.person.get(path)
    assert (usual.json["page"], usual.json["per_page"]) == (1, 10)


# -- addresses and headers ----------------------------------------------------------------------------------------------

NO_IDS = (
    "0", "-1", "+1", "1.0", "1e3", "0x1", "01x", "9223372036854775808", "99999999999999999999999", "x", "%20", "%00", "%0a",
    "%F0%9F%98%80", "%D9%A1", "%EF%BC%91", "null", "undefined", "NaN", "%FF", "1%2F..", "..%2F1", "9" * 3000,
)  # fmt: skip


@pytest.mark.parametrize("name", WITH_ID)
async def test_what_is_no_id_is_not_found(here: Panel, admin: Owner, name: str) -> None:
    operation = WITH_ID[name]
    body = good_body(name, admin)
    options = {} if body is None else {"json": body}
    *outer, inner = re.findall(r"\{(\w+)\}", operation.path)
    ids = await make(here, admin, inner)
    for number in NO_IDS:
        path = "/api" + operation.path
        for parameter in outer:
            path = path.replace(f"{{{parameter}}}", str(ids[parameter]))
        answer = await admin.person.ask(operation.method, path.replace(f"{{{inner}}}", number), **options)
        # To a user's own account one may come without a right to others': who that is, is asked first.
        assert (answer.status, answer.error["code"]) in {(404, "NOT_FOUND"), (404, "STREAM_NOT_FOUND")}, (number, answer)


async def test_odd_headers_are_a_stranger_s(here: Panel) -> None:
    for value in ("Bearer", "Bearer ", "Basic YTpi", "bearer x y", "Bearer " + "x" * 7000, "Bearer \xe9\xff", "Bearer a.b.c"):
        answer = await here.nobody.get("/api/users/me", headers={"Authorization": value})
        assert (answer.status, answer.error["code"]) == (401, "UNAUTHORIZED"), value
    for value in ("", " ", "msk_", "msk_000000000000_" + "x" * 43, "x" * 7000, "\xe9"):
        answer = await here.nobody.get("/api/users/me", headers={"X-API-Key": value})
        assert answer.status == 401, value
    admin = await here.log_in()
    for name in ("X-Forwarded-For", "Last-Event-ID", "Origin", "If-None-Match", "Accept", "Range", "Forwarded"):
        for value in ("", ",", "x" * 5000, "\xe9\xff", "127.0.0.1, " * 100):
            assert (await admin.get("/api/users/me", headers={name: value})).status == 200, (name, value)


@pytest.mark.parametrize("claims", [{"alg": "none"}, {"alg": "HS256", "kid": "../../../etc/passwd"}, {"alg": "RS256"}, {}])
async def test_tokens_with_other_algorithms_are_none(here: Panel, claims: dict[str, str]) -> None:
    admin = await here.log_in()
    _, payload, signature = admin.token.split(".")
    header = base64.urlsafe_b64encode(json.dumps({"typ": "JWT", **claims}).encode()).decode().rstrip("=")
    for forged in (f"{header}.{payload}.{signature}", f"{header}.{payload}.", f"{header}.{payload}"):
        answer = await here.nobody.get("/api/users/me", headers={"Authorization": f"Bearer {forged}"})
        assert (answer.status, answer.error["code"]) == (401, "UNAUTHORIZED")


async def test_a_password_that_is_wrong_in_its_length_is_never_hashed(here: Panel) -> None:
    """A megabyte of password would cost a second of a core."""
    for password in ("x" * 1025, "x" * 200_000):
        answer = await here.nobody.post("/api/auth/login", json={"username": "admin", "password": password})
        assert answer.fields == {"password"}
    assert (await here.nobody.post("/api/auth/login", json={"username": "admin", "password": PASSWORD})).status == 200


async def test_an_operation_without_a_query_takes_none(here: Panel, admin: Owner) -> None:
    asked = {name: operation for name, operation in OPERATIONS.items() if name not in WITH_QUERY and not operation.form}
    seen = {}
    for name, operation in asked.items():
        path = await path_of(here, admin, operation)
        answer = await admin.person.ask(operation.method, f"{path}?nonsense=1", json=good_body(name, admin))
        seen[name] = (answer.status, answer.error["details"])
    assert seen == dict.fromkeys(asked, (422, {"fields": {"nonsense": "Extra inputs are not permitted"}}))
