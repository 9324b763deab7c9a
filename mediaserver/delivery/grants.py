"""Who may play what: the Authorizer's answers, and the positive ones kept for a moment so that not every segment asks."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from mediaserver.delivery.response import Response
from mediaserver.errors import EngineError, Refused, Unavailable
from mediaserver.ports import Authorizer, PlayRequest

#: Seconds that a yes stays good. A viewer who is put out is out after this long; a segment is asked for more often.
GRANT_LIFE: Final = 10.0
#: Seconds that the Authorizer may take.
PATIENCE: Final = 5.0
MAX_GRANTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class GrantKey:
    """Who asks for what. ``credentials`` may hold a token: kept out of ``repr``."""

    name: str
    address: str
    credentials: str = field(repr=False)


class RefusalError(EngineError):
    """A no, with the response that says it."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


class Grants:
    """Answers ``may he play`` by asking, and from memory."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer
        self._until: dict[GrantKey, float] = {}

    def until(self, key: GrantKey) -> float:
        """When the leave to play ends; 0 if there is none."""
        return self._until.get(key, 0.0)

    async def ask(self, request: PlayRequest) -> None:
        """Ask the Authorizer.

        Raises:
            Refused: its no.
            Unavailable: it did not answer in time.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                grant = await self._authorizer.may_play(request)
        except TimeoutError:
            raise Unavailable("nobody could say in time whether this may be played") from None
        if grant.name != request.name:
            raise Refused("this may not be played under that name")

    def keep(self, key: GrantKey, now: float) -> float:
        """Remember a yes. Returns when it ends."""
        if len(self._until) >= MAX_GRANTS:
            del self._until[next(iter(self._until))]
        self._until[key] = now + GRANT_LIFE
        return now + GRANT_LIFE

    def sweep(self, now: float) -> None:
        """Forget what is over."""
        for key in [key for key, until in self._until.items() if until <= now]:
            del self._until[key]
