"""Figures from rows, on each kind of database, beside the same counted by hand."""

import random
from datetime import date

import pytest

from control.analytics import service
from control.analytics.models import Span
from control.analytics.schemas import StreamAnalyticsQuery
from control.db import Database
from control.errors import ControlError
from control.statistics import models as statistics
from tests.control.analytics.material import DAY, HOUR, MORNING, a_stream, a_user, put, session

FOREVER = float("inf")
NOW = MORNING + 3 * HOUR


# -- rows ----------------------------------------------------------------------------------------------------------------


async def test_only_what_lies_within_counts(database: Database) -> None:
    user = await a_user(database, "ada")
    stream = await a_stream(database, user)
    await put(
        database,
        session(stream, user, MORNING - 1000, MORNING - 10),  # before
        session(stream, user, MORNING - 100, MORNING + 50, viewer=1),  # half of it: 50 s
        session(stream, user, MORNING + 100, MORNING + 130, viewer=1),  # whole: 30 s
        session(stream, user, MORNING + HOUR - 20, MORNING + 2 * HOUR),  # half of it: 20 s
        session(stream, user, MORNING + 60, MORNING + 60),  # no time at all
        session(stream, user, MORNING + HOUR, MORNING + 2 * HOUR),  # behind
    )
    span = Span(MORNING, MORNING + HOUR, NOW, stream_id=stream)
    async with database.read() as tx:
        totals = await span.totals(tx, 40.0)
        assert (totals["sessions"], totals["viewers"], totals["watched"]) == (4, 3, 100.0)
        # Of their whole length: 150, 30, 3620 and 0 s.
        assert totals["engaged"] == 2
        assert await span.peak(tx) == 1


async def test_who_still_watches_has_watched_until_now(database: Database) -> None:
    user = await a_user(database, "ada")
    stream = await a_stream(database, user)
    await put(database, session(stream, user, NOW - 100, FOREVER), session(stream, user, NOW - 5, FOREVER))
    async with database.read() as tx:
        totals = await Span(NOW - DAY, NOW, NOW).totals(tx, 10.0)
        assert (totals["sessions"], totals["watched"], totals["engaged"]) == (2, 105.0, 1)
        # Tomorrow is not watched yet.
        assert (await Span(NOW - DAY, NOW + DAY, NOW).totals(tx, 10.0))["watched"] == 105.0


async def test_most_at_a_time_is_what_a_slow_look_at_every_moment_finds(database: Database) -> None:
    dice = random.Random(4)
    user = await a_user(database, "ada")
    stream = await a_stream(database, user)
    spans = [(start := dice.randrange(200), start + dice.randrange(60)) for _ in range(150)]
    await put(database, *(session(stream, user, MORNING + start, MORNING + end) for start, end in spans))
    for begin, end in ((0, 300), (50, 120), (190, 200)):
        present = [sum(start <= at < over for start, over in spans) for at in range(begin, end)]
        async with database.read() as tx:
            assert await Span(MORNING + begin, MORNING + end, NOW).peak(tx) == max(present)


async def test_users_and_streams_have_their_own(database: Database) -> None:
    ada, bob = await a_user(database, "ada"), await a_user(database, "bob")
    one, two, three = await a_stream(database, ada), await a_stream(database, ada, "Two"), await a_stream(database, bob)
    await put(
        database,
        session(one, ada, MORNING, MORNING + 10, viewer=7),
        session(one, ada, MORNING + 20, MORNING + 25, viewer=7),
        session(two, ada, MORNING, MORNING + 100, viewer=7),
        session(three, bob, MORNING, MORNING + 1000, viewer=7),
    )
    async with database.read() as tx:
        mine = Span(MORNING - DAY, NOW, NOW, user_id=ada)
        totals = await mine.totals(tx, 10.0)
        assert (totals["sessions"], totals["viewers"], totals["watched"], await mine.peak(tx)) == (3, 1, 115.0, 2)
        listed = [dict(row) for row in await mine.by_stream(tx, 10.0, 10)]
        assert listed == [
            {"stream_id": two, "sessions": 1, "viewers": 1, "watched": 100.0, "engaged": 1},
            {"stream_id": one, "sessions": 2, "viewers": 1, "watched": 15.0, "engaged": 1},
        ]
        everybody = Span(MORNING - DAY, NOW, NOW)
        assert [row["stream_id"] for row in await everybody.by_stream(tx, 10.0, 1)] == [three]
        assert (await everybody.totals(tx, 10.0))["watched"] == 1115.0


async def test_nothing_is_nothing(database: Database) -> None:
    async with database.read() as tx:
        span = Span(MORNING, NOW, NOW)
        totals = dict(await span.totals(tx, 10.0))
        assert totals.pop("startup") is None
        assert set(totals.values()) == {0}
        assert await span.peak(tx) == 0
        assert await span.by_stream(tx, 10.0, 10) == []
        assert await span.by_step(tx, 10.0, 1) == {}
        assert await span.spread(tx, "country") == {}


async def test_viewers_are_spread_and_those_whose_country_is_not_known_are_told_apart(database: Database) -> None:
    user = await a_user(database, "ada")
    stream = await a_stream(database, user)
    await put(
        database,
        *(session(stream, user, MORNING, NOW, viewer=1, country="DE") for _ in range(5)),
        session(stream, user, MORNING, NOW, country="DE"),
        session(stream, user, MORNING, NOW, country="FR"),
        session(stream, user, MORNING, NOW, platform="linux"),
    )
    span = Span(MORNING, NOW, NOW)
    async with database.read() as tx:
        assert await span.spread(tx, "country") == {"DE": 2, "FR": 1, None: 1}
        assert await span.spread(tx, "platform") == {None: 3, "linux": 1}


async def test_sessions_belong_to_the_step_in_which_they_began(database: Database) -> None:
    user = await a_user(database, "ada")
    stream = await a_stream(database, user)
    await put(
        database,
        session(stream, user, MORNING, MORNING + 5),
        session(stream, user, MORNING + HOUR - 1, MORNING + 2 * HOUR),
        session(stream, user, MORNING + HOUR, MORNING + HOUR + 10),
        session(stream, user, MORNING - DAY, MORNING - DAY + 10),
    )
    number = int(MORNING // 3600)
    async with database.read() as tx:
        hours = await Span(MORNING, NOW, NOW).by_step(tx, 10.0, 1)
        assert hours == {number: (2, 1), number + 1: (1, 1)}
        days = await Span(MORNING - DAY, NOW, NOW).by_step(tx, 10.0, 24)
        assert days == {number // 24: (3, 2), number // 24 - 1: (1, 1)}


async def test_what_pages_reported_is_summed_up_over_those_that_did(database: Database) -> None:
    user = await a_user(database, "ada")
    stream = await a_stream(database, user)
    await put(
        database,
        session(stream, user, MORNING, NOW, startup=1.0, played=90.0, stalled=10.0),
        session(stream, user, MORNING, NOW, startup=2.0, played=100.0, stalled=0.0),
        session(stream, user, MORNING, NOW, startup=None, played=0.0, stalled=0.0),
        session(stream, user, MORNING, NOW),
    )
    async with database.read() as tx:
        totals = await Span(MORNING, NOW, NOW).totals(tx, 10.0)
    assert (totals["reported"], totals["startup"], totals["played"], totals["stalled"]) == (3, 1.5, 190.0, 10.0)


# -- percents, days, steps -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "percents"),
    [
        ({}, {}),
        ({None: 4}, {}),
        ({"DE": 1}, {"DE": 100}),
        ({"DE": 1, "FR": 1, "IT": 1}, {"DE": 34, "FR": 33, "IT": 33}),
        ({"DE": 1, None: 1}, {"DE": 50}),
        ({"a": 45, "b": 30, "c": 25}, {"a": 45, "b": 30, "c": 25}),
        ({"a": 999, "b": 1}, {"a": 100}),
        ({"b": 2, "a": 2, "c": 4}, {"c": 50, "a": 25, "b": 25}),
    ],
)
def test_percents_are_whole_and_make_a_hundred_with_what_is_not_known(
    counts: dict[str | None, int], percents: dict[str, int]
) -> None:
    assert list(service.percentages(counts).items()) == list(percents.items())


def test_percents_of_anything_never_make_more_than_a_hundred() -> None:
    dice = random.Random(7)
    for _ in range(500):
        counts: dict[str | None, int] = {f"c{number}": dice.randrange(1, 1000) for number in range(dice.randrange(1, 60))}
        whole = service.percentages(counts)
        assert sum(whole.values()) == 100
        total = sum(counts.values())
        assert all(abs(whole.get(word or "", 0) - 100 * count / total) < 1 for word, count in counts.items())


def asked(**days: str) -> StreamAnalyticsQuery:
    return StreamAnalyticsQuery.model_validate_strings(days)


@pytest.mark.parametrize(
    ("days", "first", "last"),
    [
        ({}, "2030-03-11", "2030-03-17"),
        ({"start_date": "2030-03-17"}, "2030-03-17", "2030-03-17"),
        ({"start_date": "2029-03-17"}, "2029-03-17", "2030-03-17"),
        ({"end_date": "2030-03-02"}, "2030-02-24", "2030-03-02"),
        ({"end_date": "2030-04-01", "start_date": "2030-03-01"}, "2030-03-01", "2030-04-01"),
    ],
)
def test_days_that_are_meant(days: dict[str, str], first: str, last: str) -> None:
    now = service.midnight(date(2030, 3, 17)) + 36000
    assert service.days(asked(**days), now) == (date.fromisoformat(first), date.fromisoformat(last))


@pytest.mark.parametrize(
    ("days", "field"),
    [
        ({"start_date": "2030-03-18"}, "start_date"),
        ({"start_date": "2030-03-18", "end_date": "2030-03-19"}, "start_date"),
        ({"start_date": "2030-03-02", "end_date": "2030-03-01"}, "end_date"),
        ({"start_date": "2029-03-16"}, "start_date"),
        ({"end_date": "2999-12-31", "start_date": "2000-01-01"}, "end_date"),
    ],
)
def test_days_that_cannot_be(days: dict[str, str], field: str) -> None:
    with pytest.raises(ControlError) as refused:
        service.days(asked(**days), service.midnight(date(2030, 3, 17)) + 36000)
    assert set(refused.value.details["fields"]) == {field}


@pytest.mark.parametrize(
    ("days", "ago", "keep", "step"),
    [(1, 0, 400, 3600), (31, 31, 400, 3600), (32, 32, 400, 86400), (7, 500, 400, 86400), (7, 500, 0, 3600), (7, 7, 3, 86400)],
)
def test_a_timeline_goes_by_the_hour_while_those_are_few_and_kept(days: int, ago: int, keep: float, step: int) -> None:
    begin = NOW - ago * DAY
    assert service.step_for(begin, begin + days * DAY, NOW, keep) == step


def test_a_timeline_has_every_step_and_of_each_what_was_asked_for() -> None:
    samples = [{"at": MORNING + HOUR, "seconds": 1800.0, "viewers": 2.345, "bitrate": 2500.06}]
    began = {int(MORNING // 3600) + 1: (4, 3)}
    points = service.timeline(MORNING, MORNING + 2.5 * HOUR, 3600, samples, began, {"viewers", "bitrate", "engagement"})
    assert points == [
        {"timestamp": MORNING, "viewers": 0.0, "bitrate": 0.0, "engagement": 0.0},
        {"timestamp": MORNING + HOUR, "viewers": 2.35, "bitrate": 2500.1, "engagement": 0.75},
        {"timestamp": MORNING + 2 * HOUR, "viewers": 0.0, "bitrate": 0.0, "engagement": 0.0},
    ]
    assert service.timeline(MORNING, MORNING + HOUR, 3600, samples, began, {"viewers"}) == [
        {"timestamp": MORNING, "viewers": 0.0}
    ]


def test_an_average_is_one_of_the_time_on_air() -> None:
    samples = [{"seconds": 60.0, "bitrate": 3000.0}, {"seconds": 20.0, "bitrate": 1000.0}]
    assert statistics.average(samples, "bitrate") == 2500.0
    assert statistics.average([], "bitrate") == 0.0
