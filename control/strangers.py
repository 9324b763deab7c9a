"""Who tries keys that are nobody's: whoever looks for one does not go on for long."""

import hashlib
from collections import OrderedDict

from mediaserver.addresses import is_local, network_of
from mediaserver.errors import Refused

#: Wrong keys that an address may try, and seconds after the first of them until it may try others. One encoder that keeps trying
#: the same wrong one learns nothing by it, and shuts nobody else out.
WRONG_KEYS, FORGET = 20, 600.0
#: Addresses that are remembered: the oldest make room.
REMEMBERED = 10_000


class UnknownKey(Refused):
    """A stream key that is nobody's."""

    def __init__(self) -> None:
        super().__init__("unknown stream key")


class Strangers:
    """The wrong keys of each address, as digests. ``now`` is Unix time."""

    def __init__(self) -> None:
        self._tried: OrderedDict[str, tuple[float, set[bytes]]] = OrderedDict()

    def barred(self, address: str, now: float) -> bool:
        """Whether an address tried too many: its right one counts for nothing either, or it would know which that is."""
        return self.wait(address, now) > 0

    def wait(self, address: str, now: float) -> float:
        """Seconds for which it still is barred; 0 or less if it is not."""
        since, keys = self._tried.get(network_of(address), (now, set()))
        return since + FORGET - now if len(keys) >= WRONG_KEYS else 0.0

    def note(self, address: str, key: str, now: float) -> None:
        """``key`` was a wrong one. Behind a program of this machine (a proxy, another server) many may stand: they are
        not shut out together."""
        if is_local(address):
            return
        whose = network_of(address)
        since, keys = self._tried.get(whose, (now, set()))
        if now - since >= FORGET:
            del self._tried[whose]
            since, keys = now, set()
        if len(keys) < WRONG_KEYS:
            keys.add(hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()[:8])
        self._tried[whose] = since, keys
        if len(self._tried) > REMEMBERED:
            self._tried.popitem(last=False)
