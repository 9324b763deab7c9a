"""What the control plane's parts have of each other."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from control.analytics.attendance import Attendance
    from control.analytics.figures import Figures
    from control.auth.service import Accounts
    from control.cipher import Cipher
    from control.db import Database
    from control.health.service import Prober
    from control.live.service import LiveUpdates
    from control.plane import ControlPlane
    from control.ratelimit import RateLimiter
    from control.streams.conductor import Conductor
    from control.streams.onair import OnAir
    from control.vault import Vault
    from control.watch import Watch
    from control.webhooks.service import Webhooks
    from mediaserver.config import Config
    from mediaserver.engine import Engine
    from mediaserver.ports import Authorizer


@dataclass(frozen=True, slots=True)
class Resident:
    """What is there from the start to the end, whether anybody asks or not."""

    config: "Config"
    engine: "Engine"
    control: "ControlPlane"
    on_air: "OnAir"
    conductor: "Conductor"
    webhooks: "Webhooks"
    live: "LiveUpdates"
    attendance: "Attendance"
    watch: "Watch"


@dataclass(frozen=True, slots=True)
class Services:
    """What every handler of the API may use. ``accounts``, ``prober``, ``cipher`` and ``figures`` came with the first request."""

    config: "Config"
    db: "Database"
    engine: "Engine"
    accounts: "Accounts"
    limiter: "RateLimiter"
    vault: "Vault"
    cipher: "Cipher"
    authorizer: "Authorizer"
    prober: "Prober"
    on_air: "OnAir"
    conductor: "Conductor"
    webhooks: "Webhooks"
    live: "LiveUpdates"
    attendance: "Attendance"
    figures: "Figures"
