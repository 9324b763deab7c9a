"""What every handler may use: made once at the start, closed at the end."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from control.auth.service import Accounts
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
class Services:
    """The parts of the control plane that domains share."""

    config: "Config"
    db: "Database"
    engine: "Engine"
    accounts: "Accounts"
    limiter: "RateLimiter"
    vault: "Vault"
    feed: "Feed"
    authorizer: "Authorizer"
    prober: "Prober"
    on_air: "OnAir"
    conductor: "Conductor"
    webhooks: "Webhooks"
    live: "LiveUpdates"


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)
