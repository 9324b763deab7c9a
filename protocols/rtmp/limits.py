"""What one RTMP connection may cost us, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Sizes in bytes. Every one of them ends the connection with ``LimitExceeded`` when it is passed.

    ``reassembly`` bounds the unfinished messages of a connection taken together, by bytes that arrived and not by bytes that
    were promised; ``reassembly_before_media`` is the same before a publish or a play was accepted. A 4K key frame at
    50 Mbit/s is about 2 MB.
    """

    message: int = 8 << 20
    command: int = 64 << 10
    data: int = 1 << 20
    reassembly: int = 16 << 20
    reassembly_before_media: int = 256 << 10
    chunk_streams: int = 64
    message_streams: int = 16
