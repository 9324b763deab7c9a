"""Why a PostgreSQL server cannot be had, in words: where it was looked for, what is wrong, what to do. Nothing of a password."""

from collections.abc import Mapping
from urllib.parse import urlsplit

#: PostgreSQL's own, of a URL that names none.
_PORT = 5432

#: What a server says that answers, by the name of the error's class, or of what that is a kind of.
_REFUSAL: Mapping[str, str] = {
    "InvalidAuthorizationSpecificationError": "does not let that user in: correct the user or the password in database.url",
    "InvalidCatalogNameError": "has no such database: create it, or correct database.url",
    "InsufficientPrivilegeError": "does not let that user into that database: GRANT CONNECT there, or correct database.url",
    "CannotConnectNowError": "takes nobody now, it is starting or stopping: try again in a moment",
    "TooManyConnectionsError": "has no connection left: raise its limit (max_connections), or end what holds them",
}

_START, _CORRECT = "start it, or correct database.url", "correct database.url"
_HUNG_UP = ("what listens there hangs up", "look into its log, or correct database.url")

#: What is wrong on the way there, and what to do; by such a name as well.
_NETWORK: Mapping[str, tuple[str, str]] = {
    "ConnectionRefusedError": ("nobody listens there", _START),
    "TimeoutError": ("it does not answer", _START),
    "gaierror": ("that name leads nowhere", _START),
    "FileNotFoundError": ("there is no such socket, or no such certificate", _START),
    "PermissionError": ("this user may not connect there, or not read a certificate", _CORRECT),
    "SSLCertVerificationError": (
        "its certificate is not trusted, or not for that name",
        "correct the host, sslmode or sslrootcert in database.url",
    ),
    "SSLError": ("TLS with it fails", "correct sslmode and the certificates in database.url"),
    "ConnectionResetError": _HUNG_UP,
    "ConnectionAbortedError": _HUNG_UP,
    "BrokenPipeError": _HUNG_UP,
    "ConnectionDoesNotExistError": _HUNG_UP,
    # The driver's, of an answer to its wish for TLS.
    "ConnectionError": (
        "what listens there takes no TLS, or is no PostgreSQL",
        "switch TLS on there, or correct sslmode or the port in database.url",
    ),
    "ClientConfigurationError": ("an option is wrong, or names a file that is not there", _CORRECT),
}


def in_words(url: str, error: BaseException) -> str:
    """Why ``url`` (``database.url``) could not be connected to. Raises nothing, and says none of the ``error``'s own text: that
    may hold the URL."""
    where = _place(url)
    kinds = [kind.__name__ for kind in type(error).__mro__]
    for kind in kinds:
        if kind in _REFUSAL:
            return f"PostgreSQL{where} {_REFUSAL[kind]}"
    # A plain one is that of several addresses, of which each has its own; or of a network that leads nowhere.
    otherwise = ("nobody answers there", _START) if type(error) is OSError else (type(error).__name__, _CORRECT)
    words, remedy = next((_NETWORK[kind] for kind in kinds if kind in _NETWORK), otherwise)
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
