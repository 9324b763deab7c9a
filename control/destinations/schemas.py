"""Destinations as the Panel document has them. Stream keys go in and never come out."""

from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints, ValidationInfo, field_validator

from control.destinations.platforms import ADDRESSES
from control.schema import Address, Changes, Given, Listed, Taken, Timestamp, Title

Platform = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
RtmpUrl = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=2000, pattern=r"^rtmps?://[^\s/?#@]+(/[^\s]*)?$"), Address
]


def _something(key: object) -> object:
    if isinstance(key, str) and key and not key.strip():
        raise ValueError("is nothing but white space: leave it empty where there is none")
    return key


StreamKey = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=1000, pattern=r"^[^\s\x00-\x1f\x7f]*$"),
    BeforeValidator(_something),
]
RenditionName = Annotated[str, StringConstraints(pattern=r"^([a-z0-9]{1,16})?$")]


class DestinationCreate(Taken):
    """A new destination. Without an address the platform's own is taken."""

    name: Title
    platform: Platform = "custom"
    rtmp_url: Annotated[RtmpUrl | None, Field(validate_default=True)] = None
    stream_key: StreamKey = ""
    rendition: RenditionName = ""
    enabled: bool = True

    @field_validator("rtmp_url")
    @classmethod
    def _addressed(cls, url: str | None, others: ValidationInfo) -> str | None:
        # A platform that is faulty itself is not among the others.
        if url is None and not ADDRESSES.get(others.data.get("platform", "youtube"), ""):
            raise ValueError("is required: this platform gives every user an address of their own")
        return url

    @property
    def address(self) -> str:
        """Where it leads."""
        return self.rtmp_url or ADDRESSES.get(self.platform, "")


class DestinationCreateAnywhere(DestinationCreate):
    """A new destination of all streams of a user, or of one (``stream_id``). Without an address the platform's own is taken."""

    stream_id: Annotated[int, Field(gt=0, lt=1 << 63)] | None = None


class DestinationUpdate(Changes):
    """What is to change."""

    name: Title | None = None
    platform: Platform | None = None
    rtmp_url: RtmpUrl | None = None
    stream_key: StreamKey | None = None
    rendition: RenditionName | None = None
    enabled: bool | None = None


class Destination(Given):
    """A destination. ``status`` is ``active`` while it has a stream, and ``inactive`` while none is on air that goes there; or
    ``waiting``, ``connecting``, ``backing_off`` (it is tried again), ``failed`` or ``stopped``: ``reason`` says why."""

    id: int
    name: str
    platform: str
    rtmp_url: str
    enabled: bool
    stream_id: int | None
    rendition: str
    status: str
    reason: str
    created_at: Timestamp
    updated_at: Timestamp


class DestinationDone(Destination):
    """A destination that was made or changed."""

    message: str


class Destinations(Listed):
    """A page of destinations."""

    destinations: list[Destination]
