"""Limits: the documented figures and headers, in this process and in a real Redis."""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
from redis.asyncio import Redis as RedisClient

from control import ratelimit
from control.ratelimit import Limit, RateLimiter
from mediaserver.config import LimitsConfig
from tests.control.conftest import OpenPanel
from tests.peers import Redis

SMALL = {"api_with_token": 6, "api_without_token": 4, "streaming": 2, "login": 3}
NOW = 1_900_000_000.0


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that is slow is not away."""
    monkeypatch.setattr(ratelimit, "REDIS_PATIENCE", 30.0)


@pytest.fixture(params=["here", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "here":
        return ""
    server: Redis = request.getfixturevalue("redis")
    request.getfixturevalue("flushed")
    return server.url()


@pytest.fixture
async def flushed(redis: Redis) -> None:
    async with RedisClient.from_url(redis.url()) as client:
        await client.flushall()


@pytest.fixture
async def limiter(url: str) -> AsyncIterator[RateLimiter]:
    made = RateLimiter(LimitsConfig(**SMALL), url, lambda: NOW)
    yield made
    await made.close()
    await made.close()


async def draws(
    limiter: RateLimiter, count: int, limit: Limit = Limit.API, token: str = "", address: str = "192.0.2.1"
) -> list[bool]:
    taken = [await limiter.draw(limit, token, address) for _ in range(count)]
    return [draw.allowed for draw in taken if draw is not None]


def test_the_documented_figures_are_the_defaults() -> None:
    config = LimitsConfig()
    assert (config.api_with_token, config.api_without_token, config.streaming) == (1000, 100, 60)


async def test_so_many_and_no_more_by_token_and_by_address(limiter: RateLimiter) -> None:
    assert await draws(limiter, 7, token="1") == [True] * 6 + [False]
    assert await draws(limiter, 1, token="2") == [True]
    assert await draws(limiter, 5) == [True] * 4 + [False]
    assert await draws(limiter, 1, address="192.0.2.2") == [True]
    assert await draws(limiter, 3, Limit.NONE) == []


async def test_streaming_and_logging_in_have_limits_of_their_own(limiter: RateLimiter) -> None:
    assert await draws(limiter, 3, Limit.STREAMING, token="1") == [True, True, False]
    assert await draws(limiter, 3, token="1") == [True, True, True]  # what is left of six
    assert await draws(limiter, 4, Limit.LOGIN) == [True, True, True, False]


async def test_a_household_s_ipv6_network_is_one_address(limiter: RateLimiter) -> None:
    assert await draws(limiter, 4, address="2001:db8::1") == [True] * 4
    assert await draws(limiter, 1, address="2001:db8::ffff:2") == [False]
    assert await draws(limiter, 1, address="2001:db8:0:1::1") == [True]
    assert await draws(limiter, 5, address="::ffff:198.51.100.1") == [True] * 4 + [False]
    assert await draws(limiter, 1, address="198.51.100.1") == [False]


async def test_the_headers_tell_what_is_left_and_when_it_is_worth_coming_back(limiter: RateLimiter) -> None:
    first = await limiter.draw(Limit.API, "", "192.0.2.1")
    assert first is not None
    assert (first.limit, first.remaining) == (4, 3)
    assert NOW + 3590 <= first.reset <= NOW + 3601
    assert "Retry-After" not in first.headers()
    await draws(limiter, 3)
    refused = await limiter.draw(Limit.API, "", "192.0.2.1")
    assert refused is not None
    headers = refused.headers()
    assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == ("4", "0")
    assert 3590 <= int(headers["Retry-After"]) <= 3601


async def test_a_minute_s_limit_says_a_minute_even_where_the_hour_s_is_tighter(limiter: RateLimiter) -> None:
    await draws(limiter, 3, Limit.LOGIN)
    refused = await limiter.draw(Limit.LOGIN, "", "192.0.2.1")
    assert refused is not None
    assert refused.limit == 3
    assert 50 <= int(refused.headers()["Retry-After"]) <= 60


async def test_a_window_ends_and_begins_anew(limiter: RateLimiter, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    limiter._rates["address"] = (2, 300)
    assert await draws(limiter, 3) == [True, True, False]
    if url:
        async with RedisClient.from_url(url) as client:
            (name,) = await client.keys()
            assert 0 < await client.pttl(name) <= 300_000
            await client.pexpire(name, 1)
    else:
        later = time.monotonic() + 300
        monkeypatch.setattr(ratelimit, "time", SimpleNamespace(monotonic=lambda: later))
    async with asyncio.timeout(30):
        while not (await draws(limiter, 1))[0]:  # noqa: ASYNC110 - time passes, and nothing announces it
            await asyncio.sleep(0.01)


async def test_many_at_once_are_counted_one_by_one(limiter: RateLimiter) -> None:
    taken = await asyncio.gather(*(limiter.draw(Limit.API, "1", "") for _ in range(30)))
    assert sum(draw.allowed for draw in taken if draw) == 6


async def test_two_nodes_share_what_is_in_redis(flushed: None, redis: Redis) -> None:
    nodes = [RateLimiter(LimitsConfig(**SMALL), redis.url()) for _ in range(2)]
    allowed = [(await draws(node, 1, token="1"))[0] for node in nodes * 4]
    assert allowed == [True] * 6 + [False] * 2
    for node in nodes:
        await node.close()


@pytest.mark.parametrize("how", ["gone", "silent"])
async def test_without_redis_each_node_counts_for_itself_and_everybody_is_answered(
    how: str, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ratelimit, "REDIS_AWAY", 1000.0)
    server = Redis(tmp_path_factory.mktemp("away"))
    limiter = RateLimiter(LimitsConfig(**SMALL), server.url())
    try:
        assert await draws(limiter, 1, token="1") == [True]
        if how == "gone":
            server.stop()
        else:
            server.process.signal(signal.SIGSTOP)
        with caplog.at_level(logging.WARNING), monkeypatch.context() as patched:
            patched.setattr(ratelimit, "REDIS_PATIENCE", 0.2)
            assert await draws(limiter, 7, token="1") == [True] * 6 + [False]
        assert [record.getMessage() for record in caplog.records] == ["redis_away"]  # once, not a line a request
        if how == "gone":
            server.start()
        else:
            server.process.signal(signal.SIGCONT)
        limiter._away_until = 0.0
        assert (await draws(limiter, 1, token="2")) == [True]
        assert limiter._away_until == 0.0  # Redis it was
    finally:
        server.process.signal(signal.SIGCONT)
        server.stop()
        await limiter.close()


async def test_a_million_addresses_leave_no_more_than_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratelimit, "MAX_BUCKETS", 100)
    limiter = RateLimiter(LimitsConfig())
    for number in range(1000):
        await limiter.draw(Limit.LOGIN, "", f"10.0.{number >> 8}.{number & 255}")
    assert len(limiter._here._counts) <= 102


async def test_every_answer_of_an_operation_has_the_headers_and_a_refusal_the_frame(panel: OpenPanel) -> None:
    here = await panel(limits={"api_without_token": 4, "api_with_token": 1000, "login": 50})
    person = await here.log_in()
    assert (await person.get("/api/users/me")).headers["X-RateLimit-Limit"] == "1000"
    for _ in range(3):
        # A token that is none draws from its address: guessing at tokens ends like any other guessing.
        answer = await here.nobody.get("/api/users/me", headers={"Authorization": "Bearer none"})
        assert answer.status == 401
        assert answer.headers["X-RateLimit-Limit"] == "4"
    answer = await here.nobody.get("/api/users/me", headers={"Authorization": "Bearer none"})
    assert (answer.status, answer.error["code"]) == (429, "RATE_LIMITED")
    assert int(answer.headers["Retry-After"]) > 3000
    assert set(answer.error["details"]) == {"limit", "reset"}
    assert (await person.get("/api/users/me")).status == 200
    # Pages, media and health are no requests of the API.
    for path in ("/", "/healthz", "/api/live", "/metrics"):
        assert (await here.nobody.get(path)).status == 200
