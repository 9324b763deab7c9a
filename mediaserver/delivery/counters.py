"""What the HTTP port has done: plain integers, read when somebody asks for metrics."""

from typing import Final

KINDS: Final = (
    "playlist", "manifest", "segment", "init", "thumbnail", "flv", "ws-flv", "preflight", "missing", "refused", "malformed",
    "other",
)  # fmt: skip


class Counters:
    """``requests`` counts answers by what was asked for, ``timeouts`` the connections cut off by a deadline."""

    __slots__ = ("bytes_out", "requests", "timeouts")

    def __init__(self) -> None:
        self.requests: dict[str, int] = dict.fromkeys(KINDS, 0)
        self.bytes_out = 0
        self.timeouts = 0
