"""Times as the documents write them."""

import functools
from datetime import UTC, datetime


@functools.lru_cache(maxsize=4096)
def timestamp(seconds: float) -> str:
    """Unix time in ISO 8601: ``2025-01-01T10:00:00Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
