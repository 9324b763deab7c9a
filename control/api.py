"""The API: every operation behind its addresses, and what only they need. Loaded by ``control.gate`` when somebody asks."""

from typing import TYPE_CHECKING

from aiohttp import web

from control import endpoint
from control.analytics.figures import Figures
from control.analytics.routes import analytics
from control.asked import OPERATION, SERVICES
from control.auth.passwords import Passwords
from control.auth.routes import auth
from control.auth.service import Accounts
from control.auth.tokens import Tokens
from control.destinations.routes import destinations
from control.docs import Docs
from control.health.routes import health
from control.health.service import Prober
from control.live.routes import live
from control.rest import Domain
from control.rtmp.routes import rtmp
from control.services import Resident, Services
from control.statistics.routes import statistics
from control.streams.routes import streams
from control.trail.routes import trail
from control.users.routes import users
from control.web.assets import Assets
from control.webhooks.routes import webhooks

if TYPE_CHECKING:
    from control.cipher import Cipher

#: Every domain of the API.
DOMAINS: list[Domain] = [auth, users, streams, destinations, rtmp, health, statistics, analytics, webhooks, live, trail]


class Api:
    """Answers with what is ``resident``. Made in a thread: nothing in here may touch the loop."""

    def __init__(self, resident: Resident, cipher: "Cipher", assets: Assets) -> None:
        control, config = resident.control, resident.config
        passwords = control.passwords or Passwords()
        self._own = [] if control.passwords else [passwords]
        self.services = Services(
            config=config,
            db=control.db,
            engine=resident.engine,
            accounts=Accounts(control.db, Tokens(control.vault.token_key, config.auth.token_ttl), passwords, control.clock),
            limiter=control.limiter,
            vault=control.vault,
            cipher=cipher,
            authorizer=control.authorizer,
            prober=Prober(config, control.db, resident.engine),
            on_air=resident.on_air,
            conductor=resident.conductor,
            webhooks=resident.webhooks,
            live=resident.live,
            attendance=resident.attendance,
            figures=Figures(control.db),
        )
        operations = [operation for domain in DOMAINS for operation in domain.operations]
        self.router = web.UrlDispatcher()
        self._operations = endpoint.route(self.router, operations)
        Docs(operations, assets).route(self.router)

    async def resolve(self, request: web.Request) -> tuple[web.UrlMappingMatchInfo | None, set[str]]:
        """The handler for ``request``; without one the methods that its address takes."""
        request[SERVICES] = self.services
        match = await self.router.resolve(request)
        if not isinstance(match, web.UrlMappingMatchInfo) or match.http_exception is not None:
            return None, getattr(match.http_exception, "allowed_methods", set())
        operation = self._operations.get(match.handler)
        if operation is not None:
            request[OPERATION] = operation
        return match, set()

    def close(self) -> None:
        """Give back what it holds."""
        for opened in self._own:
            opened.close()
