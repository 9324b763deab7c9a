"""/metrics, read by Prometheus's own parser."""

import asyncio

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from control.system import service
from mediaserver.lag import LagSampler
from mediaserver.metrics import Metrics
from mediaserver.ports import Wire
from tests.control.conftest import Client, Connect
from tests.control.engine import ADDRESS, FakeEngine, publisher, stream


async def samples(client: Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = await (await client.get("/metrics")).text()
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in parse(text) for s in family.samples}


async def test_every_figure_of_the_engine_is_there(engine: FakeEngine, connect: Connect) -> None:
    client = await connect(media_requests={"playlist": 7, "segment": 3})
    engine.show(stream(), stream("away", publishing=False), sessions=(publisher(),))
    found = await samples(client)
    plain = {name: value for (name, labels), value in found.items() if not labels}
    assert plain["mediaserver_bytes_in_total"] == 1_000_000
    assert plain["mediaserver_bytes_out_total"] == 2_000_000
    assert plain["mediaserver_streams_live"] == 1
    assert plain["mediaserver_streams_away"] == 1
    assert plain["mediaserver_dropped_packets"] == 8
    assert plain["mediaserver_beat_seconds"] == 0.02
    assert plain["mediaserver_draining"] == 0
    assert plain["process_resident_memory_bytes"] > 1_000_000
    assert plain["process_cpu_seconds_total"] > 0
    assert found["mediaserver_sessions", (("role", "publisher"), ("wire", "rtmp"))] == 1
    assert found["mediaserver_sessions", (("role", "player"), ("wire", "hls"))] == 4
    assert found["mediaserver_http_requests_total", (("kind", "playlist"),)] == 7
    assert found["mediaserver_http_requests_total", (("kind", "segment"),)] == 3


async def test_the_number_of_series_does_not_depend_on_who_comes(engine: FakeEngine, client: Client) -> None:
    before = set(await samples(client))
    engine.show(*(stream(f"name-{n}", players=dict.fromkeys(Wire, n)) for n in range(200)), sessions=(publisher(),))
    for n in range(50):
        await client.get(f"/no-such-page-{n}")
        await client.get(f"/watch/name-{n}")
    after = set(await samples(client))
    grown = {labels for name, labels in after - before}
    assert grown <= {(("kind", "other"),), (("kind", "page"),), (("kind", "system"),)}
    text = await (await client.get("/metrics")).text()
    assert "name-1" not in text
    assert ADDRESS not in text


async def test_requests_are_counted_by_kind(client: Client) -> None:
    for path in ("/", "/watch/x", "/api/live", "/static/web/app.css", "/healthz", "/wp-login.php"):
        await client.get(path)
    found = await samples(client)
    counts = {dict(labels)["kind"]: value for (name, labels), value in found.items() if name == "mediaserver_http_requests_total"}
    assert counts == {"page": 2, "api": 1, "static": 1, "system": 2, "other": 1}


async def test_before_the_start_there_are_figures_of_the_process_alone(engine: FakeEngine, client: Client) -> None:
    engine.now = None
    names = {name for name, _ in await samples(client)}
    assert "process_resident_memory_bytes" in names
    assert "mediaserver_bytes_in_total" not in names


async def test_a_scraper_that_prefers_openmetrics_gets_it(client: Client) -> None:
    answer = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert any(family.name == "mediaserver_bytes_in" for family in parse_openmetrics(await answer.text()))  # type: ignore[no-untyped-call]


async def test_lag_is_sampled_while_open_and_not_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mediaserver.lag.LAG_INTERVAL", 0.01)
    lag = LagSampler()
    async with lag, asyncio.timeout(30):
        while not (seen := sum(lag.counts.values())):  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.001)
    assert lag.total > 0
    await asyncio.sleep(0.05)
    assert sum(lag.counts.values()) == seen


async def test_lag_is_a_histogram(client: Client, engine: FakeEngine) -> None:
    metrics = Metrics(engine.snapshot)
    metrics.lag.counts[0.001], metrics.lag.counts[0.05], metrics.lag.total = 3, 1, 0.04
    text = (await metrics.render(""))[0].decode()
    found = {(s.name, s.labels.get("le")): s.value for family in parse(text) for s in family.samples if "lag" in s.name}
    name = "mediaserver_event_loop_lag_seconds"
    assert (found[f"{name}_bucket", "0.001"], found[f"{name}_bucket", "0.025"], found[f"{name}_bucket", "+Inf"]) == (3, 3, 4)
    assert (found[f"{name}_count", None], found[f"{name}_sum", None]) == (4, 0.04)


async def test_two_servers_in_one_process_do_not_share_figures(engine: FakeEngine) -> None:
    one, other = Metrics(engine.snapshot, {"page": 1}), Metrics(engine.snapshot, {"page": 2})
    assert b'kind="page"} 1.0' in (await one.render(""))[0]
    assert b'kind="page"} 2.0' in (await other.render(""))[0]


async def test_scrapes_cost_one_look_at_the_engine_a_moment(
    engine: FakeEngine, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "FRESH", 60.0)
    engine.show(stream())
    await samples(client)
    asked = engine.asked
    engine.show(stream(), stream("other"))
    assert (await samples(client))["mediaserver_streams_live", ()] == 1
    assert engine.asked == asked
    monkeypatch.setattr(service, "FRESH", 0.0)
    assert (await samples(client))["mediaserver_streams_live", ()] == 2


async def test_a_rendition_is_no_stream_of_its_own(engine: FakeEngine, client: Client) -> None:
    engine.show(stream(), stream("demo@480p", source="demo"), stream("demo@360p", source="demo", publishing=False))
    found = await samples(client)
    assert (found["mediaserver_streams_live", ()], found["mediaserver_streams_away", ()]) == (1, 0)
