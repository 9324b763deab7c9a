"""The API's description is the API: what is routed is described, and what is described is routed."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from control.api import DOMAINS
from control.gate import GATE
from control.openapi import document
from control.rest import PREFIXES
from mediaserver.version import VERSION
from tests.control.conftest import OpenPanel
from tests.control.panel import Panel

OPERATIONS = [operation for domain in DOMAINS for operation in domain.operations]
#: Routes that are no operations: what anybody may see of this server or, watching, tell it, and the description itself.
UNDESCRIBED = {"/live", "/live/{name}", "/live/{name}/report", "/time", "/openapi.json", "/docs"}


@pytest.fixture
async def here(panel: OpenPanel) -> Panel:
    return await panel()


one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@one_database
async def test_every_route_is_described_and_every_description_is_routed(here: Panel) -> None:
    routed: dict[str, set[tuple[str, str]]] = {prefix: set() for prefix in PREFIXES}
    assert here.client.app is not None
    api = await here.client.app[GATE].api()
    for route in (*here.client.app.router.routes(), *api.router.routes()):
        path = route.resource.canonical if route.resource else ""
        for prefix in sorted(PREFIXES, key=len, reverse=True):
            if path.startswith(f"{prefix}/"):
                routed[prefix].add((route.method, path.removeprefix(prefix)))
                break
    described = {
        (method.upper(), path.removeprefix("/api"))
        for path, methods in document(OPERATIONS, "1")["paths"].items()
        for method in methods
    }
    assert described
    for prefix, routes in routed.items():
        found = {(method, path) for method, path in routes if method != "HEAD" and path not in UNDESCRIBED}
        assert found == described, prefix
        heads = {path for method, path in routes if method == "HEAD"}
        assert {path for method, path in described if method == "GET"} <= heads


@one_database
async def test_the_description_is_served_under_every_prefix_and_known_again(here: Panel) -> None:
    for prefix in PREFIXES:
        answer = await here.nobody.get(f"{prefix}/openapi.json")
        assert answer.status == 200
        assert (answer.json["openapi"], answer.json["info"]["version"]) == ("3.1.0", VERSION)
    again = await here.nobody.get("/api/openapi.json", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status == 304
    page = await here.nobody.get("/api/docs")
    policy = page.headers["Content-Security-Policy"]
    assert page.status == 200
    assert "unsafe" not in policy
    assert "script-src 'self'" in policy


def test_every_operation_has_a_name_of_its_own_words_and_resolvable_schemas() -> None:
    told = document(OPERATIONS, "1")
    operations = [operation for methods in told["paths"].values() for operation in methods.values()]
    assert not [name for name, count in Counter(o["operationId"] for o in operations).items() if count > 1]
    for operation in operations:
        assert operation["summary"], operation["operationId"]
        assert operation["responses"]
    text = json.dumps(told)
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert named <= set(told["components"]["schemas"])


def test_every_parameter_of_a_path_is_described() -> None:
    for path, methods in document(OPERATIONS, "1")["paths"].items():
        for operation in methods.values():
            described = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert described == set(re.findall(r"\{(\w+)\}", path))


def test_who_may_ask_without_a_token_is_a_short_list() -> None:
    open_to_all = {operation.path for operation in OPERATIONS if operation.permission is None}
    assert {"/auth/login", "/auth/refresh"} <= open_to_all
    assert not [path for path in open_to_all if path.startswith(("/users", "/streams/{", "/destinations", "/webhooks"))]


def descriptions(part: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """What is said in words in ``part`` of the document, with where that is."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name in {"description", "summary"} and isinstance(value, str) and "/responses/" not in where:
                yield where, value
            yield from descriptions(value, f"{where}/{name}")
    elif isinstance(part, list):
        for value in part:
            yield from descriptions(value, where)


#: Names of our own modules and classes, and what a member of an enum is called among ourselves.
OURS = re.compile(r"``|\bsee \w+\.|\w+\.[A-Z][A-Z_]{2,}|\bdocument'?s?\b|\bof ours\b|\bThe same,? |\bRelay\b|\brung\b|\bladder\b")
ENUMS = re.compile(r"\b[A-Z][A-Z_]{3,}\b")
ACRONYMS = {"RTMP", "HTTP", "DASH", "JSON", "HTTPS", "HMAC"}


def test_what_is_said_is_for_who_asks_the_api() -> None:
    told = dict(descriptions(document(OPERATIONS, "1")))
    assert len(told) > 100
    assert {where: text for where, text in told.items() if OURS.search(text) or set(ENUMS.findall(text)) - ACRONYMS} == {}


def test_figures_that_may_differ_say_what_they_count() -> None:
    schemas = document(OPERATIONS, "1")["components"]["schemas"]
    for counted, field in (("Summary", "peak_viewers"), ("StreamState", "peak_viewers"), ("Metrics", "peak_concurrent_viewers")):
        assert field in schemas[counted]["properties"]
        assert f"`{field}`" in schemas[counted]["description"]


@one_database
async def test_whoever_is_refused_without_a_token_is_told_so_before(here: Panel) -> None:
    """What is described as open answers nobody with 401, and what is not does: for every operation that has no body."""
    told = document(OPERATIONS, "1")
    for path, methods in told["paths"].items():
        if "get" in methods and "{" not in path:
            status = (await here.nobody.ask("HEAD", path)).status
            assert (status == 401) == bool(methods["get"]["security"]), path
    events = told["paths"]["/api/events"]["get"]
    assert events["security"] == [{"bearer": []}, {"apiKey": []}, {"token": []}]
    assert {name for each in events["security"] for name in each} == set(told["components"]["securitySchemes"])


@one_database
async def test_what_is_no_json_is_described_by_its_type(panel: OpenPanel) -> None:
    here = await panel(rtmp={"auth_secret": "a-shared-secret-of-16"})
    told = document(OPERATIONS, "1")["paths"]
    admin = await here.log_in()
    asked = {"name": "a_key_of_nobody", "secret": "a-shared-secret-of-16"}
    async with here.client.get("/api/events", headers={"Authorization": f"Bearer {admin.token}"}) as events:
        assert list(told["/api/events"]["get"]["responses"]["200"]["content"]) == [events.content_type]
    async with here.client.post("/api/rtmp/auth", data=asked) as allowed:
        assert (allowed.status, await allowed.text()) == (200, "OK")
        assert list(told["/api/rtmp/auth"]["post"]["responses"]["200"]["content"]) == [allowed.content_type]
    for path, methods in told.items():
        for operation in methods.values():
            assert all("content" in answer for answer in operation["responses"].values()), path
