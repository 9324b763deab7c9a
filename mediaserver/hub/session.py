"""Session: one connection, or one viewer, with its name for the logs and its counters."""

import secrets
import time

from mediaserver.ports import Wire
from mediaserver.snapshot import SessionSnapshot


def new_session_id() -> str:
    """A name for a session that no other node will give."""
    return secrets.token_hex(8)


class Session:
    """Who is at the other end. Counters are plain integers, written by whoever moves the bytes. ``bytes_counted`` of ``bytes_in``
    are in the sum of a stream that it published before."""

    __slots__ = (
        "address",
        "agent",
        "bytes_counted",
        "bytes_in",
        "bytes_out",
        "dropped_packets",
        "id",
        "name",
        "publishing",
        "since",
        "wire",
    )

    def __init__(self, wire: Wire, address: str, agent: str = "") -> None:
        self.id = new_session_id()
        self.wire = wire
        self.address = address
        self.agent = agent
        self.name = ""
        self.publishing = False
        self.since = time.time()
        self.bytes_in = 0
        self.bytes_counted = 0
        self.bytes_out = 0
        self.dropped_packets = 0

    def snapshot(self) -> SessionSnapshot:
        return SessionSnapshot(
            session_id=self.id,
            wire=self.wire,
            address=self.address,
            name=self.name,
            publishing=self.publishing,
            since=self.since,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            dropped_packets=self.dropped_packets,
            agent=self.agent,
        )
