"""What handlers may use."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from control.auth.service import Accounts
    from control.cipher import Cipher
    from control.db import Database
    from control.feed import Feed
    from control.health.service import Prober
    from control.live.service import LiveUpdates
    from control.ratelimit import RateLimiter
    from control.streams.conductor import Conductor
    from control.streams.onair import OnAir
    from control.vault import Vault
    from control.webhooks.service import Webhooks
    from mediaserver.config import Config
    from mediaserver.engine import Engine
    from mediaserver.ports import Authorizer


@dataclass(frozen=True, slots=True)
class Resident:
    """The parts that are there from the start to the end, whether anybody asks or not."""

    config: "Config"
    db: "Database"
    engine: "Engine"
    limiter: "RateLimiter"
    vault: "Vault"
    feed: "Feed"
    authorizer: "Authorizer"
    on_air: "OnAir"
    conductor: "Conductor"
    webhooks: "Webhooks"
    live: "LiveUpdates"


@dataclass(frozen=True, slots=True)
class Services(Resident):
    """Those, and the ones that come with the first request."""

    accounts: "Accounts"
    prober: "Prober"
    cipher: "Cipher"


RESIDENT: web.AppKey[Resident] = web.AppKey("resident", Resident)
