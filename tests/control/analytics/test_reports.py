"""What players of pages report: from anybody, little, not too often; and heard only if the viewer is one that watches."""

import json
from typing import Any

import pytest

from control.analytics.attendance import Quality
from control.analytics.reports import MAX_REPORT
from mediaserver.events import PlayStarted
from mediaserver.ports import Wire
from tests.control.analytics.material import a_stream, a_user
from tests.control.conftest import OpenPanel
from tests.control.panel import Answer, Panel

TOKEN = "token-of-a-page"
SAID: dict[str, Any] = {"session": TOKEN, "startup": 1.25, "played": 5, "stalled": 0.75}

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
async def here(panel: OpenPanel) -> Panel:
    return await panel()


async def comes(here: Panel) -> int:
    """A stream with one viewer: its number."""
    db = here.resident.control.db
    stream = await a_stream(db, await a_user(db, "ada"))
    here.resident.control.feed.emit(
        PlayStarted(f"stream_{stream}", "s-1", here.clock.now, Wire.HLS, "203.0.113.7", "a browser", TOKEN)
    )
    return stream


def heard(here: Panel) -> Quality | None:
    (session,) = here.resident.attendance._present.values()
    return session.quality


async def post(here: Panel, name: str, body: object = SAID, **options: Any) -> Answer:
    data = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return await here.nobody.post(f"/api/live/{name}/report", data=data, **options)


async def test_a_viewer_is_heard_without_a_login(here: Panel) -> None:
    stream = await comes(here)
    answer = await post(here, f"stream_{stream}", headers={"Content-Type": "application/json"})
    assert (answer.status, answer.json) == (204, None)
    assert heard(here) == Quality(1.25, 5.0, 0.75)
    # A rendition's page, before its first picture.
    body = {"session": TOKEN, "startup": None, "played": 6.5, "stalled": 0.75}
    assert (await post(here, f"stream_{stream}@360p", body)).status == 204
    assert heard(here) == Quality(1.25, 6.5, 0.75)


@pytest.mark.parametrize("name", ["demo", "stream_999", "stream_1x"])
async def test_who_is_not_known_gets_the_same_answer_and_is_not_heard(here: Panel, name: str) -> None:
    stream = await comes(here)
    assert (await post(here, name)).status == 204
    assert (await post(here, f"stream_{stream}", SAID | {"session": "another-token"})).status == 204
    assert heard(here) is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("", "body"),
        ("no json", "body"),
        ("[]", "body"),
        (b"\xff\xfe", "body"),
        (SAID | {"more": 1}, "body"),
        ({"session": TOKEN}, "played"),
        (SAID | {"session": "short"}, "session"),
        (SAID | {"session": "a token with blanks"}, "session"),
        (SAID | {"startup": -1}, "startup"),
        (SAID | {"startup": "1"}, "startup"),
        (SAID | {"played": True}, "played"),
        ('{"session": "token-of-a-page", "played": NaN, "stalled": 0}', "played"),
        ('{"session": "token-of-a-page", "played": 1e999, "stalled": 0}', "played"),
        (SAID | {"stalls": 1}, "body"),
        (SAID | {"stalled": None}, "stalled"),
    ],
)
async def test_what_is_no_report_is_refused_with_its_faulty_fields(here: Panel, body: object, field: str) -> None:
    stream = await comes(here)
    answer = await post(here, f"stream_{stream}", body)
    assert (answer.status, answer.error["code"]) == (422, "VALIDATION_ERROR")
    assert field in answer.fields
    assert heard(here) is None


async def test_who_reports_too_often_is_told_when_to_come_back(panel: OpenPanel) -> None:
    here = await panel(limits={"reports": 1})
    assert (await post(here, "demo")).status == 204
    answer = await post(here, "demo")
    assert (answer.status, answer.error["code"]) == (429, "RATE_LIMITED")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert (answer.headers["X-RateLimit-Limit"], answer.headers["X-RateLimit-Remaining"]) == ("1", "0")


async def test_a_name_that_can_be_none_is_404(here: Panel) -> None:
    assert (await post(here, "a%20b")).status == 404


async def test_a_report_is_small(here: Panel) -> None:
    stream = await comes(here)
    assert (await post(here, f"stream_{stream}", json.dumps(SAID) + " " * MAX_REPORT)).status == 413
    assert (await post(here, f"stream_{stream}", json.dumps(SAID).ljust(MAX_REPORT))).status == 204


async def test_one_address_is_heard_so_often_and_what_it_may_ask_is_not_touched(panel: OpenPanel) -> None:
    here = await panel(limits={"reports": 3, "api_without_token": 2})
    stream = await comes(here)
    assert [(await post(here, f"stream_{stream}")).status for _ in range(4)] == [204, 204, 204, 429]
    assert (await here.nobody.get("/api/streams")).status == 401
    assert (await here.nobody.get("/api/streams")).status == 401
    assert (await here.nobody.get("/api/streams")).status == 429
