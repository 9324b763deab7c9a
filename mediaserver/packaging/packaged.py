"""A stream that is being packaged with its renditions: the texts that were rendered of them last, and how long they are good."""

from collections.abc import Callable

from mediaserver.hub.stream import LiveStream
from mediaserver.packaging.family import Family
from mediaserver.packaging.lease import Watch
from mediaserver.packaging.text import Text
from protocols.hls import CONTENT_TYPE

#: How long (seconds) the playlists of a stream that is over can still be fetched, with their EXT-X-ENDLIST; and the segments
#: of a rendition that is over before its stream.
LINGER = 60.0


class Packaged:
    """One of ``Packagers``. ``asked`` is when somebody last wanted something of it, by any steady clock; ``ready`` whether its
    lists were good to be made once."""

    def __init__(self, family: Family, now: float) -> None:
        self.family = family
        self.watch = Watch()
        self.asked = now
        self.ready = False
        self._ended_at: float | None = None
        self._texts: dict[object, tuple[object, Text]] = {}

    def gather(self) -> None:
        """Package the renditions that have begun since."""
        self.family.gather()
        self._follow()

    def sweep(self, now: float) -> None:
        """Once a second: see ``Family.sweep``. Answers that were good till now count as asked for."""
        if self.watch.leased:
            self.asked = now
        self.family.sweep(now, LINGER)
        self._follow()

    def has_expired(self, now: float, patience: float) -> bool:
        """Whether nobody has asked for it for ``patience`` seconds, or it has been over for a while."""
        if not self.family.leader.ended:
            return now - self.asked > patience
        if self._ended_at is None:
            self._ended_at = now
        return now - self._ended_at > LINGER

    def close(self) -> None:
        """Package nothing any more."""
        self.watch.end()
        for stream in self._streams():
            stream.unsubscribe(self.watch)
        self.family.close()

    def _follow(self) -> None:
        self.watch.end()
        for stream in self._streams():
            self.watch.follow(stream)

    def _streams(self) -> list[LiveStream]:
        return [self.family.stream, *(follower.stream for follower in self.family.followers.values())]

    def text(
        self,
        name: object,
        key: object,
        max_age: float,
        render: Callable[[], str],
        content_type: str = CONTENT_TYPE,
        *,
        shared_age: float = 0.0,
    ) -> Text:
        """What was rendered last under ``name``, if that was of ``key``; else what ``render`` makes of it."""
        known = self._texts.get(name)
        if known is not None and known[0] == key:
            return known[1]
        text = Text(render().encode(), content_type, max_age, shared_age)
        self._texts[name] = (key, text)
        return text
