"""Webhooks as their owners see them. Secrets are shown once."""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints
from yarl import URL

from control.schema import Changes, Given, Listed, Message, Page, Taken, Timestamp
from control.webhooks.messages import EventName
from control.webhooks.models import DeliveryState


def _web_address(text: str) -> str:
    try:
        url = URL(text)
        host, port = url.raw_host, url.port
    except ValueError:
        raise ValueError("is no URL") from None
    if url.scheme not in {"http", "https"} or not host or not port:
        raise ValueError("must be https://HOST/… or http://HOST/…")
    if url.user is not None or url.password is not None or url.raw_fragment:
        raise ValueError("must have no user, password or fragment")
    return text


Url = Annotated[
    str,
    StringConstraints(max_length=2000, pattern=r"^https?://[!-~]+$"),
    AfterValidator(_web_address),
]
Secret = Annotated[str, StringConstraints(min_length=16, max_length=200, pattern=r"^[!-~]+$")]
Threshold = Annotated[int, Field(ge=1, le=1_000_000_000)]
Events = Annotated[list[EventName], Field(min_length=1, max_length=len(EventName))]
Thresholds = Annotated[list[Threshold], Field(max_length=20)]


class WebhookCreate(Taken):
    """Who is to be told: one URL for all events, or one for each (which comes first). Without a secret one is made.

    Each of ``thresholds`` is ``exceeded`` with as many viewers of a stream, and ``dropped`` when a tenth and at least two fewer
    (of 1 and 2: none) are left for five seconds.
    """

    url: Url | None = None
    urls: dict[EventName, Url] = Field(default_factory=dict)
    events: Events | None = None
    thresholds: Thresholds = Field(default_factory=lambda: [100])
    secret: Secret | None = None
    enabled: bool = True


class WebhookUpdate(Changes):
    """What is to change."""

    url: Url | None = None
    urls: dict[EventName, Url] | None = None
    events: Events | None = None
    thresholds: Thresholds | None = None
    enabled: bool | None = None


class Webhook(Given):
    """A webhook. ``disabled_reason`` says why the server disabled it; ``failing_since`` is null while it answers."""

    id: int
    url: str | None
    urls: dict[EventName, str]
    events: list[EventName]
    thresholds: list[int]
    enabled: bool
    disabled_reason: str
    failing_since: Timestamp | None
    created_at: Timestamp
    updated_at: Timestamp


class WebhookDone(Webhook, Message):
    """One that was changed."""


class WebhookCreated(WebhookDone):
    """One that was made, and its secret this once."""

    secret: str


class NewSecret(Message):
    """Another secret. The old one signs beside it until ``old_secret_until``."""

    secret: str
    old_secret_until: Timestamp


class Webhooks(Listed):
    """A page of webhooks."""

    webhooks: list[Webhook]


class DeliveryPage(Page):
    """Which part of the log."""

    state: DeliveryState | None = None


class Delivery(Given):
    """A message to one webhook. ``status`` is HTTP's of the last try; ``message_id`` the header webhook-id."""

    id: int
    message_id: str
    event: str
    state: DeliveryState
    attempts: int
    status: int | None
    error: str
    replay_of: int | None
    created_at: Timestamp
    next_attempt_at: Timestamp | None
    finished_at: Timestamp | None


class Attempt(Given):
    """One try. ``response`` is the beginning of what the receiver answered."""

    number: int
    at: Timestamp
    status: int | None
    error: str
    seconds: float
    response: str


class FullDelivery(Delivery):
    """A delivery with what was sent and every try."""

    body: str
    tries: list[Attempt]


class DeliveryReplayed(Delivery, Message):
    """A delivery that begins anew."""


class Deliveries(Listed):
    """A page of deliveries, the newest first."""

    deliveries: list[Delivery]
