"""Rate limits: buckets in process, or in Redis where that is configured; the headers on every answer come from them."""

import asyncio
import enum
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from control.errors import ControlError, ErrorCode
from mediaserver.addresses import network_of

if TYPE_CHECKING:
    from mediaserver.config import LimitsConfig

log = logging.getLogger(__name__)

HOUR, MINUTE = 3600, 60
#: Buckets that are kept in this process: the oldest make room.
MAX_BUCKETS = 100_000
#: Seconds that Redis may take, and for which it is then left alone.
REDIS_PATIENCE = 1.0
REDIS_AWAY = 5.0


class Limit(enum.Enum):
    """Which bucket an operation draws from: NONE · API, by token or by address · STREAMING and LOGIN, beside it · REPORTS of
    players, RTMP_AUTH and GUESSES at its secret, by address, and no other."""

    NONE = "none"
    API = "api"
    STREAMING = "streaming"
    LOGIN = "login"
    REPORTS = "reports"
    RTMP_AUTH = "rtmp_auth"
    GUESSES = "guesses"


@dataclass(frozen=True, slots=True)
class Draw:
    """What one request left in its bucket. ``reset`` is Unix time, in ``wait`` seconds."""

    allowed: bool
    limit: int
    remaining: int
    reset: int
    wait: int

    def headers(self) -> dict[str, str]:
        """The documented headers, and Retry-After for who has to wait."""
        headers = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.reset),
        }
        if not self.allowed:
            headers["Retry-After"] = str(self.wait)
        return headers

    def require(self) -> None:
        """Raises ControlError (429) where nothing was left."""
        if not self.allowed:
            details = {"limit": self.limit, "reset": self.reset}
            raise ControlError(ErrorCode.RATE_LIMITED, "Too many requests", details, self.headers())


class Buckets(Protocol):
    """Where it is counted how often something happened."""

    async def take(self, buckets: Sequence[tuple[str, int]], times: int) -> Sequence[tuple[int, float]]:
        """Count for each (name, seconds that it counts for) so many times: how often by now, and in how many seconds it is
        over."""

    async def close(self) -> None:
        """Give back what it holds."""


class RateLimiter:
    """All buckets. ``url`` of a Redis server that several nodes share, or empty: in this process."""

    def __init__(self, config: "LimitsConfig", url: str = "", clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._here = _Here()
        self._shared: Buckets | None = _Redis(url) if url else None
        self._away_until = 0.0
        self._rates = {
            "token": (config.api_with_token, HOUR),
            "address": (config.api_without_token, HOUR),
            "streaming": (config.streaming, MINUTE),
            "login": (config.login, MINUTE),
            "reports": (config.reports, MINUTE),
            "rtmp_auth": (config.rtmp_auth, MINUTE),
            "guesses": (config.login, MINUTE),
        }

    async def look(self, limit: Limit, token: str, address: str) -> Draw | None:
        """What ``draw`` would give; nothing is taken."""
        return await self._draw(limit, token, address, 0)

    async def draw(self, limit: Limit, token: str, address: str) -> Draw | None:
        """Take one from every bucket that ``limit`` names. ``token`` identifies who is logged in, or is empty. The tightest."""
        return await self._draw(limit, token, address, 1)

    async def _draw(self, limit: Limit, token: str, address: str, times: int) -> Draw | None:
        if limit is Limit.NONE:
            return None
        household = network_of(address)
        taken = [("token", token) if token else ("address", household)]
        if limit in (Limit.REPORTS, Limit.RTMP_AUTH, Limit.GUESSES):
            # Whoever watches shall not run out of what he may ask, nor an nginx of what its encoders ask.
            taken = [(limit.value, household)]
        elif limit is Limit.STREAMING:
            taken.append(("streaming", token or household))
        elif limit is Limit.LOGIN:
            taken.append(("login", household))
        counts = await self._take([(f"{bucket}:{whose}", self._rates[bucket][1]) for bucket, whose in taken], times)
        now = self._clock()
        draws = []
        for (bucket, _), (count, seconds) in zip(taken, counts, strict=True):
            amount = self._rates[bucket][0]
            wait = max(1, math.ceil(seconds))
            allowed = count <= amount if times else count < amount
            draws.append(Draw(allowed, amount, max(0, amount - count), math.ceil(now + seconds), wait))
        refused = [draw for draw in draws if not draw.allowed]
        # Of several that refuse, the one that does so for longest says when it is worth coming back.
        return max(refused, key=lambda draw: draw.reset) if refused else min(draws, key=lambda draw: draw.remaining)

    async def close(self) -> None:
        """Give back what it holds. Harmless twice."""
        if self._shared is not None:
            await self._shared.close()

    async def _take(self, buckets: Sequence[tuple[str, int]], times: int) -> Sequence[tuple[int, float]]:
        """From the shared buckets; for a while from our own where those do not answer: a limit that is counted a node is
        better than none, and better than no answer."""
        if self._shared is not None and time.monotonic() >= self._away_until:
            try:
                async with asyncio.timeout(REDIS_PATIENCE):
                    return await self._shared.take(buckets, times)
            except (_AwayError, TimeoutError) as error:
                self._away_until = time.monotonic() + REDIS_AWAY
                log.warning("redis_away", extra={"facts": {"reason": str(error) or "it took too long"}})
        return await self._here.take(buckets, times)


class _AwayError(Exception):
    """Redis does not answer as it should."""


class _Here:
    """Buckets in this process, oldest first, so many at most."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()

    async def take(self, buckets: Sequence[tuple[str, int]], times: int) -> Sequence[tuple[int, float]]:
        now = time.monotonic()
        taken = []
        for name, lasts in buckets:
            count, ends = self._counts.get(name, (0, 0.0))
            if ends <= now:
                # Where it stands tells its age: the front of the queue is what can be dropped.
                self._counts.pop(name, None)
                count, ends = 0, now + lasts
            self._counts[name] = (count + times, ends)
            taken.append((count + times, ends - now))
        self._tidy(now)
        return taken

    async def close(self) -> None:
        self._counts.clear()

    def _tidy(self, now: float) -> None:
        for _ in range(2):
            if self._counts and (len(self._counts) > MAX_BUCKETS or next(iter(self._counts.values()))[1] <= now):
                self._counts.popitem(last=False)


class _Redis:
    """Buckets in Redis: all of a request in one round trip."""

    def __init__(self, url: str) -> None:
        try:
            from redis.asyncio import Redis  # noqa: PLC0415 - an extra
            from redis.exceptions import RedisError  # noqa: PLC0415
        except ImportError:
            raise ValueError("redis.url needs the package redis: pip install 'mediaserver[redis]'") from None
        self._errors = (RedisError, OSError)
        self._client = Redis.from_url(url, socket_timeout=REDIS_PATIENCE, socket_connect_timeout=REDIS_PATIENCE)
        self._script = self._client.register_script(_SCRIPT)

    async def take(self, buckets: Sequence[tuple[str, int]], times: int) -> Sequence[tuple[int, float]]:
        keys = [f"mediaserver:limit:{name}" for name, _ in buckets]
        try:
            answer = await self._script(keys=keys, args=[times, *(lasts * 1000 for _, lasts in buckets)])
        except self._errors as error:
            raise _AwayError(type(error).__name__) from None
        return [(int(count), max(0, int(left)) / 1000) for count, left in zip(answer[::2], answer[1::2], strict=True)]

    async def close(self) -> None:
        await self._client.aclose()


#: What an expired key begins anew is decided where all nodes' requests meet.
_SCRIPT = """
local answer = {}
for number, key in ipairs(KEYS) do
    local count = redis.call('INCRBY', key, ARGV[1])
    if redis.call('PTTL', key) < 0 then redis.call('PEXPIRE', key, ARGV[number + 1]) end
    answer[#answer + 1] = count
    answer[#answer + 1] = redis.call('PTTL', key)
end
return answer
"""
