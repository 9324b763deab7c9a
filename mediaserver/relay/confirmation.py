"""The question to a platform whether it shows what it is sent: a port, for whoever knows the platform's API."""

from typing import Protocol

from mediaserver.ports import RelayTarget


class Confirmer(Protocol):
    """Is he live? Asked every so often about a Relay whose target takes the stream."""

    async def is_live(self, target: RelayTarget) -> bool | None:
        """What the target's platform says; None where it cannot be asked. May raise anything: that is None too."""
