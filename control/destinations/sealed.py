"""Where a destination leads, as it is kept: some people paste the key into the address, which then is as secret as a key."""

from typing import TYPE_CHECKING

from control.db import Row
from control.destinations.platforms import ADDRESSES
from control.vault import Unreadable

if TYPE_CHECKING:
    from control.cipher import Cipher

_PURPOSE = "destination address"
#: What every address begins with, and nothing that is encrypted.
_PLAIN = "rtmp"


def sealed_address(cipher: "Cipher", address: str, *, keyed: bool) -> str:
    """``address`` for the database: encrypted unless it is ``keyed``, with a key beside it, or one that everybody knows."""
    return address if keyed or address in ADDRESSES.values() else cipher.seal(_PURPOSE, address)


def open_address(cipher: "Cipher", row: Row) -> str:
    """Where ``row`` leads. Raises Unreadable."""
    kept = str(row["rtmp_url"])
    return kept if kept.startswith(_PLAIN) else cipher.open(_PURPOSE, kept)


def read_address(cipher: "Cipher", row: Row) -> str | None:
    """The same to show it; None for what cannot be read."""
    try:
        return open_address(cipher, row)
    except Unreadable:
        return None
