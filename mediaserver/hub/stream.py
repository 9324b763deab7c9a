"""LiveStream: a name that is being published now, and everybody who receives it."""

import enum
from collections import deque

from mediaserver.hub.gop import GopCache
from mediaserver.hub.subscriber import Subscriber
from protocols.media import MediaKind, Metadata, Packet, Track
from protocols.timebase import Timeline


class StreamState(enum.Enum):
    """LIVE: somebody publishes. AWAY: the publisher left, the grace period runs. ENDED: over for good."""

    LIVE = "live"
    AWAY = "away"
    ENDED = "ended"


class LiveStream:
    """One name being published. Written to by its Publisher, read by its Subscribers, all on one event loop."""

    def __init__(self, name: str, gop: GopCache, since: float) -> None:
        self.name = name
        self.since = since
        self.gop = gop
        self.state = StreamState.LIVE
        self.tracks: dict[MediaKind, Track] = {}
        self.metadata: Metadata | None = None
        self.timeline = Timeline()
        self.subscribers: list[Subscriber] = []
        self.bytes_in = 0
        self.discontinuities = 0
        self.recent: deque[tuple[float, int]] = deque(maxlen=16)
