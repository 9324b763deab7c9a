"""Analytics and reporting: figures of real sessions, and nothing that is not known."""

import time

from tests.contract.asking import Caller
from tests.contract.conftest import Town
from tests.contract.document import DASHBOARD, STREAM_ANALYTICS, error, new_stream
from tests.e2e.players import LivePlayer

#: Nobody has told from where or on what LivePlayer watches.
UNKNOWN = ("geographic_distribution", "platform_distribution")


def test_get_dashboard_analytics(town: Town) -> None:
    with LivePlayer(town.server.rtmp(f"stream_{town.stream_id}")) as player:
        player.wait_for(30)
        town.admin.wait_for(f"{town.path}/status", current_viewers=1)
        seen = town.admin.get("/api/analytics/dashboard").fits(DASHBOARD, empty=UNKNOWN)
    assert (seen["period"], seen["total_streams"], seen["active_streams"]) == ("24h", 1, 1)
    assert seen["peak_concurrent_viewers"] >= 1
    (metrics,) = [each for each in seen["stream_metrics"] if each["stream_id"] == town.stream_id]
    assert metrics["name"] == "My Tutorial Stream"
    assert 0 <= metrics["engagement_rate"] <= 1
    for period in ("24h", "7d", "30d", "90d"):
        assert town.admin.get(f"/api/analytics/dashboard?period={period}").fits(DASHBOARD, empty=UNKNOWN)["period"] == period
    wrong = town.admin.get("/api/analytics/dashboard?period=1y").fits(error("VALIDATION_ERROR"), 422)
    assert set(wrong["error"]["details"]["fields"]) == {"period"}


def test_get_stream_analytics(town: Town) -> None:
    path = f"/api/analytics/streams/{town.stream_id}"
    with LivePlayer(town.server.rtmp(f"stream_{town.stream_id}")) as player:
        player.wait_for(30)
        seen = town.admin.get(path).fits(STREAM_ANALYTICS)
    assert (seen["stream_id"], seen["name"]) == (town.stream_id, "My Tutorial Stream")
    today = time.strftime("%Y-%m-%d", time.gmtime())
    asked = town.admin.get(f"{path}?start_date={today}&end_date={today}&metrics=viewers,bitrate,engagement")
    assert asked.fits(STREAM_ANALYTICS)["period"] == {"start": today, "end": today}
    for query in ("start_date=yesterday", "end_date=2025-13-01", "metrics=height", "start_date=2025-02-02&end_date=2025-02-01"):
        wrong = town.admin.get(f"{path}?{query}").fits(error("VALIDATION_ERROR"), 422)
        assert wrong["error"]["details"]["fields"]
    town.admin.get("/api/analytics/streams/999999").fits(error("STREAM_NOT_FOUND"), 404)


def test_nothing_is_invented_of_a_stream_that_was_never_on_air(quiet: Caller) -> None:
    number = quiet.made("/api/streams", new_stream(quiet.server.rtmp_port, "never_on_air"))["id"]
    metrics = quiet.get(f"/api/analytics/streams/{number}").fits(STREAM_ANALYTICS)["metrics"]
    assert metrics.pop("quality_metrics") == dict.fromkeys(
        ("average_bitrate", "buffer_rate", "startup_time", "reported_sessions"), 0
    )
    assert set(metrics.values()) == {0}
