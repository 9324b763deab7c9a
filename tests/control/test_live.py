"""/api/live: public facts, cheap to ask for."""

import pytest

from control.system.service import FRESH, LiveService
from mediaserver.config import Config, HttpConfig
from mediaserver.ports import Wire
from mediaserver.snapshot import RungSnapshot, TrackSnapshot
from protocols.media import Codec
from tests.control.conftest import Client, Connect
from tests.control.engine import ADDRESS, AGENT, FakeEngine, publisher, stream


async def test_lists_what_is_live_with_what_a_viewer_wants_to_know(engine: FakeEngine, client: Client) -> None:
    engine.show(stream())
    answer = await (await client.get("/api/live")).json()
    (shown,) = answer["streams"]
    assert shown.pop("uptime") > 0
    assert shown == {
        "name": "demo",
        "title": "demo",
        "state": "live",
        "since": 1000.0,
        "bitrate": 2_500_000,
        "video": {"codec": "h264", "width": 1280, "height": 720, "frameRate": 30.0},
        "audio": {"codec": "aac", "sampleRate": 48000, "channels": 2},
        "viewers": 3,
        "viewersByWire": {"hls": 2, "rtmp": 1},
        "watch": "/watch/demo",
        "hls": "/live/demo/index.m3u8",
        "dash": "/live/demo/manifest.mpd",
        "flv": "/live/demo.flv",
        "source": "",
        "rungs": [],
    }
    assert answer["draining"] is False


async def test_tells_nobody_where_publishers_are_or_what_they_use(engine: FakeEngine, client: Client) -> None:
    engine.show(stream(), sessions=(publisher(),))
    text = await (await client.get("/api/live")).text() + await (await client.get("/api/live/demo")).text()
    assert "demo" in text
    assert ADDRESS not in text
    assert AGENT not in text


async def test_audio_only_and_video_only_streams_have_no_other_track(engine: FakeEngine, client: Client) -> None:
    sound, silent = (TrackSnapshot(Codec.OPUS),), (TrackSnapshot(Codec.AV1),)
    engine.show(stream("sound", tracks=sound), stream("silent", tracks=silent), stream("nothing-yet", tracks=()))
    by_name = {s["name"]: s for s in (await (await client.get("/api/live")).json())["streams"]}
    assert by_name["sound"]["video"] is None
    assert by_name["silent"]["audio"] is None
    assert by_name["nothing-yet"]["video"] is by_name["nothing-yet"]["audio"] is None


async def test_a_stream_within_its_grace_period_is_away(engine: FakeEngine, client: Client) -> None:
    engine.show(stream(publishing=False))
    assert (await (await client.get("/api/live/demo")).json())["stream"]["state"] == "away"


async def test_a_stream_that_is_not_live_is_null_and_an_impossible_name_is_404(client: Client) -> None:
    answer = await client.get("/api/live/nobody")
    assert answer.status == 200
    assert (await answer.json())["stream"] is None
    answer = await client.get("/api/live/..%2f..%2fetc")
    assert answer.status == 404
    assert (await answer.json())["error"]["code"] == "NOT_FOUND"


async def test_before_the_engine_runs_the_list_says_unavailable(engine: FakeEngine, client: Client) -> None:
    engine.now = None
    answer = await client.get("/api/live")
    assert answer.status == 503
    assert (await answer.json())["error"]["code"] == "UNAVAILABLE"


async def test_any_origin_may_read_it_by_default(client: Client) -> None:
    answer = await client.get("/api/live", headers={"Origin": "https://elsewhere.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    ("origin", "allowed"), [("https://ours.example", "https://ours.example"), ("https://evil.example", None), ("", None)]
)
async def test_listed_origins_alone_may_read_it(connect: Connect, origin: str, allowed: str | None) -> None:
    client = await connect(Config(http=HttpConfig(cors_origins=("https://ours.example",))))
    answer = await client.get("/api/live", headers={"Origin": origin} if origin else {})
    assert answer.headers.get("Access-Control-Allow-Origin") == allowed
    assert answer.headers["Vary"] == "Origin"


async def test_one_look_at_the_engine_serves_everybody_for_a_moment(engine: FakeEngine) -> None:
    ticks = 0.0
    live = LiveService(engine, clock=lambda: 1060.0, ticks=lambda: ticks)
    engine.show(stream())
    first = await live.everything()
    engine.show(stream(players={Wire.HLS: 9}))
    for _ in range(100):
        assert await live.everything() == first
    assert engine.asked == 1
    ticks = FRESH
    assert await live.everything() != first
    assert engine.asked == 2


async def test_uptime_is_never_negative_though_the_clock_was_set_back(engine: FakeEngine) -> None:
    engine.show(stream(since=2000.0))
    shown = (await LiveService(engine, clock=lambda: 1000.0).stream("demo")).stream
    assert shown is not None
    assert shown.uptime == 0


async def test_renditions_are_part_of_their_stream_and_not_in_the_list(engine: FakeEngine, client: Client) -> None:
    ladder = (
        RungSnapshot("480p", 854, 480, 1_200_000, "libx264", True, ""),
        RungSnapshot("360p", 640, 360, 700_000, "libx264", False, "too much to do"),
    )
    engine.show(stream(rungs=ladder), stream("demo@480p", source="demo", players={Wire.RTMP: 2, Wire.HLS: 1}))
    (shown,) = (await (await client.get("/api/live")).json())["streams"]
    assert [(rung["name"], rung["height"], rung["running"], rung["hls"]) for rung in shown["rungs"]] == [
        ("480p", 480, True, "/live/demo@480p/index.m3u8"),
        ("360p", 360, False, "/live/demo@360p/index.m3u8"),
    ]
    assert shown["viewersByWire"] == {"hls": 3, "rtmp": 3}
    alone = (await (await client.get("/api/live/demo@480p")).json())["stream"]
    assert (alone["source"], alone["viewers"]) == ("demo", 3)
