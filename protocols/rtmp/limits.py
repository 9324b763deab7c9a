"""What one RTMP connection may cost us, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Sizes in bytes. Every one of them ends the connection with ``LimitExceeded`` when it is passed.

    ``reassembly`` bounds the unfinished messages of a publisher taken together, by bytes that arrived and not by bytes that
    were promised: a 4K key frame at 50 Mbit/s is about 2 MB. ``reassembly_before_media`` is the same for everybody else, who
    has but commands to send: ffmpeg's and OBS's connect, and the metadata that may come before the answer, have under 2 kB.

    The rest keeps a stranger's bytes cheap in time: 64 kB of them, however arranged, take some 20 ms at most. ``commands`` is
    how many may come before a publish or a play was accepted, and afterwards in one read; ``metadata`` how many onMetaData
    may come in one read. ``units`` bounds what a read holds
    that is dealt with one by one (chunks that are interleaved or alone, control messages, empty media, tags of an aggregate):
    so many, and one more for each ``unit`` bytes. It is in place of a smallest chunk size: chunks of one byte are fine as long
    as the messages are short, and no encoder comes near it with any.
    """

    message: int = 8 << 20
    command: int = 64 << 10
    data: int = 1 << 20
    reassembly: int = 16 << 20
    reassembly_before_media: int = 64 << 10
    chunk_streams: int = 64
    message_streams: int = 16
    commands: int = 100
    metadata: int = 4
    units: int = 1024
    unit: int = 16
