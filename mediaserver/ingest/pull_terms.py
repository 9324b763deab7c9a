"""What a pull's worker is told, and how it says that it cannot go on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from mediaserver.errors import Refused, Unresolved
from mediaserver.ports import InputType


class SourceLost(Exception):
    """The source cannot be had now; it is worth another try. No secrets in the words."""


class SourceRefused(Exception):
    """The source cannot be had at all: trying again would change nothing. No secrets in the words."""


def barred(refusal: Refused) -> SourceLost | SourceRefused:
    """Why the source's own address may not be gone to. One that leads nowhere now may lead somewhere later."""
    return (SourceLost if isinstance(refusal, Unresolved) else SourceRefused)(refusal.reason)


class SourceEnded(Exception):
    """All of it has been had: a file's end, a playlist that is complete."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What to fetch, and within which limits. ``timeout`` in seconds for each wait; ``largest`` in bytes for a packet;
    ``max_bitrate`` in bits a second. ``tls_ca`` and ``tls_verify``: whom TLS believes (``transport.trust``)."""

    type: InputType
    url: str = field(repr=False)
    loop: bool
    allow_private: bool
    timeout: float
    roots: tuple[str, ...]
    largest: int
    memory: int
    max_bitrate: int
    tls_ca: str
    tls_verify: bool

    def settings(self) -> dict[str, object]:
        """As a worker's settings."""
        return {
            "type": self.type.value,
            "url": self.url,
            "loop": self.loop,
            "allow_private": self.allow_private,
            "timeout": self.timeout,
            "roots": list(self.roots),
            "largest": self.largest,
            "memory": self.memory,
            "max_bitrate": self.max_bitrate,
            "tls_ca": self.tls_ca,
            "tls_verify": self.tls_verify,
        }

    @classmethod
    def read(cls, settings: Mapping[str, object]) -> "Terms":
        """Back from a worker's settings."""
        return cls(
            type=InputType(settings["type"]),
            url=str(settings["url"]),
            loop=bool(settings["loop"]),
            allow_private=bool(settings["allow_private"]),
            timeout=float(cast("float", settings["timeout"])),
            roots=tuple(cast("list[str]", settings["roots"])),
            largest=cast("int", settings["largest"]),
            memory=cast("int", settings["memory"]),
            max_bitrate=cast("int", settings["max_bitrate"]),
            tls_ca=str(settings["tls_ca"]),
            tls_verify=bool(settings["tls_verify"]),
        )
