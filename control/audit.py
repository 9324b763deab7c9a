"""The audit log: who changed what, in a fixed vocabulary, in the transaction of the change itself."""

import enum
import json
from collections.abc import Mapping

from control.db import Transaction
from control.rest import Call


class Action(enum.Enum):
    """What is written down."""

    LOGIN = "login"
    LOGIN_FAILED = "login.failed"
    LOGOUT = "logout"
    TOKEN_REUSED = "token.reused"  # noqa: S105 - a word
    API_KEY_CREATED = "api_key.created"
    API_KEY_REVOKED = "api_key.revoked"
    PASSWORD_CHANGED = "password.changed"  # noqa: S105
    USER_CREATED = "user.created"
    USER_UPDATED = "user.updated"
    USER_DISABLED = "user.disabled"
    USER_ENABLED = "user.enabled"
    USER_DELETED = "user.deleted"
    STREAM_CREATED = "stream.created"
    STREAM_UPDATED = "stream.updated"
    STREAM_DELETED = "stream.deleted"
    STREAM_STARTED = "stream.started"
    STREAM_NOT_STARTED = "stream.not_started"
    STREAM_STOPPED = "stream.stopped"
    DESTINATION_CREATED = "destination.created"
    DESTINATION_UPDATED = "destination.updated"
    DESTINATION_DELETED = "destination.deleted"
    RTMP_STARTED = "rtmp.started"
    RTMP_NOT_STARTED = "rtmp.not_started"
    RTMP_STOPPED = "rtmp.stopped"
    WEBHOOK_CREATED = "webhook.created"
    WEBHOOK_UPDATED = "webhook.updated"
    WEBHOOK_DELETED = "webhook.deleted"
    WEBHOOK_REPLAYED = "webhook.replayed"


async def record(call: Call, action: Action, object_type: str, object_id: object, **details: object) -> None:
    """Note that ``call`` did ``action``. ``details`` hold names of fields and plain facts, never secrets."""
    actor = call.actor.user_id if call.known else None
    await note(call.tx, call.now, actor, action, object_type, object_id, call.address, call.request_id, details)


async def note(
    tx: Transaction,
    now: float,
    actor_id: int | None,
    action: Action,
    object_type: str,
    object_id: object,
    address: str,
    request_id: str,
    details: Mapping[str, object],
) -> None:
    """The same from where there is no call."""
    await tx.execute(
        "INSERT INTO audit_log (at, actor_id, action, object_type, object_id, address, request_id, details)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        now, actor_id, action.value, object_type, str(object_id), address, request_id, json.dumps(dict(details)),
    )  # fmt: skip
