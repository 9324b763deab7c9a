"""Whether a peer still takes what waits for it."""

import asyncio
import fcntl
import struct
import termios
from typing import Final

#: What a peer must take within the deadline to count as reading, in bytes: less is of no use to a player of anything.
LEAST_PROGRESS: Final = 16 * 1024


def untaken(transport: asyncio.Transport) -> int:
    """Bytes written to ``transport`` that its peer has not acknowledged; 0 as soon as the system has taken them all.

    What the system holds counts (tcp(7), SIOCOUTQ): it may be megabytes, which a slow peer takes a while to read.
    """
    waiting = transport.get_write_buffer_size()
    if not waiting:
        return 0
    try:
        held = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    except OSError:
        return waiting
    return waiting + int(struct.unpack("i", held)[0])


class Stall:
    """Watches one connection's write buffer, sweep by sweep."""

    __slots__ = ("_least", "_since")

    def __init__(self) -> None:
        self._least = 0
        self._since = 0.0

    def lasts(self, waiting: int, now: float, patience: float) -> bool:
        """Whether of ``waiting`` bytes next to nothing was taken for ``patience`` seconds."""
        if not waiting or not self._least or waiting <= self._least - LEAST_PROGRESS:
            self._least = waiting
            self._since = now
            return False
        return now - self._since >= patience
