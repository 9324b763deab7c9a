"""``/api/audit``."""

import json

from control.permissions import Permission
from control.rest import Call, Domain
from control.schema import Page
from control.trail import models
from control.trail.schemas import AuditLog, Entry

trail = Domain("Audit log")


@trail.get("/audit", permission=Permission.AUDIT, query=Page, answer=AuditLog)
async def list_entries(call: Call, query: Page) -> AuditLog:
    """Who changed what, the newest first"""
    rows = await models.list_entries(call.tx, query.per_page, query.offset)
    total = await models.count_entries(call.tx)
    entries = [
        Entry(
            id=row["id"],
            timestamp=row["at"],
            actor_id=row["actor_id"],
            actor=row["username"] or "",
            action=row["action"],
            object_type=row["object_type"],
            object_id=row["object_id"],
            address=row["address"],
            request_id=row["request_id"],
            details=json.loads(row["details"]),
        )
        for row in rows
    ]
    return AuditLog(entries=entries, total=total, page=query.page, per_page=query.per_page)
