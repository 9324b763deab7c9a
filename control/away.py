"""Why a PostgreSQL server cannot be had, in words: where it was looked for, what is wrong, what to do. Nothing of a password."""

from collections.abc import Mapping
from urllib.parse import urlsplit

#: PostgreSQL's own, of a URL that names none.
_PORT = 5432

#: By the name of the error's class, or of what that is a kind of.
_NETWORK: Mapping[str, str] = {
    "ConnectionRefusedError": "nobody listens there",
    "TimeoutError": "it does not answer",
    "gaierror": "that name leads nowhere",
    "FileNotFoundError": "there is no such socket",
    "PermissionError": "this user may not connect there",
    # Of several addresses, of which each has its own.
    "OSError": "nobody answers there",
}


def in_words(url: str, error: BaseException) -> str:
    """Why ``url`` (``database.url``) could not be connected to. Raises nothing, and says none of the ``error``'s own text: that
    may hold the URL."""
    import asyncpg  # noqa: PLC0415 - an extra

    where = _place(url)
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return f"PostgreSQL{where} does not let that user in: correct the user or the password in database.url"
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return f"PostgreSQL{where} has no such database: create it, or correct database.url"
    kinds = (kind.__name__ for kind in type(error).__mro__)
    words = next((_NETWORK[kind] for kind in kinds if kind in _NETWORK), type(error).__name__)
    remedy = "start it, or correct database.url" if isinstance(error, OSError) else "correct database.url"
    return f"PostgreSQL cannot be reached{where}: {words}: {remedy}"


def _place(url: str) -> str:
    """Where the server is; empty where the URL does not say so in one way only."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    if not host or "," in host:
        return ""
    return f" at {f'[{host}]' if ':' in host else host}:{port or _PORT}"
