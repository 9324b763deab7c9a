"""``/api/analytics`` as the Panel document prints it: every field, its type, the periods, who sees what, and what is refused."""

import pytest

from control.analytics import figures
from control.permissions import Role
from control.statistics import models as samples
from mediaserver.events import PlayEnded, PlayStarted
from mediaserver.ports import Wire
from tests.contract.document import DASHBOARD, STREAM_ANALYTICS
from tests.contract.shapes import differences
from tests.control.analytics.material import DAY, HOUR, MORNING, put, session
from tests.control.conftest import OpenPanel
from tests.control.engine import FakeEngine, stream
from tests.control.panel import Panel, Person

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
async def here(panel: OpenPanel, monkeypatch: pytest.MonkeyPatch) -> Panel:
    """Each answer is worked out anew, however long the one before took."""
    monkeypatch.setattr(figures, "CHEAP", float("inf"))
    opened = await panel()
    opened.clock.now = MORNING
    return opened


async def new_stream(person: Person, name: str) -> int:
    answer = await person.post("/api/streams", json={"name": name, "input_url": f"rtmp://localhost/live/a_long_key_of_{name}"})
    assert answer.status == 201, answer
    return int(answer.json["id"])


async def watched(here: Panel, stream_id: int, user_id: int, *spans: tuple[float, float], **columns: object) -> None:
    """Sessions of different viewers, each from and to so many seconds before now."""
    now = here.clock.now
    await put(
        here.resident.control.db, *(session(stream_id, user_id, now - begun, now - over, **columns) for begun, over in spans)
    )


# -- get dashboard analytics ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seen", [False, True], ids=["nothing", "something"])
async def test_get_dashboard_analytics_has_every_documented_field(here: Panel, engine: FakeEngine, seen: bool) -> None:
    user_id, ada = await here.person("ada")
    number = await new_stream(ada, "Show")
    if seen:
        await watched(here, number, user_id, (100, 10), platform="linux", country="DE")
    answer = await ada.get("/api/analytics/dashboard")
    assert answer.status == 200
    nothing = () if seen else ("platform_distribution", "geographic_distribution")
    assert list(differences(DASHBOARD, answer.json, empty=nothing)) == []
    assert answer.json["period"] == "24h"


async def test_the_dashboard_tells_what_happened(here: Panel, engine: FakeEngine) -> None:
    user_id, ada = await here.person("ada")
    one, two, three = [await new_stream(ada, name) for name in ("One", "Two", "Three")]
    await watched(here, one, user_id, (600, 0), (590, 0), viewer=1, platform="windows", country="DE")
    await watched(here, two, user_id, (500, 495), viewer=1, platform="windows", country="DE")
    await watched(here, one, user_id, (300, 200), country="FR")
    await watched(here, one, user_id, (250, 240))
    await watched(here, two, user_id, (100, float("-inf")), platform="ios")
    engine.show(stream(f"stream_{two}"), stream(f"stream_{three}", publishing=False), stream("demo"))
    here.resident.on_air.forget()
    answer = (await ada.get("/api/analytics/dashboard?period=24h")).json
    assert answer == {
        "period": "24h",
        "total_streams": 3,
        "active_streams": 1,
        "total_viewers": 4,
        "peak_concurrent_viewers": 4,
        "total_watch_time": 600 + 590 + 5 + 100 + 10 + 100,
        "average_watch_time": round(1405 / 6),
        "stream_metrics": [
            {"stream_id": one, "name": "One", "viewers": 3, "watch_time": 1300, "engagement_rate": 1.0},
            {"stream_id": two, "name": "Two", "viewers": 2, "watch_time": 105, "engagement_rate": 0.5},
            {"stream_id": three, "name": "Three", "viewers": 0, "watch_time": 0, "engagement_rate": 0.0},
        ],
        # Of four viewers. What one watches with says nothing of what it is on.
        "platform_distribution": {"ios": 25, "windows": 25},
        "geographic_distribution": {"DE": 25, "FR": 25},
    }


async def test_a_period_is_so_long(here: Panel) -> None:
    user_id, ada = await here.person("ada")
    number = await new_stream(ada, "Show")
    for days in (1, 7, 30, 90):
        await watched(here, number, user_id, (days * DAY - 60, days * DAY - 100), (days * DAY + 100, days * DAY + 60))
    found = {}
    for period in ("24h", "7d", "30d", "90d"):
        answer = (await ada.get(f"/api/analytics/dashboard?period={period}")).json
        found[answer["period"]] = answer["total_viewers"]
    # The ones behind each border are another period's.
    assert found == {"24h": 1, "7d": 3, "30d": 5, "90d": 7}


async def test_users_see_their_own_and_moderators_all(here: Panel) -> None:
    ada_id, ada = await here.person("ada")
    bob_id, bob = await here.person("bob")
    _, moderator = await here.person("mo", Role.MODERATOR)
    admin = await here.log_in()
    of_ada, of_bob = await new_stream(ada, "Ada"), await new_stream(bob, "Bob")
    await watched(here, of_ada, ada_id, (100, 0))
    await watched(here, of_bob, bob_id, (50, 0), (50, 0))
    seen = {}
    for name, person in (("ada", ada), ("bob", bob), ("mo", moderator), ("admin", admin)):
        answer = (await person.get("/api/analytics/dashboard")).json
        seen[name] = (answer["total_streams"], answer["total_viewers"], answer["total_watch_time"], len(answer["stream_metrics"]))
    assert seen == {"ada": (1, 1, 100, 1), "bob": (1, 2, 100, 1), "mo": (2, 3, 200, 2), "admin": (2, 3, 200, 2)}
    statuses = [(await person.get(f"/api/analytics/streams/{of_ada}")).status for person in (ada, bob, moderator, admin)]
    assert statuses == [200, 404, 200, 200]
    assert (await here.nobody.get("/api/analytics/dashboard")).status == 401
    assert (await here.nobody.get(f"/api/analytics/streams/{of_ada}")).status == 401


@one_database
async def test_an_api_key_sees_analytics_only_with_that_scope(here: Panel) -> None:
    _, ada = await here.person("ada")
    number = await new_stream(ada, "Show")
    statuses = {}
    for scope in ("analytics", "streams"):
        made = await ada.post("/api/auth/api-keys", json={"name": scope, "scopes": [scope]})
        key = Person(here, made.json["key"])
        statuses[scope] = [(await key.get(f"/api/analytics/{path}")).status for path in ("dashboard", f"streams/{number}")]
    assert statuses == {"analytics": [200, 200], "streams": [403, 403]}


@one_database
async def test_the_list_of_streams_is_bounded_and_the_most_watched_are_in_it(here: Panel) -> None:
    user_id, ada = await here.person("ada")
    numbers = [await new_stream(ada, f"Show{number}") for number in range(103)]
    await watched(here, numbers[-1], user_id, (100, 0))
    answer = (await ada.get("/api/analytics/dashboard")).json
    listed = [metrics["stream_id"] for metrics in answer["stream_metrics"]]
    assert (answer["total_streams"], listed) == (103, [numbers[-1], *numbers[:99]])


# -- get stream analytics ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seen", [False, True], ids=["nothing", "something"])
async def test_get_stream_analytics_has_every_documented_field(here: Panel, seen: bool) -> None:
    user_id, ada = await here.person("ada")
    number = await new_stream(ada, "Show")
    if seen:
        await watched(here, number, user_id, (100, 10), startup=1.5, played=80.0, stalled=2.0)
    answer = await ada.get(f"/api/analytics/streams/{number}")
    assert answer.status == 200
    assert list(differences(STREAM_ANALYTICS, answer.json)) == []


async def test_a_stream_s_analytics_tell_what_happened(here: Panel) -> None:
    user_id, ada = await here.person("ada")
    number = await new_stream(ada, "Show")
    db = here.resident.control.db
    # Yesterday 30 minutes from nine o'clock on, today ten; and eight days ago.
    for begun, minutes, viewers, bitrate in ((DAY + HOUR, 30, 2.0, 3000.0), (HOUR, 10, 1.0, 1000.0), (8 * DAY, 10, 9.0, 9000.0)):
        for minute in range(minutes):
            async with db.write() as tx:
                row = samples.Minute(number, 60.0, viewers, int(viewers), bitrate, 30.0, 100, 0)
                await samples.add_minutes(tx, MORNING - begun + minute * 60, [row])
    await watched(here, number, user_id, (DAY + HOUR, DAY + HOUR - 1800), viewer=1, startup=1.0, played=1700.0, stalled=100.0)
    await watched(here, number, user_id, (DAY + HOUR - 60, DAY + HOUR - 65), viewer=2)
    await watched(here, number, user_id, (HOUR, HOUR - 600), viewer=1, startup=2.0, played=200.0, stalled=0.0)
    await watched(here, number, user_id, (8 * DAY, 8 * DAY - 600))
    answer = (await ada.get(f"/api/analytics/streams/stream_{number}")).json
    timeline = answer.pop("timeline")
    assert answer == {
        "stream_id": number,
        "name": "Show",
        "period": {"start": "2030-03-11", "end": "2030-03-17"},
        "metrics": {
            "total_sessions": 3,
            "unique_viewers": 2,
            "total_watch_time": 1800 + 5 + 600,
            "average_session_duration": 802,
            "peak_concurrent_viewers": 2,
            "engagement_rate": 0.6667,
            "quality_metrics": {
                "average_bitrate": 2500.0,
                "buffer_rate": 0.05,
                "startup_time": 1.5,
                "reported_sessions": 2,
            },
        },
    }
    # Six whole days and the ten hours of today so far, by the hour.
    assert len(timeline) == 6 * 24 + 10
    assert timeline[0] == {"timestamp": "2030-03-11T00:00:00Z", "viewers": 0.0, "bitrate": 0.0, "engagement": 0.0}
    assert [point for point in timeline if point["bitrate"]] == [
        {"timestamp": "2030-03-16T09:00:00Z", "viewers": 2.0, "bitrate": 3000.0, "engagement": 0.5},
        {"timestamp": "2030-03-17T09:00:00Z", "viewers": 1.0, "bitrate": 1000.0, "engagement": 1.0},
    ]
    longer = (await ada.get(f"/api/analytics/streams/{number}?start_date=2030-02-01&end_date=2030-03-17")).json
    assert longer["metrics"]["total_sessions"] == 4
    assert [point for point in longer["timeline"] if point["bitrate"]] == [
        {"timestamp": "2030-03-09T00:00:00Z", "viewers": 9.0, "bitrate": 9000.0, "engagement": 1.0},
        {"timestamp": "2030-03-16T00:00:00Z", "viewers": 2.0, "bitrate": 3000.0, "engagement": 0.5},
        {"timestamp": "2030-03-17T00:00:00Z", "viewers": 1.0, "bitrate": 1000.0, "engagement": 1.0},
    ]
    assert len(longer["timeline"]) == 28 + 17


@one_database
async def test_the_timeline_shows_what_is_asked_for(here: Panel) -> None:
    _, ada = await here.person("ada")
    number = await new_stream(ada, "Show")
    for metrics in ("viewers", "bitrate", "engagement", "bitrate,viewers", "viewers,viewers"):
        answer = await ada.get(f"/api/analytics/streams/{number}?metrics={metrics}&start_date=2030-03-17")
        assert answer.json["timeline"]
        assert all(set(point) == {"timestamp", *metrics.split(",")} for point in answer.json["timeline"]), metrics


async def test_another_day_ends_at_midnight(here: Panel) -> None:
    user_id, ada = await here.person("ada")
    number = await new_stream(ada, "Show")
    midnight = 10 * HOUR  # before now
    await watched(here, number, user_id, (midnight + 60, midnight - 60), (midnight + DAY + 60, midnight + DAY - 60))
    answer = (await ada.get(f"/api/analytics/streams/{number}?start_date=2030-03-16&end_date=2030-03-16")).json
    assert answer["period"] == {"start": "2030-03-16", "end": "2030-03-16"}
    assert (answer["metrics"]["total_sessions"], answer["metrics"]["total_watch_time"]) == (2, 120)
    assert [answer["timeline"][at]["timestamp"] for at in (0, -1)] == ["2030-03-16T00:00:00Z", "2030-03-16T23:00:00Z"]


# -- what is refused -----------------------------------------------------------------------------------------------------

_NO_PERIODS = {
    "period=1h": {"period"},
    "period=": {"period"},
    "period=24h&period=7d": {"period"},
    "timeframe=24h": {"timeframe"},
}
_NO_DAYS = {
    "start_date=yesterday": {"start_date"},
    "start_date=2030-03-17T00:00:00Z": {"start_date"},
    "start_date=1900000000": {"start_date"},
    "start_date=2030-02-30&end_date=2030-3-1": {"start_date", "end_date"},
    "start_date=1999-12-31": {"start_date"},
    "end_date=9999-12-31": {"end_date"},
    "end_date=٢٠٣٠-03-17": {"end_date"},
    "start_date=2030-03-10&end_date=2030-03-09": {"end_date"},
    "start_date=2030-03-18": {"start_date"},
    "end_date=2030-07-18": {"end_date"},
    "start_date=2030-03-18&end_date=2030-03-18": {"start_date"},
    "start_date=2029-03-16": {"start_date"},
    "metrics=": {"metrics"},
    "metrics=viewers,": {"metrics"},
    "metrics=viewers,likes": {"metrics"},
    "metrics=" + "viewers," * 50 + "viewers": {"metrics"},
    "interval=1h": {"interval"},
}


@one_database
async def test_what_is_no_period_no_day_and_no_metric_is_refused_by_name(here: Panel) -> None:
    _, ada = await here.person("ada")
    number = await new_stream(ada, "Show")
    for path, queries in (("dashboard", _NO_PERIODS), (f"streams/{number}", _NO_DAYS)):
        for query, fields in queries.items():
            answer = await ada.get(f"/api/analytics/{path}?{query}")
            assert (answer.status, answer.error["code"], answer.fields) == (422, "VALIDATION_ERROR", fields), query


@one_database
async def test_a_stream_that_is_not_there_is_404(here: Panel) -> None:
    admin = await here.log_in()
    for number in ("999", "0", "-1", "stream_999", "nine", "9" * 30):
        answer = await admin.get(f"/api/analytics/streams/{number}")
        assert (answer.status, answer.error["code"]) == (404, "STREAM_NOT_FOUND"), number


# -- from the engine's events to the answer ------------------------------------------------------------------------------


async def test_a_viewer_is_in_the_figures_while_he_watches_and_when_he_has(here: Panel) -> None:
    _, ada = await here.person("ada")
    number = await new_stream(ada, "Show")
    tell = here.resident.control.feed.emit
    tell(PlayStarted(f"stream_{number}", "s-1", here.clock.now, Wire.RTMP, "203.0.113.7", "Lavf/60"))
    await here.resident.attendance.flush()
    here.clock.now += 30
    figures = (await ada.get("/api/analytics/dashboard")).json
    assert (figures["total_viewers"], figures["total_watch_time"], figures["platform_distribution"]) == (1, 30, {})
    tell(PlayEnded(f"stream_{number}", "s-1", here.clock.now + 10, "left", 1000, 40.0))
    await here.resident.attendance.flush()
    here.clock.now += 1000
    figures = (await ada.get("/api/analytics/dashboard")).json
    assert (figures["total_watch_time"], figures["stream_metrics"][0]["watch_time"]) == (40, 40)


async def test_who_has_left_counts_no_longer_than_he_was_there(here: Panel) -> None:
    """At once, not when the next batch is written: a sum that falls was none."""
    _, ada = await here.person("ada")
    number = await new_stream(ada, "Show")
    tell = here.resident.control.feed.emit
    for viewer in ("s-1", "s-2"):
        tell(PlayStarted(f"stream_{number}", viewer, here.clock.now, Wire.RTMP, "203.0.113.7", "Lavf/60"))
    seen = []
    for _ in range(2):
        for path, part in (("dashboard", lambda told: told), (f"streams/{number}", lambda told: told["metrics"])):
            seen.append(part((await ada.get(f"/api/analytics/{path}")).json)["total_watch_time"])
        here.clock.now += 30
        for viewer in ("s-1", "s-2"):
            tell(PlayEnded(f"stream_{number}", viewer, here.clock.now, "left", 1000, 30.0))
        here.clock.now += 1000
    assert seen == [0, 0, 60, 60]


async def test_who_leaves_without_a_word_counts_until_he_was_seen_last(here: Panel, engine: FakeEngine) -> None:
    """Players of HLS and DASH are known to have gone only later: until then, and from then on, it is the same sum."""
    bob_id, bob = await here.person("bob")
    _, ada = await here.person("ada")
    number, other = await new_stream(ada, "Show"), await new_stream(bob, "Other")
    await watched(here, other, bob_id, (100, 40))
    tell, begun = here.resident.control.feed.emit, here.clock.now
    for viewer, wire in (("s-1", Wire.HLS), ("s-2", Wire.DASH), ("s-3", Wire.RTMP)):
        tell(PlayStarted(f"stream_{number}", viewer, begun, wire, "203.0.113.7", "an agent"))
    tell(PlayStarted(f"stream_{other}", "s-4", begun, Wire.HLS, "203.0.113.7", "an agent"))
    sums = []

    async def look(person: Person, stream_id: int) -> None:
        dashboard = (await person.get("/api/analytics/dashboard")).json
        alone = (await person.get(f"/api/analytics/streams/{stream_id}")).json["metrics"]
        sums.append((dashboard["total_watch_time"], dashboard["stream_metrics"][0]["watch_time"], alone["total_watch_time"]))
        assert dashboard["average_watch_time"] == round(dashboard["total_watch_time"] / alone["total_sessions"])

    for seconds in (10, 20):
        here.clock.now = begun + seconds
        # One was seen just now, one not for a while, and whoever has a connection is there.
        engine.last_seen = {"s-1": here.clock.now - 1, "s-2": begun + 5, "s-4": begun + 2, "nobody's": begun}
        await look(ada, number)
        await look(bob, other)
    tell(PlayEnded(f"stream_{number}", "s-2", begun + 5, "asks for nothing any more", None, 5.0))
    engine.last_seen = {"s-1": here.clock.now - 1}
    await look(ada, number)
    assert sums == [(9 + 5 + 10,) * 3, (62,) * 3, (19 + 5 + 20,) * 3, (62,) * 3, (19 + 5 + 20,) * 3]
    # Of another day nothing is missing.
    old = (await ada.get(f"/api/analytics/streams/{number}?end_date=2030-03-16")).json["metrics"]
    assert old["total_watch_time"] == 0
