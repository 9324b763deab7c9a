"""Entries of the audit log."""

from typing import Any

from control.schema import Given, Listed, Timestamp


class Entry(Given):
    """What was done. ``actor`` is the user's name, empty for nobody and for who is deleted; ``details`` hold plain facts."""

    id: int
    timestamp: Timestamp
    actor_id: int | None
    actor: str
    action: str
    object_type: str
    object_id: str
    address: str
    request_id: str
    details: dict[str, Any]


class AuditLog(Listed):
    """A page of the audit log, the newest first."""

    entries: list[Entry]
