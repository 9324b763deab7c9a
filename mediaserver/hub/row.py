"""The row: players who stand ready, and are written to one after the other."""

import os
from array import array
from collections.abc import Iterable

from mediaserver.hub.player import FanoutPlayer, PlayerState


class Row:
    """The live players of a group, as long as none comes, goes, or has something queued who had not, or the other way round.

    First stand those whose sockets are written to at once. All that is needed for them lies close together: the kernel empties
    the caches between any two of them, and with hundreds of players, to fetch each one's own objects anew costs more than
    everything else that is done here for a write.
    """

    __slots__ = ("_descriptors", "players")

    def __init__(self, players: Iterable[FanoutPlayer]) -> None:
        ready: list[FanoutPlayer] = []
        others: list[FanoutPlayer] = []
        for player in players:
            (ready if player.ready else others).append(player)
        self.players = (*ready, *others)
        self._descriptors = array("i", [player.descriptor for player in ready])

    def write(self, data: bytes, begin: int, end: int) -> None:
        """Write ``data`` to ``players[begin:end]``. Not for a row that holds no more."""
        descriptors, write, size = self._descriptors, os.write, len(data)
        at = begin
        try:
            for descriptor in descriptors[begin:end]:
                try:
                    sent = write(descriptor, data)
                except OSError as error:
                    self.players[at].fail(error, data)
                else:
                    if sent != size:
                        self.players[at].keep(data, sent)
                at += 1
        except Exception as error:  # noqa: BLE001 - it costs that player, who logs it; the others have theirs as after the row
            self.players[at].give_up(error)
            at += 1
        if at < min(end, len(self.players)):
            send(self.players[at:end], data)


def send(players: Iterable[FanoutPlayer], data: bytes) -> None:
    """Write ``data`` to those of ``players`` who are still live. One that fails costs the others nothing."""
    waiting = iter(players)
    player: FanoutPlayer | None = None
    while True:
        try:
            for player in waiting:
                if player.state is PlayerState.LIVE:
                    player.send(data)
        except Exception as error:
            if player is None:
                raise
            player.give_up(error)
        else:
            return
