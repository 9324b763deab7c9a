"""The engine's figures for who scrapes them. Everything is read when it is asked for; no packet pays for it."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from mediaserver.lag import LagSampler
from mediaserver.ondemand import load
from mediaserver.snapshot import EngineSnapshot

if TYPE_CHECKING:
    from mediaserver.exposition import Exposition

#: Loaded with the first scrape: the library has a megabyte.
EXPOSITION = "mediaserver.exposition"


class Metrics:
    """The engine's figures, the process's and the event loop's, in Prometheus's words."""

    def __init__(self, snapshot: Callable[[], EngineSnapshot], *requests: Mapping[str, int]) -> None:
        self.lag = LagSampler()
        self._snapshot = snapshot
        self._requests = requests
        self._exposition: Exposition | None = None

    async def render(self, accept: str) -> tuple[bytes, str]:
        """The body and its content type, in the format that ``accept`` (the request's header) prefers."""
        if self._exposition is None:
            module = await load(EXPOSITION)
            self._exposition = module.Exposition(self._snapshot, self._requests, self.lag)
        return self._exposition.render(accept)
