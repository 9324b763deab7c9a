"""Analytics and reporting: figures of real sessions, and nothing that is not known.

By its name it comes behind the tests of streams: a minute of the town's is written by then, and nobody has to wait for one.
"""

import sqlite3
import time
from contextlib import closing
from math import isfinite
from pathlib import Path
from typing import Any

from tests.contract.asking import Caller
from tests.contract.conftest import Town
from tests.contract.document import DASHBOARD, STREAM_ANALYTICS, error, new_stream
from tests.e2e.players import LivePlayer
from tests.peers import wait_until

#: Nobody has told from where or on what LivePlayer watches.
UNKNOWN = ("geographic_distribution", "platform_distribution")


def visit(town: Town) -> tuple[float, int]:
    """Somebody watches: for how many seconds at least, and what the dashboard said meanwhile of the peak."""
    with LivePlayer(town.server.rtmp(f"stream_{town.stream_id}")) as player:
        player.wait_for(1)
        inner = time.time()
        peak = wait_until(lambda: int(town.admin.get("/api/analytics/dashboard").json["peak_concurrent_viewers"]), "a viewer")
        player.wait_for(50)
        return time.time() - inner, peak


def _over(town: Town, path: str) -> dict[str, Any]:
    """The figures, once everybody who has come, to whichever test, is written down and has left."""

    def over() -> bool:
        file = Path(town.server.folder) / "data" / "mediaserver.db"
        with closing(sqlite3.connect(file, timeout=30)) as database:
            ends = [row[0] for row in database.execute("SELECT ended FROM viewer_sessions")]
        return len(ends) == town.server.log().count("play_started") and all(map(isfinite, ends))

    wait_until(over, "everybody's visit to be over and written down", 60)
    return dict(town.admin.get(path).json["metrics"])


def test_get_dashboard_analytics(town: Town) -> None:
    path = f"/api/analytics/streams/{town.stream_id}"
    before, began = _over(town, path), time.time()
    least, peak = visit(town)
    _over(town, path)
    # The server may hear late that somebody has gone.
    most = time.time() - began
    seen = town.admin.get("/api/analytics/dashboard").fits(DASHBOARD, empty=UNKNOWN)
    assert (seen["period"], seen["total_streams"], seen["active_streams"]) == ("24h", 1, 1)
    assert seen["peak_concurrent_viewers"] >= peak >= 1
    assert seen["total_viewers"] >= 1
    assert least - 1 <= seen["total_watch_time"] - before["total_watch_time"] <= most + 1
    (metrics,) = [each for each in seen["stream_metrics"] if each["stream_id"] == town.stream_id]
    assert (metrics["name"], metrics["viewers"]) == ("My Tutorial Stream", seen["total_viewers"])
    assert metrics["watch_time"] == seen["total_watch_time"]
    sessions = before["total_sessions"] + 1
    assert abs(seen["average_watch_time"] - seen["total_watch_time"] / sessions) <= 1
    # Nobody stayed for half a minute this time.
    assert metrics["engagement_rate"] == town.admin.get(path).json["metrics"]["engagement_rate"] < 1
    for period in ("24h", "7d", "30d", "90d"):
        longer = town.admin.get(f"/api/analytics/dashboard?period={period}").fits(DASHBOARD, empty=UNKNOWN)
        assert (longer["period"], longer["total_watch_time"]) == (period, seen["total_watch_time"])
    wrong = town.admin.get("/api/analytics/dashboard?period=1y").fits(error("VALIDATION_ERROR"), 422)
    assert set(wrong["error"]["details"]["fields"]) == {"period"}


def test_get_stream_analytics(town: Town) -> None:
    path = f"/api/analytics/streams/{town.stream_id}"
    before, began = _over(town, path), time.time()
    least, peak = visit(town)
    _over(town, path)
    most = time.time() - began
    town.wait_for_an_average()
    seen = town.admin.get(path).fits(STREAM_ANALYTICS)
    assert (seen["stream_id"], seen["name"]) == (town.stream_id, "My Tutorial Stream")
    metrics = seen["metrics"]
    assert metrics["total_sessions"] == before["total_sessions"] + 1
    assert 1 <= metrics["unique_viewers"] <= metrics["total_sessions"]
    assert metrics["peak_concurrent_viewers"] >= peak
    assert least - 1 <= metrics["total_watch_time"] - before["total_watch_time"] <= most + 1
    assert abs(metrics["average_session_duration"] - metrics["total_watch_time"] / metrics["total_sessions"]) <= 1
    # No page of ours was open.
    quality = metrics["quality_metrics"]
    assert (quality["buffer_rate"], quality["startup_time"], quality["reported_sessions"]) == (0, 0, 0)
    on_air = town.admin.get(f"{town.path}/stats?interval=1m").json["summary"]["uptime"]
    assert town.tells_what_is_pushed(quality["average_bitrate"], on_air)
    # What was watched was watched in this hour, or the last.
    assert all(point["viewers"] == point["bitrate"] == 0 for point in seen["timeline"][:-2])
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
