"""``/api/webhooks``."""

import asyncio
import json

from yarl import URL

from control import audit
from control.auth import models as user_rows
from control.db import Row
from control.errors import ControlError, ErrorCode, invalid, not_found
from control.permissions import Permission
from control.rest import Call, Domain
from control.schema import Message, Page
from control.webhooks import models, outbox, signature
from control.webhooks.messages import EventName
from control.webhooks.models import DeliveryState
from control.webhooks.schemas import (
    Attempt,
    Deliveries,
    Delivery,
    DeliveryPage,
    DeliveryReplayed,
    FullDelivery,
    NewSecret,
    Webhook,
    WebhookCreate,
    WebhookCreated,
    WebhookDone,
    Webhooks,
    WebhookUpdate,
)
from mediaserver.errors import Refused, Unresolved

webhooks = Domain("Webhooks")

#: Seconds that a name of a host may take when a webhook is made: it is looked up again for each message anyway.
LOOK_UP = 3.0

_MISSING = (ErrorCode.NOT_FOUND,)


# -- finding and showing ----------------------------------------------------------------------------------------------


async def _found(call: Call, *, hold: bool = False) -> Row:
    """The webhook in the path, which is the asker's own; with ``hold`` nobody else changes it until the call is done.

    Raises ControlError (404).
    """
    number = call.id("webhook_id", "Webhook")
    row = await (models.hold_webhook if hold else models.webhook_by_id)(call.tx, number)
    if row is None or row["user_id"] != call.actor.user_id:
        raise not_found("Webhook", webhook_id=number)
    return row


async def _found_delivery(call: Call, webhook: Row) -> Row:
    number = call.id("delivery_id", "Delivery")
    row = await models.delivery_by_id(call.tx, webhook["id"], number)
    if row is None:
        raise not_found("Delivery", delivery_id=number)
    return row


def _urls(call: Call, row: Row) -> dict[str, str]:
    urls: dict[str, str] = json.loads(call.services.cipher.read(outbox.URLS, row["urls"]) or "{}")
    return urls


def _shown(call: Call, row: Row) -> Webhook:
    urls = _urls(call, row)
    return Webhook(
        id=row["id"],
        url=urls.pop("", None),
        urls={EventName(event): url for event, url in urls.items()},
        events=[EventName(event) for event in json.loads(row["events"])],
        thresholds=json.loads(row["thresholds"]),
        enabled=bool(row["enabled"]),
        disabled_reason=row["disabled_reason"],
        failing_since=row["failing_since"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _delivery(row: Row) -> Delivery:
    pending = row["state"] == DeliveryState.PENDING.value
    return Delivery(
        id=row["id"],
        message_id=row["message_id"],
        event=row["event"],
        state=row["state"],
        attempts=row["attempts"],
        status=row["status"],
        error=row["error"],
        replay_of=row["replay_of"],
        created_at=row["created_at"],
        next_attempt_at=row["next_at"] if pending else None,
        finished_at=row["finished_at"],
    )


# -- checking ---------------------------------------------------------------------------------------------------------


async def _check_addresses(call: Call, urls: dict[str, str]) -> None:
    """Raises ControlError (422) for what leads where the server may not go. Not in a transaction: names are looked up."""
    found: dict[str, str] = {}
    for event, text in urls.items():
        url = URL(text, encoded=True)
        try:
            async with asyncio.timeout(LOOK_UP):
                await call.services.webhooks.resolve(url.raw_host or "", url.port or 0)
        except (Unresolved, TimeoutError):
            continue  # now, at least: each message is a new question
        except Refused as refusal:
            found[f"urls.{event}" if event else "url"] = refusal.reason
    if found:
        raise invalid(**found)


def _addresses(url: str | None, urls: dict[EventName, str]) -> dict[str, str]:
    return ({"": url} if url else {}) | {event.value: address for event, address in urls.items()}


def _check_complete(urls: dict[str, str], events: list[EventName]) -> None:
    """Raises ControlError (422) where an event would lead nowhere, or stands there twice."""
    if len(set(events)) < len(events):
        raise invalid(events="each event once")
    homeless = [event.value for event in events if not (urls.get(event.value) or urls.get(""))]
    if homeless:
        raise invalid(url=f"is required, or one in urls for each of: {', '.join(homeless)}")


# -- webhooks ---------------------------------------------------------------------------------------------------------


@webhooks.get("/webhooks", permission=Permission.WEBHOOKS, query=Page, answer=Webhooks)
async def list_webhooks(call: Call, query: Page) -> Webhooks:
    """List your webhooks"""
    rows = await models.list_webhooks(call.tx, call.actor.user_id, query.per_page, query.offset)
    total = await models.count_webhooks(call.tx, call.actor.user_id)
    return Webhooks(webhooks=[_shown(call, row) for row in rows], total=total, page=query.page, per_page=query.per_page)


@webhooks.get("/webhooks/{webhook_id}", permission=Permission.WEBHOOKS, answer=Webhook, errors=_MISSING)
async def show_webhook(call: Call) -> Webhook:
    """Show a webhook"""
    return _shown(call, await _found(call))


@webhooks.post(
    "/webhooks",
    permission=Permission.WEBHOOKS,
    body=WebhookCreate,
    answer=WebhookCreated,
    status=201,
    transaction=False,
    errors=(ErrorCode.CONFLICT,),
)
async def create_webhook(call: Call, body: WebhookCreate) -> WebhookCreated:
    """Create a webhook: its secret is shown this once"""
    urls = _addresses(body.url, body.urls)
    events = body.events or (list(EventName) if body.url else list(body.urls)) or list(EventName)
    _check_complete(urls, events)
    await _check_addresses(call, urls)
    secret = body.secret or signature.new_secret()
    cipher, most = call.services.cipher, call.services.config.webhooks.max_per_user
    fields = {
        "user_id": call.actor.user_id,
        "urls": cipher.seal(outbox.URLS, json.dumps(urls)),
        "events": json.dumps([event.value for event in events]),
        "thresholds": json.dumps(sorted(set(body.thresholds))),
        "secret": cipher.seal(outbox.SECRET, secret),
        "enabled": int(body.enabled),
        "created_at": call.now,
        "updated_at": call.now,
    }
    row = await call.write(lambda: _insert(call, fields, most))
    call.after(call.services.webhooks.announcer.look_again)
    return WebhookCreated(**dict(_shown(call, row)), secret=secret, message="Webhook created successfully")


async def _insert(call: Call, fields: Row, most: int) -> Row:
    await user_rows.hold_user(call.tx, call.actor.user_id)
    if await models.count_webhooks(call.tx, call.actor.user_id) >= most:
        raise ControlError(ErrorCode.CONFLICT, f"Nobody has more than {most} webhooks: delete one")
    number = await models.insert_webhook(call.tx, fields)
    await audit.record(call, audit.Action.WEBHOOK_CREATED, "webhook", number)
    row = await models.webhook_by_id(call.tx, number)
    assert row is not None  # noqa: S101  just made
    return row


@webhooks.put(
    "/webhooks/{webhook_id}",
    permission=Permission.WEBHOOKS,
    body=WebhookUpdate,
    answer=WebhookDone,
    transaction=False,
    errors=_MISSING,
)
async def update_webhook(call: Call, body: WebhookUpdate) -> WebhookDone:
    """Change a webhook: what waits in its outbox goes to its new URL. Enabling one forgives its failures"""
    await _check_addresses(call, _addresses(body.url, body.urls or {}))
    row = await call.write(lambda: _update(call, body))
    call.after(call.services.webhooks.announcer.look_again)
    call.after(call.services.webhooks.courier.wake)
    return WebhookDone(**dict(_shown(call, row)), message="Webhook updated successfully")


async def _update(call: Call, body: WebhookUpdate) -> Row:
    before = await _found(call, hold=True)
    urls = _merged(_urls(call, before), body)
    events = body.events or [EventName(event) for event in json.loads(before["events"])]
    _check_complete(urls, events)
    fields: dict[str, object] = {"updated_at": call.now}
    if body.url is not None or body.urls is not None:
        fields["urls"] = call.services.cipher.seal(outbox.URLS, json.dumps(urls))
    if body.events is not None:
        fields["events"] = json.dumps([event.value for event in events])
    if body.thresholds is not None:
        fields["thresholds"] = json.dumps(sorted(set(body.thresholds)))
    if body.enabled is not None:
        fields["enabled"] = int(body.enabled)
    if body.enabled:
        fields |= {"disabled_reason": "", "failing_since": None}
    await models.update_webhook(call.tx, before["id"], fields)
    await audit.record(call, audit.Action.WEBHOOK_UPDATED, "webhook", before["id"], fields=sorted(body.model_fields_set))
    return {**before, **fields}


def _merged(urls: dict[str, str], body: WebhookUpdate) -> dict[str, str]:
    """What was sent in the place of what was there; ``urls`` as a whole."""
    one = body.url or urls.get("")
    each = urls if body.urls is None else {event.value: url for event, url in body.urls.items()}
    return ({"": one} if one else {}) | {event: url for event, url in each.items() if event}


@webhooks.delete("/webhooks/{webhook_id}", permission=Permission.WEBHOOKS, answer=Message, errors=_MISSING)
async def delete_webhook(call: Call) -> Message:
    """Delete a webhook and its log"""
    row = await _found(call)
    await models.delete_webhook(call.tx, row["id"])
    await audit.record(call, audit.Action.WEBHOOK_DELETED, "webhook", row["id"])
    call.after(call.services.webhooks.announcer.look_again)
    return Message(message="Webhook deleted successfully")


@webhooks.post("/webhooks/{webhook_id}/secret", permission=Permission.WEBHOOKS, answer=NewSecret, errors=_MISSING)
async def renew_secret(call: Call) -> NewSecret:
    """Make another secret, shown this once: for a day ``webhook-signature`` holds a signature under the old one too"""
    row = await _found(call, hold=True)
    secret, until = signature.new_secret(), call.now + outbox.OLD_SECRET
    sealed = call.services.cipher.seal(outbox.SECRET, secret)
    fields = {"secret": sealed, "old_secret": row["secret"], "old_secret_until": until, "updated_at": call.now}
    await models.update_webhook(call.tx, row["id"], fields)
    await audit.record(call, audit.Action.WEBHOOK_UPDATED, "webhook", row["id"], fields=["secret"])
    return NewSecret(secret=secret, old_secret_until=until, message="Secret renewed successfully")


# -- the log ----------------------------------------------------------------------------------------------------------


@webhooks.get(
    "/webhooks/{webhook_id}/deliveries",
    permission=Permission.WEBHOOKS,
    query=DeliveryPage,
    answer=Deliveries,
    errors=_MISSING,
)
async def list_deliveries(call: Call, query: DeliveryPage) -> Deliveries:
    """List what was sent to a webhook, the newest first"""
    webhook = await _found(call)
    state = None if query.state is None else query.state.value
    rows = await models.list_deliveries(call.tx, webhook["id"], state, query.per_page, query.offset)
    total = await models.count_deliveries(call.tx, webhook["id"], state)
    return Deliveries(deliveries=[_delivery(row) for row in rows], total=total, page=query.page, per_page=query.per_page)


@webhooks.get(
    "/webhooks/{webhook_id}/deliveries/{delivery_id}", permission=Permission.WEBHOOKS, answer=FullDelivery, errors=_MISSING
)
async def show_delivery(call: Call) -> FullDelivery:
    """Show what was sent, and every try"""
    row = await _found_delivery(call, await _found(call))
    tries = [Attempt.model_validate(dict(attempt)) for attempt in await models.attempts_of(call.tx, row["id"])]
    return FullDelivery(**dict(_delivery(row)), body=row["body"], tries=tries)


@webhooks.post(
    "/webhooks/{webhook_id}/deliveries/{delivery_id}/replay",
    permission=Permission.WEBHOOKS,
    answer=DeliveryReplayed,
    status=201,
    errors=(*_MISSING, ErrorCode.CONFLICT),
)
async def replay_delivery(call: Call) -> DeliveryReplayed:
    """Send it once more, under the same id"""
    webhook = await _found(call)
    row = await _found_delivery(call, webhook)
    if not webhook["enabled"]:
        raise ControlError(ErrorCode.CONFLICT, "The webhook is disabled: enable it first")
    if row["state"] == DeliveryState.PENDING.value:
        raise ControlError(ErrorCode.CONFLICT, "It is being sent already", {"delivery_id": row["id"]})
    parts = row["message_id"], row["event"], row["body"]
    give_up_at = call.now + call.services.config.webhooks.retry_for
    number = await models.insert_delivery(call.tx, webhook["id"], parts, call.now, give_up_at, row["replay_of"] or row["id"])
    replayed = await models.delivery_by_id(call.tx, webhook["id"], number or 0)
    assert replayed is not None  # noqa: S101  just made
    await audit.record(call, audit.Action.WEBHOOK_REPLAYED, "webhook", webhook["id"], delivery=row["id"])
    call.after(call.services.webhooks.courier.wake)
    return DeliveryReplayed(**dict(_delivery(replayed)), message="Delivery replayed successfully")
