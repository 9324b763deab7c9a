"""A publisher of whom nothing comes: somebody stands in for it, and it goes on when something comes after all."""

from mediaserver.hub.entrance import Entrance
from mediaserver.hub.hub import Publisher


class Interruption(Entrance):
    """Begins when it is made, and ends with the next packet that a player can begin with, or when another has the name."""

    def __init__(self, publisher: Publisher, reason: str, silent_for: float) -> None:
        # Who stands in declares others.
        super().__init__(publisher, publisher.stream.tracks)
        publisher.pause(reason, silent_for)
