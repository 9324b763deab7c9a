"""One player's connection as the fan-out sees it: where bytes go, and whether it can take more."""

import asyncio
import enum
import logging
import os
import time
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from mediaserver.events import PlayEnded, PlayStarted
from mediaserver.hub.session import Session
from mediaserver.hub.stall import LEAST_PROGRESS, untaken

if TYPE_CHECKING:
    from mediaserver.hub.fanout import FanoutGroup

log = logging.getLogger(__name__)

#: What a player may have waiting in this process beyond its start, in bytes, before it is told to skip. The kernel holds
#: some seconds more.
HIGH_WATER = 512 * 1024
TOOK_NOTHING = "took nothing for too long"


def reason_of(error: Exception) -> str:
    """Why a connection was lost, for people. The kernel's timeout is that of ``transport.lost``."""
    match error:
        case TimeoutError():
            return TOOK_NOTHING
        case ConnectionResetError() | BrokenPipeError():
            return "reset by the peer"
        case _:
            return str(error) or type(error).__name__


class PlayerState(enum.Enum):
    """JOINING: waits for a first keyframe. LIVE: gets everything. LAGGING: its transport is full, it is sent nothing.
    SKIPPING: it waits for a keyframe. PAUSED: at its own wish. LEFT: gone."""

    JOINING = "joining"
    LIVE = "live"
    LAGGING = "lagging"
    SKIPPING = "skipping"
    PAUSED = "paused"
    LEFT = "left"


class FanoutPlayer:
    """Writes to one transport, and knows when that is full.

    ``full_since`` (monotonic) says that the transport is full already. ``pause_writing`` and ``resume_writing`` are to be
    called by the protocol that owns the transport, and whatever else that protocol writes goes through ``say``. ``on_end`` is
    called once when the stream ends under the player.
    """

    __slots__ = (
        "_before", "_direct", "_is_closing", "_queued", "_since", "_untaken", "accounted", "accounted_packets", "burst_at",
        "descriptor", "full", "full_since", "group", "missing_from", "on_end", "on_full", "session", "state", "transport",
        "verdict",
    )  # fmt: skip

    def __init__(
        self, transport: asyncio.Transport, session: Session, on_end: Callable[[], None], full_since: float = 0.0
    ) -> None:
        self.transport = transport
        self.session = session
        self.on_end = on_end
        self.on_full: Callable[[FanoutPlayer], None] | None = None
        self.state = PlayerState.JOINING
        self.group: FanoutGroup | None = None
        # Whether the transport holds more than it should; true to the transport whatever the player waits for.
        self.full = full_since > 0.0
        self.full_since = full_since
        self._untaken = untaken(transport) if self.full else 0
        self.burst_at = -1.0
        self.missing_from = 0
        self.accounted = self.accounted_packets = 0
        # Why it was cut off, or lost, if it was.
        self.verdict = ""
        self._since = time.time()
        self._before = session.bytes_out
        # A plain TCP socket with nothing queued is written to at once, without the transport's detour. Whether anything
        # may be queued is remembered here: to ask hundreds of transports costs more than to write to them.
        self._direct = transport.get_extra_info("ssl_object") is None
        self._queued = True
        self.descriptor: int = transport.get_extra_info("socket").fileno()
        self._is_closing = transport.is_closing
        transport.set_write_buffer_limits(high=HIGH_WATER)

    @property
    def ready(self) -> bool:
        """Whether the socket can be written to directly: nothing waits in the transport, and it is open."""
        return not (self._queued or self._is_closing())

    def send(self, data: bytes) -> None:
        """Write ``data``; what the socket does not take at once waits in the transport, by reference."""
        if self._is_closing():
            # Not for politeness: the descriptor may be another connection's already.
            return
        if self._queued:
            if not self._direct or self.transport.get_write_buffer_size() > 0:
                self.transport.write(data)
                return
            self._set_queued(False)
        try:
            sent = os.write(self.descriptor, data)
        except OSError as error:
            self.fail(error, data)
        else:
            if sent != len(data):
                self.keep(data, sent)

    def keep(self, data: bytes, sent: int) -> None:
        """The socket took so many bytes of ``data``: the rest waits in the transport."""
        self._set_queued(True)
        self.transport.write(memoryview(data)[sent:] if sent else data)

    def fail(self, error: OSError, data: bytes) -> None:
        """The socket did not take ``data``."""
        if isinstance(error, BlockingIOError):
            self.keep(data, 0)
        else:
            # Gone. Why is told once, and was told here.
            self._set_queued(True)
            self.lost(error)
            self.transport.abort()

    def _set_queued(self, queued: bool) -> None:
        self._queued = queued
        if self.group is not None:
            self.group.rearrange()

    def send_start(self, pieces: Sequence[bytes]) -> None:
        """Write what a player begins with: far more than usual, and meant to be waiting for a while."""
        if pieces and not self._is_closing():
            size = sum(map(len, pieces))
            self.session.bytes_out += size
            self.burst_at = monotonic()
            self._set_queued(True)
            self.transport.set_write_buffer_limits(high=HIGH_WATER + size)
            self.transport.writelines(pieces)

    def say(self, data: bytes) -> None:
        """Write what is not media, in its order."""
        self._set_queued(True)
        self.session.bytes_out += len(data)
        self.transport.write(data)

    def lost(self, error: Exception) -> None:
        """The connection has failed. The first to know is believed."""
        self.verdict = self.verdict or reason_of(error)

    def cut_off(self) -> None:
        """End the connection now: its peer takes nothing."""
        self.verdict = self.verdict or TOOK_NOTHING
        self.transport.abort()

    def stalls(self, now: float, patience: float) -> bool:
        """Whether it has been full for so many seconds and has taken next to nothing meanwhile. One that reads slowly may stay
        full for as long as it likes: what waits for it does not become more."""
        if not self.full or self._is_closing():
            return False
        waiting = untaken(self.transport)
        if waiting <= self._untaken - LEAST_PROGRESS:
            self._untaken, self.full_since = waiting, now
        return now - self.full_since > patience

    def give_up(self, error: Exception) -> None:
        """A bug of ours, or of what is below: it ends this connection, and no other."""
        session = self.session
        facts = {"session_id": session.id, "address": session.address}
        log.error("connection_failed", exc_info=error, extra={"facts": facts})
        self._set_queued(True)
        self.lost(error)
        self.transport.abort()

    def started(self) -> PlayStarted:
        """The event of its beginning."""
        session = self.session
        return PlayStarted(
            name=session.name,
            session_id=session.id,
            at=time.time(),
            wire=session.wire,
            address=session.address,
            agent=session.agent,
        )

    def ended(self, reason: str) -> PlayEnded:
        """The event of its end, once the fan-out has let go of it."""
        now, session = time.time(), self.session
        return PlayEnded(
            name=session.name,
            session_id=session.id,
            at=now,
            reason=self.verdict or reason,
            bytes_out=session.bytes_out - self._before,
            seconds=now - self._since,
        )

    def account(self, total: int, packets: int) -> int:
        """The group has sent ``total`` bytes and ``packets`` to each live player: this one was sent all since the last account.
        How many packets that were."""
        self.session.bytes_out += total - self.accounted
        new = packets - self.accounted_packets
        self.accounted, self.accounted_packets = total, packets
        return new

    def pause_writing(self) -> None:
        """The transport holds more than it should."""
        if not self.full:
            self.full = True
            self.full_since = monotonic()
            self._untaken = untaken(self.transport)
        if self.on_full is not None:
            self.on_full(self)

    def resume_writing(self) -> None:
        """The transport is empty enough: who was set aside for that comes back at the next keyframe."""
        self.full = False
        if self.state is PlayerState.LAGGING:
            self.state = PlayerState.SKIPPING
