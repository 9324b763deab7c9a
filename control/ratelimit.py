"""Rate limits: buckets in process, or in Redis where that is configured; the headers on every answer come from them."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter

if TYPE_CHECKING:
    from mediaserver.config import LimitsConfig


class Limit(enum.Enum):
    """Which bucket an operation draws from: NONE · API, by token or by address · STREAMING, beside it · LOGIN, by address."""

    NONE = "none"
    API = "api"
    STREAMING = "streaming"
    LOGIN = "login"


@dataclass(frozen=True, slots=True)
class Draw:
    """What one request left in its bucket. ``reset`` is Unix time."""

    allowed: bool
    limit: int
    remaining: int
    reset: int

    def headers(self, now: float) -> dict[str, str]:
        """The documented headers, and Retry-After for who has to wait."""
        headers = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.reset),
        }
        if not self.allowed:
            headers["Retry-After"] = str(max(1, round(self.reset - now)))
        return headers


class RateLimiter:
    """All buckets. ``url`` of a Redis server, or empty."""

    def __init__(self, config: "LimitsConfig", url: str = "") -> None:
        self._storage: Storage = _redis(url) if url else MemoryStorage()
        self._limiter = FixedWindowRateLimiter(self._storage)
        self._rates: Mapping[str, RateLimitItem] = {
            "token": parse(f"{config.api_with_token}/hour"),
            "address": parse(f"{config.api_without_token}/hour"),
            "streaming": parse(f"{config.streaming}/minute"),
            "login": parse(f"{config.login}/minute"),
        }

    async def draw(self, limit: Limit, token: str, address: str) -> Draw | None:
        """Take one from every bucket that ``limit`` names. ``token`` identifies who is logged in, or is empty. The tightest."""
        if limit is Limit.NONE:
            return None
        draws = [await self._take("token", token) if token else await self._take("address", address)]
        if limit is Limit.STREAMING:
            draws.append(await self._take("streaming", token or address))
        elif limit is Limit.LOGIN:
            draws.append(await self._take("login", address))
        refused = [draw for draw in draws if not draw.allowed]
        return min(refused or draws, key=lambda draw: draw.remaining)

    async def _take(self, bucket: str, whose: str) -> Draw:
        rate = self._rates[bucket]
        allowed = await self._limiter.hit(rate, bucket, whose)
        stats = await self._limiter.get_window_stats(rate, bucket, whose)
        return Draw(allowed, rate.amount, max(0, stats.remaining), int(stats.reset_time))


def _redis(url: str) -> Storage:
    from limits.aio.storage import RedisStorage  # noqa: PLC0415 - an extra

    return RedisStorage(f"async+{url}", implementation="redispy")
