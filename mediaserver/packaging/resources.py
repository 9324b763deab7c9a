"""Everything below ``/live/NAME/``: who answers for it."""

from collections.abc import Mapping

from mediaserver.packaging import thumbnails
from mediaserver.packaging.answer import Answer
from mediaserver.packaging.lease import NEVER, Lease
from mediaserver.packaging.packagers import Packagers
from mediaserver.packaging.thumbnails import Thumbnails


class Resources:
    """The packaging house to its players: playlists and media of the packagers, still images of the thumbnails."""

    def __init__(self, packagers: Packagers, thumbnails: Thumbnails) -> None:
        self.target_duration = packagers.target_duration
        self._packaged = packagers.answer
        self._lease = packagers.lease
        self._thumbnail = thumbnails.answer

    def answer(self, name: str, resource: str, query: Mapping[str, str], now: float) -> Answer:
        """What to say to a request for ``/live/{name}/{resource}``."""
        if resource == thumbnails.RESOURCE:
            return self._thumbnail(name, resource, query, now)
        return self._packaged(name, resource, query, now)

    def lease(self, name: str, resource: str) -> Lease:
        """For how long what was just answered is the answer."""
        return NEVER if resource == thumbnails.RESOURCE else self._lease(name)
