"""The audit log's rows; ``control.audit`` writes them."""

from collections.abc import Sequence

from control.db import Row, Transaction


async def list_entries(tx: Transaction, limit: int, offset: int) -> Sequence[Row]:
    """A page, the newest first."""
    return await tx.rows(
        "SELECT a.id, a.at, a.actor_id, u.username, a.action, a.object_type, a.object_id, a.address, a.request_id, a.details"
        " FROM audit_log a LEFT JOIN users u ON u.id = a.actor_id ORDER BY a.id DESC LIMIT ? OFFSET ?",
        limit, offset,
    )  # fmt: skip


async def count_entries(tx: Transaction) -> int:
    """How many are kept."""
    row = await tx.row("SELECT count(*) AS count FROM audit_log")
    return int(row["count"]) if row is not None else 0
