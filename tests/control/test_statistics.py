"""The sampler: what is on air, looked at every few seconds, as a row a minute and rolled up, on each kind of database."""

import pytest

from control.db import Conflict, Database
from control.statistics import models
from control.statistics.service import Sampler
from control.streams import models as stream_rows
from control.streams.onair import OnAir
from mediaserver.ports import Wire
from tests.control.analytics.material import DAY, HOUR, MORNING, a_stream, a_user, rows
from tests.control.engine import FakeEngine, stream
from tests.control.panel import Clock

FIGURES = ("minutes", "viewers", "peak", "bitrate", "frame_rate", "packet_loss")


one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def sampler(database: Database, engine: FakeEngine) -> Sampler:
    ticks = Clock(0.0)

    def later() -> float:
        ticks.now += 1
        return ticks.now

    return Sampler(database, OnAir(engine, later))


async def figures(database: Database, stream_id: int, step: int) -> list[tuple[float, ...]]:
    async with database.read() as tx:
        found = await models.samples(tx, stream_id, step, 0.0, MORNING + 10 * DAY, 1000)
    return [(row["at"] - MORNING, *(row[name] for name in FIGURES)) for row in found]


async def test_a_minute_is_written_when_it_is_over_as_it_was_on_average(
    sampler: Sampler, database: Database, engine: FakeEngine
) -> None:
    number = await a_stream(database, await a_user(database, "ada"))
    name = f"stream_{number}"
    for second, viewers, dropped in ((0, 10, 5), (5, 20, 5), (55, 30, 23)):
        engine.show(
            stream(name, players={Wire.RTMP: viewers - 2}, dropped_packets=dropped),
            stream(f"{name}@360p", source=name, players={Wire.HLS: 2}),
            stream("demo"),
            stream(f"stream_{number + 1}"),
        )
        await sampler.sample(MORNING + second)
    assert await rows(database, "samples") == []
    engine.show()
    await sampler.sample(MORNING + 61)
    ((at, *found),) = await figures(database, number, 60)
    assert (at, found[:5]) == (0.0, [1, 20.0, 30, 2500.0, 30.0])
    # 18 of the pictures of 30 a second to 60 viewers, in 5 s.
    assert found[5] == pytest.approx(100 * 18 / (30 * 60 * 5 + 18))
    assert len(await rows(database, "samples")) == len(models.STEPS)


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
            row = models.Minute(number, viewers, int(viewers) + 1, 100 * viewers, 30.0, viewers / 100)
            await models.add_minutes(tx, MORNING + minute * 60, [row])
    five = await figures(database, number, 300)
    assert [found[:4] for found in five] == [(0, 2, 2.0, 4), (300, 1, 8.0, 9), (HOUR, 1, 10.0, 11), (DAY, 1, 100.0, 101)]
    assert [found[:5] for found in await figures(database, number, 3600)] == [
        (0, 3, 4.0, 9, 400.0),
        (HOUR, 1, 10.0, 11, 1000.0),
        (DAY, 1, 100.0, 101, 10000.0),
    ]
    assert [found[1:4] for found in await figures(database, number, 86400)] == [(4, 5.5, 11), (1, 100.0, 101)]


async def test_many_streams_are_written_together_and_one_that_is_gone_is_left_out(
    sampler: Sampler, database: Database, engine: FakeEngine
) -> None:
    user = await a_user(database, "ada")
    numbers = [await a_stream(database, user, f"Show {number}") for number in range(60)]
    engine.show(*(stream(f"stream_{number}") for number in numbers))
    await sampler.sample(MORNING)
    async with database.write() as tx:
        await stream_rows.delete_stream(tx, numbers[7])
    engine.show()
    await sampler.sample(MORNING + 60)
    found = {row["stream_id"] for row in await rows(database, "samples")}
    assert found == set(numbers) - {numbers[7]}


@one_database
async def test_a_stream_that_goes_in_that_very_moment_costs_the_others_nothing(
    sampler: Sampler, database: Database, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await a_stream(database, await a_user(database, "ada"))
    engine.show(stream(f"stream_{number}"))
    await sampler.sample(MORNING)
    add, refused = models.add_minutes, [Conflict("in that moment")]

    async def flaky(*args: object) -> None:
        if refused:
            raise refused.pop()
        await add(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(models, "add_minutes", flaky)
    await sampler.sample(MORNING + 60)
    assert len(await rows(database, "samples")) == len(models.STEPS)
