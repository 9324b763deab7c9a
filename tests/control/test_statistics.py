"""The sampler: what is on air, looked at every second, as a row a minute and rolled up, on each kind of database."""

import asyncio
import contextlib
from datetime import UTC, datetime

import pytest

from control import duty
from control.db import Conflict, Database, DatabaseUnavailable
from control.duty import on_duty
from control.statistics import models, service
from control.statistics.service import Sampler
from control.streams import models as stream_rows
from control.streams.onair import OnAir
from mediaserver.events import PlayEnded, PlayStarted, PublisherLeft, PublishStarted
from mediaserver.ports import Wire
from tests.control.analytics.material import DAY, HOUR, MORNING, a_stream, a_user, rows
from tests.control.conftest import OpenPanel
from tests.control.engine import FakeEngine, stream
from tests.control.panel import Answer, Clock

FIGURES = ("seconds", "viewers", "peak", "bitrate", "frame_rate", "packet_loss")


one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def sampler(database: Database, engine: FakeEngine) -> Sampler:
    ticks = Clock(0.0)

    def later() -> float:
        ticks.now += 1
        return ticks.now

    return Sampler(database, OnAir(engine, later))


def begin(sampler: Sampler, number: int, second: float) -> None:
    sampler.on_event(
        PublishStarted(f"stream_{number}", "s-1", MORNING + second, Wire.RTMP, "192.0.2.1", "encoder", resumed=False)
    )


def leave(sampler: Sampler, number: int, second: float) -> None:
    sampler.on_event(PublisherLeft(f"stream_{number}", "s-1", MORNING + second, "gone"))


def come(sampler: Sampler, number: int, who: str, second: float) -> None:
    sampler.on_event(PlayStarted(f"stream_{number}", who, MORNING + second, Wire.HLS, "192.0.2.7"))


def go(sampler: Sampler, number: int, who: str, second: float) -> None:
    sampler.on_event(PlayEnded(f"stream_{number}", who, MORNING + second, "asks for nothing any more", None, 0.0))


async def figures(database: Database, stream_id: int, step: int) -> list[tuple[float, ...]]:
    async with database.read() as tx:
        found = await models.samples(tx, stream_id, step, 0.0, MORNING + 10 * DAY, 1000)
    return [(row["at"] - MORNING, *(row[name] for name in FIGURES)) for row in found]


async def test_a_minute_is_written_when_it_is_over_as_it_was_on_average(
    sampler: Sampler, database: Database, engine: FakeEngine
) -> None:
    number = await a_stream(database, await a_user(database, "ada"))
    name = f"stream_{number}"
    begin(sampler, number, 0)
    for second, viewers, came in ((1, 10, [0.0]), (5, 10, []), (55, 30, [19.5, 39.0])):
        for at in came:
            for one in range(10):
                come(sampler, number, f"p-{at}-{one}", at)
        engine.show(
            stream(name, since=MORNING, players={Wire.RTMP: viewers - 2}, bytes_in=second * 312_500, frames=second * 30),
            stream(f"{name}@360p", source=name, players={Wire.HLS: 2}),
            stream("demo"),
            stream(f"stream_{number + 1}"),
        )
        await sampler.sample(MORNING + second)
    assert await rows(database, "samples") == []
    leave(sampler, number, 58.5)
    engine.show()
    await sampler.sample(MORNING + 61)
    ((at, *found),) = await figures(database, number, 60)
    assert (at, found[:5]) == (0.0, [58.5, 20.0, 30, 2500.0, 30.0])
    assert len(await rows(database, "samples")) == len(models.STEPS)


# -- what came in --------------------------------------------------------------------------------------------------------


@one_database
async def test_rates_are_what_came_in_while_it_was_sent(sampler: Sampler, database: Database, engine: FakeEngine) -> None:
    """From its first moment on; not while it is away; and of another stream of that name from nought again."""
    number = await a_stream(database, await a_user(database, "ada"))
    looks = [
        (58.0, True, 57.5, 50_000, 15),
        (59.0, True, 57.5, 150_000, 45),
        (61.0, True, 57.5, 350_000, 105),
        (62.0, False, 57.5, 400_000, 120),
        (90.0, False, 57.5, 400_000, 120),
        (91.0, True, 57.5, 500_000, 150),
        (96.0, True, 95.0, 200_000, 15),
    ]
    begin(sampler, number, 57.5)
    for second, publishing, since, bytes_in, frames in looks:
        seen = {"since": MORNING + since, "publishing": publishing, "bytes_in": bytes_in, "frames": frames}
        engine.show(stream(f"stream_{number}", **seen))
        await sampler.sample(MORNING + second)
    engine.show()
    await sampler.sample(MORNING + 130)
    rates = [found[4:6] for found in await figures(database, number, 60)]
    # The second minute: one second of what was sent until its first look, one after the return, one of the other stream.
    assert rates[0] == pytest.approx((800.0, 30.0))
    assert rates[1] == pytest.approx((400_000 * 8 / 3 / 1000, 25.0))


@one_database
async def test_a_minute_without_a_look_of_its_own_has_its_part_of_what_came_in(
    sampler: Sampler, database: Database, engine: FakeEngine
) -> None:
    number = await a_stream(database, await a_user(database, "ada"))
    begin(sampler, number, 59.5)
    for second in (60.25, 61.25):
        seen = {"since": MORNING + 59.5, "bytes_in": int((second - 59.5) * 100_000), "frames": int((second - 59.5) * 40)}
        engine.show(stream(f"stream_{number}", **seen))
        await sampler.sample(MORNING + second)
    engine.show()
    leave(sampler, number, 61.25)
    await sampler.sample(MORNING + 121)
    for found in await figures(database, number, 60):
        assert found[4:6] == pytest.approx((800.0, 40.0))
    assert [found[1] for found in await figures(database, number, 60)] == [0.5, 1.25]


# -- how long it was on air ----------------------------------------------------------------------------------------------


async def test_the_time_on_air_is_counted_to_the_second_whatever_minutes_it_touches(
    sampler: Sampler, database: Database, engine: FakeEngine
) -> None:
    number = await a_stream(database, await a_user(database, "ada"))
    engine.show(stream(f"stream_{number}"))
    begin(sampler, number, 58)
    await sampler.sample(MORNING + 59)
    await sampler.sample(MORNING + 61)
    leave(sampler, number, 62)
    begin(sampler, number, 70)
    leave(sampler, number, 70.25)
    engine.show()
    await sampler.sample(MORNING + 200)
    assert [found[:2] for found in await figures(database, number, 60)] == [(0.0, 2.0), (60.0, 2.25)]
    assert [found[:2] for found in await figures(database, number, 3600)] == [(0.0, 4.25)]


async def test_a_sampler_that_comes_late_gives_each_minute_its_part(
    sampler: Sampler, database: Database, engine: FakeEngine
) -> None:
    number = await a_stream(database, await a_user(database, "ada"))
    engine.show(stream(f"stream_{number}"))
    begin(sampler, number, 30)
    await sampler.sample(MORNING + 180)
    assert [found[:2] for found in await figures(database, number, 60)] == [(0.0, 30.0), (60.0, 60.0), (120.0, 60.0)]


@one_database
async def test_a_clock_that_is_set_is_no_time_on_air(sampler: Sampler, database: Database, engine: FakeEngine) -> None:
    number = await a_stream(database, await a_user(database, "ada"))
    engine.show(stream(f"stream_{number}"))
    begin(sampler, number, 0)
    for second in (10, 10 + 50 * DAY, 11 + 50 * DAY, 20, 25, 100):
        await sampler.sample(MORNING + second)
    seconds = [found[:2] for found in await figures(database, number, 60)]
    assert seconds == [(0.0, 10.0 + 5.0 + 35.0)]


async def test_averages_are_of_the_time_on_air(database: Database) -> None:
    number = await a_stream(database, await a_user(database, "ada"))
    for seconds, viewers in ((60.0, 10.0), (20.0, 2.0)):
        async with database.write() as tx:
            await models.add_minutes(tx, MORNING, [models.Minute(number, seconds, viewers, 10, 100 * viewers, 30.0, 0, 0)])
    assert [found[1:6] for found in await figures(database, number, 60)] == [(80.0, 8.0, 10, 800.0, 30.0)]


# -- how many watched ----------------------------------------------------------------------------------------------------


async def watched(database: Database, number: int, step: int) -> list[float]:
    """Viewers' seconds."""
    return [pytest.approx(found[1] * found[2]) for found in await figures(database, number, step)]


async def test_who_turns_out_to_have_gone_is_counted_until_then_also_in_what_is_written(
    sampler: Sampler, database: Database, engine: FakeEngine
) -> None:
    number = await a_stream(database, await a_user(database, "ada"))
    engine.show(stream(f"stream_{number}", players={Wire.HLS: 3}))
    begin(sampler, number, 0)
    for second, who in ((10, "one"), (50, "two"), (61, "three")):
        await sampler.sample(MORNING + second)
        come(sampler, number, who, second - 1.5)  # told with the second playlist
    assert await watched(database, number, 60) == [51.5 + 11.5]
    for second, who, seen in ((62, "one", 53), (65, "two", 55), (90, "three", 80), (91, "nobody", 1)):
        await sampler.sample(MORNING + second)
        go(sampler, number, who, seen)
    leave(sampler, number, 100)
    engine.show()
    await sampler.sample(MORNING + 180)
    lasted = (53 - 8.5) + (55 - 48.5) + (60 - 59.5), 80 - 60
    for step, wanted in ((60, lasted), (300, [sum(lasted)]), (86400, [sum(lasted)])):
        assert await watched(database, number, step) == list(wanted)
    assert [found[3] for found in await figures(database, number, 60)] == [3, 3]


@one_database
async def test_nobody_watches_what_is_not_on_air(sampler: Sampler, database: Database, engine: FakeEngine) -> None:
    """Before the publisher comes, while it is away, and behind its end."""
    number = await a_stream(database, await a_user(database, "ada"))
    come(sampler, number, "one", 0)
    begin(sampler, number, 5)
    leave(sampler, number, 15)
    come(sampler, number, "two", 12)
    begin(sampler, number, 20)
    leave(sampler, number, 40)
    go(sampler, number, "two", 38)
    go(sampler, number, "one", 50)
    await sampler.sample(MORNING + 61)
    assert await watched(database, number, 60) == [10 + 20 + 3 + 18]
    assert not sampler._spans


@one_database
async def test_who_goes_while_the_minute_is_being_written_is_not_forgotten(
    sampler: Sampler, database: Database, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await a_stream(database, await a_user(database, "ada"))
    engine.show(stream(f"stream_{number}"))
    begin(sampler, number, 0)
    for who in ("one", "two"):
        come(sampler, number, who, 0)
    await sampler.sample(MORNING + 59)
    add, gone = models.add_minutes, {"one": DatabaseUnavailable("locked"), "two": None}

    async def slow(*args: object) -> None:
        if gone:
            who, error = gone.popitem() if len(gone) == 1 else ("one", gone.pop("one"))
            go(sampler, number, who, 50)
            if error is not None:
                raise error
        await add(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(models, "add_minutes", slow)
    for second in (60, 60 + service.RETRY, 61 + service.RETRY):
        await sampler.sample(MORNING + second)
    assert await watched(database, number, 60) == [100]


# -- what was lost -------------------------------------------------------------------------------------------------------


async def lost(sampler: Sampler, engine: FakeEngine, database: Database, looks: list[list[tuple[str, float, int, int]]]) -> float:
    """Percent, of a stream that was looked at like this: name of the rendition (or none), beginning, packets sent and dropped."""
    number = await a_stream(database, await a_user(database, "ada"))
    name = f"stream_{number}"
    begin(sampler, number, 0)
    for second, seen in enumerate(looks):
        engine.show(
            *(
                stream(name + rung, source=name if rung else "", since=since, sent_packets=sent, dropped_packets=dropped)
                for rung, since, sent, dropped in seen
            )
        )
        await sampler.sample(MORNING + second)
    await sampler.sample(MORNING + 61)
    return (await figures(database, number, 60))[0][-1]


async def test_packets_that_were_withheld_are_compared_with_those_that_were_due(
    sampler: Sampler, database: Database, engine: FakeEngine
) -> None:
    looks = [[("", 1.0, 0, 0)], [("", 1.0, 100, 0)], [("", 1.0, 270, 30)]]
    assert await lost(sampler, engine, database, looks) == pytest.approx(10.0)


@one_database
async def test_what_renditions_withhold_is_lost_too_and_another_stream_of_that_name_begins_at_nought(
    sampler: Sampler, database: Database, engine: FakeEngine
) -> None:
    looks = [
        [("", 1.0, 1000, 10), ("@360p", 1.0, 500, 40)],
        [("", 2.0, 400, 20), ("@360p", 2.0, 20, 10)],
    ]
    assert await lost(sampler, engine, database, looks) == pytest.approx(100 * 80 / 2000)


# -- what is written, and when -------------------------------------------------------------------------------------------


@one_database
async def test_a_publisher_that_is_away_is_no_sample(sampler: Sampler, database: Database, engine: FakeEngine) -> None:
    number = await a_stream(database, await a_user(database, "ada"))
    engine.show(stream(f"stream_{number}", publishing=False))
    for second in (0, 61):
        await sampler.sample(MORNING + second)
    assert await rows(database, "samples") == []


async def test_minutes_are_rolled_up_as_they_come(database: Database) -> None:
    number = await a_stream(database, await a_user(database, "ada"))
    for minute, viewers in ((0, 1.0), (1, 3.0), (7, 8.0), (60, 10.0), (24 * 60, 100.0)):
        async with database.write() as tx:
            row = models.Minute(number, 60.0, viewers, int(viewers) + 1, 100 * viewers, 30.0, 100, 0)
            await models.add_minutes(tx, MORNING + minute * 60, [row])
    five = await figures(database, number, 300)
    assert [found[:4] for found in five] == [(0, 120, 2.0, 4), (300, 60, 8.0, 9), (HOUR, 60, 10.0, 11), (DAY, 60, 100.0, 101)]
    assert [found[:5] for found in await figures(database, number, 3600)] == [
        (0, 180, 4.0, 9, 400.0),
        (HOUR, 60, 10.0, 11, 1000.0),
        (DAY, 60, 100.0, 101, 10000.0),
    ]
    assert [found[1:4] for found in await figures(database, number, 86400)] == [(240, 5.5, 11), (60, 100.0, 101)]


@one_database
async def test_samples_begin_with_the_step_that_the_time_lies_in(database: Database) -> None:
    number = await a_stream(database, await a_user(database, "ada"))
    async with database.write() as tx:
        await models.add_minutes(tx, MORNING + 2400, [models.Minute(number, 60.0, 1.0, 1, 100.0, 30.0, 1, 0)])
    for start, end, step, count in (
        (1800, 2700, 3600, 1), (2430, 2700, 60, 1), (2460, 2700, 60, 0), (0, 2400, 60, 0), (3600, 7200, 3600, 0),
    ):  # fmt: skip
        async with database.read() as tx:
            found = await models.samples(tx, number, step, MORNING + start, MORNING + end, 10)
        assert len(found) == count, (start, end, step)


async def test_many_streams_are_written_together_and_one_that_is_gone_is_left_out(
    sampler: Sampler, database: Database, engine: FakeEngine
) -> None:
    user = await a_user(database, "ada")
    numbers = [await a_stream(database, user, f"Show {number}") for number in range(60)]
    engine.show(*(stream(f"stream_{number}") for number in numbers))
    for number in numbers:
        begin(sampler, number, 0)
    await sampler.sample(MORNING)
    async with database.write() as tx:
        await stream_rows.delete_stream(tx, numbers[7])
    engine.show()
    await sampler.sample(MORNING + 60)
    found = {row["stream_id"] for row in await rows(database, "samples")}
    assert found == set(numbers) - {numbers[7]}


@pytest.mark.parametrize("error", [Conflict("in that moment"), DatabaseUnavailable("locked"), RuntimeError("a bug")], ids=repr)
@one_database
async def test_a_minute_that_cannot_be_written_is_written_later_and_once(
    error: Exception, sampler: Sampler, database: Database, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "BATCH", 2)
    user = await a_user(database, "ada")
    numbers = [await a_stream(database, user, f"Show {number}") for number in range(5)]
    engine.show(*(stream(f"stream_{number}") for number in numbers))
    for number in numbers:
        begin(sampler, number, 0)
    await sampler.sample(MORNING)
    add, tries = models.add_minutes, list[int]()

    async def flaky(*args: object) -> None:
        tries.append(1)
        if len(tries) == 2:
            raise error
        await add(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(models, "add_minutes", flaky)
    for second in (60, 61):
        with contextlib.suppress(RuntimeError):  # its caller logs it
            await sampler.sample(MORNING + second)
    assert {row["stream_id"] for row in await rows(database, "samples")} == set(numbers[:2])
    await sampler.sample(MORNING + 60 + service.RETRY)
    for number in numbers:
        assert [found[:2] for found in await figures(database, number, 60)] == [(0.0, 60.0)]


@one_database
async def test_minutes_that_wait_for_the_database_are_bounded(
    sampler: Sampler, database: Database, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service, "WAITING", 3)
    number = await a_stream(database, await a_user(database, "ada"))
    engine.show(stream(f"stream_{number}"))
    begin(sampler, number, 0)
    await database.close()
    for minute in range(6):
        await sampler.sample(MORNING + 60 * minute)
    assert sorted(sampler._minutes) == [MORNING + 60 * minute for minute in (2, 3, 4, 5)]
    assert [record.getMessage() for record in caplog.records].count("samples_lost") == 2


async def test_a_server_that_stops_writes_its_last_minute(
    panel: OpenPanel, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duty, "LAST_WORDS", 30.0)
    opened = await panel()
    db, feed = opened.control.db, opened.control.feed
    number = await a_stream(db, await a_user(db, "ada"))
    engine.show(stream(f"stream_{number}"))
    async with on_duty(engine, opened.resident.config, opened.control):  # type: ignore[arg-type]
        feed.emit(PublishStarted(f"stream_{number}", "s-1", MORNING, Wire.RTMP, "192.0.2.1", "encoder", resumed=False))
        feed.emit(PublisherLeft(f"stream_{number}", "s-1", MORNING + 7.5, "the server is stopping"))
        await asyncio.sleep(0)
    assert [found[:2] for found in await figures(db, number, 60)] == [(0.0, 7.5)]


@one_database
async def test_without_a_step_one_is_taken_that_fits(panel: OpenPanel, engine: FakeEngine) -> None:
    """What is refused is named as it was given, whatever else would be wrong with it."""
    opened = await panel()
    admin = await opened.log_in()
    body = {"name": "Show", "input_url": "rtmp://localhost:1935/live/a_long_one"}
    number = int((await admin.post("/api/streams", json=body)).json["id"])
    now = opened.clock.now

    async def stats(**query: str) -> Answer:
        return await admin.get(f"/api/streams/{number}/stats", params=query)

    def ago(days: float) -> str:
        return datetime.fromtimestamp(now - days * 86400, UTC).isoformat()

    at = now - 3600
    async with opened.control.db.write() as tx:
        await models.add_minutes(tx, at - at % 60, [models.Minute(number, 60.0, 1.0, 1, 1000.0, 30.0, 0, 0)])
    for days, step in ((1, 300), (1.5, 300), (6.9, 300), (7, 3600), (80, 3600), (84, 86400), (401, 86400), (1999, 86400)):
        (sample,) = (await stats(start_time=ago(days))).json["stats"]
        assert datetime.fromisoformat(sample["timestamp"]).timestamp() == at - at % step, days
    # A day long ago: its five minutes are gone, and then its hours.
    for days in (32, 402):
        assert (await stats(start_time=ago(days), end_time=ago(days - 1))).status == 200
    for query, field in (
        ({"start_time": ago(2001)}, "start_time"),
        ({"start_time": ago(-1)}, "start_time"),
        ({"start_time": ago(1), "end_time": ago(2)}, "end_time"),
        ({"start_time": ago(8), "interval": "5m"}, "interval"),
    ):
        answer = await stats(**query)
        assert (answer.status, answer.fields) == (422, {field}), query
