"""What one setting may be: the types that the tables of ``config`` are made of, and what is checked in each."""

import os
import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

from mediaserver.ports import objection_to

#: Bytes of a secret that programs share: what people would choose is shorter.
LEAST_SHARED_SECRET = 16
#: Bytes of what signs tokens. RFC 7518, 3.2: a key of the hash's size or larger.
LEAST_SIGNING_SECRET = 32
#: The longest password that a login takes.
LONGEST_PASSWORD = 1024
#: An origin as browsers write it (RFC 6454, 6.2): in lower case and ASCII, without a path.
_ORIGIN = re.compile(r"(?P<scheme>https?)://([a-z0-9._-]+|\[(?P<literal>[0-9a-f:]+)\])(:(?P<port>[1-9][0-9]*))?", re.ASCII)
#: A name of a machine, as it is looked up. Of a NUL ``without_nul`` complains.
_NAME = re.compile(rb"[A-Za-z0-9._\0-]+")
#: The port that they leave out.
_USUAL_PORTS = {"http": "80", "https": "443"}
#: What libpq, and so PostgreSQL's URL, knows as sslmode.
_SSL_MODES = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}
#: What may stand behind the question mark of Redis' URL, and its values.
_YES_OR_NO = "(?i:true|false|yes|no|1|0)"
_SECONDS = r"(?!0+\.?0*$)[0-9]{1,6}(\.[0-9]{1,6})?"
_REDIS_PARAMETERS = {
    "db": "[0-9]{1,9}",
    "protocol": "[23]",
    "username": ".+",
    "password": ".+",
    "client_name": "[!-~]+",
    "health_check_interval": "[0-9]{1,6}",
    "max_connections": "[1-9][0-9]{0,8}",
    "retry_on_timeout": _YES_OR_NO,
    "socket_connect_timeout": _SECONDS,
    "socket_keepalive": _YES_OR_NO,
    "socket_read_size": "[1-9][0-9]{0,8}",
    "socket_timeout": _SECONDS,
    "ssl_cert_reqs": "none|optional|required",
    "ssl_check_hostname": _YES_OR_NO,
    "ssl_ca_certs": ".+",
    "ssl_certfile": ".+",
    "ssl_ciphers": ".+",
    "ssl_keyfile": ".+",
}
#: The kind of complaint whose text says more than the description of what is allowed, and nothing that is secret.
SAYS_WHY = "says_why"


def without_nul(value: object) -> object:
    """``value`` itself, whatever its type. Raises PydanticCustomError for a NUL in a text."""
    texts = value if isinstance(value, tuple) else [value]
    for text in texts:
        plain = text.get_secret_value() if isinstance(text, SecretStr) else text
        if isinstance(plain, str) and "\0" in plain:
            raise PydanticCustomError(SAYS_WHY, "and no NUL character in it")
    return value


def _address(url: str) -> str:
    """``url`` itself. Raises ValueError for one whose host or port cannot be."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    labels = host.removesuffix(".").split(".")
    if parts.port == 0 or "*" in host or not all(0 < len(label) < 64 for label in labels):
        raise ValueError(url)
    return url


def _address_or_none(url: str) -> str:
    return url and _address(url)


def _listens(host: str) -> str:
    """``host`` itself. Raises ValueError for what is no address and no name of one on any machine."""
    if ":" in host:
        IPv6Address(host)  # and no name with a port behind it
    elif not host.strip("0123456789."):
        *bytes_before, rest = map(int, host.split("."))  # as inet_aton(3) takes it: the last number fills what is left
        if len(bytes_before) > 3 or max(bytes_before, default=0) > 255 or rest >> 8 * (4 - len(bytes_before)):
            raise ValueError(host)
    # Raises a ValueError itself for a label that is empty or too long. What it leaves is RFC 1123, 2.1, and what people use.
    elif not _NAME.fullmatch(host.encode("idna")):
        raise ValueError(host)
    return host


def _networks(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        ip_network(value)
    return values


def _origins(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if value != "*":
            _origin(value)
    return values


def _origin(value: str) -> None:
    """Raises ValueError for what no browser says, so that it would allow nobody."""
    found = _ORIGIN.fullmatch(_address(value))
    if found is None or found["port"] == _USUAL_PORTS[found["scheme"]]:
        raise ValueError(value)
    host = urlsplit(value).hostname or ""
    if found["literal"]:
        address = IPv6Address(host)
        if address.ipv4_mapped is None and address.compressed != host:
            raise ValueError(value)
    elif host.rpartition(".")[2].isdigit() and str(IPv4Address(host)) != host:
        raise ValueError(value)


def _keys(values: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
    for name, key in values.items():
        # Behind a question mark an encoder's key is a query.
        if objection_to(name) or not re.fullmatch(r"[^\s?\x00-\x1f\x7f]+", key.get_secret_value()):
            raise ValueError(name)
    if len({key.get_secret_value() for key in values.values()}) < len(values):
        raise ValueError("twice")
    return values


def _at_least(least: int) -> AfterValidator:
    def check(secret: SecretStr) -> SecretStr:
        if 0 < len(secret.get_secret_value().encode()) < least:
            raise ValueError("short")
        return secret

    return AfterValidator(check)


def _database(secret: SecretStr) -> SecretStr:
    scheme, separator, rest = (url := secret.get_secret_value()).partition("://")
    if url and not (separator and scheme in {"sqlite", "postgresql", "postgres"}):
        raise ValueError("scheme")
    if scheme.startswith("postgres"):
        if not {value for name, value in parse_qsl(urlsplit(url).query) if name == "sslmode"} <= _SSL_MODES:
            raise ValueError("sslmode")
        # One host and port, or several with commas between.
        for host in re.split("[/?#]", rest)[0].rpartition("@")[2].split(","):
            if urlsplit(f"//{host}").port == 0:
                raise ValueError("port")
    return secret


def _redis(secret: SecretStr) -> SecretStr:
    url = secret.get_secret_value()
    parts = urlsplit(url)
    if url and not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("scheme")
    if not re.fullmatch(".+" if parts.scheme == "unix" else "/?[0-9]*/?", parts.path) and url:
        raise ValueError("path")
    if parts.port == 0:
        raise ValueError("port")
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        misplaced = parts.scheme == "unix" if name == "socket_keepalive" else name.startswith("ssl_") and parts.scheme != "rediss"
        if misplaced or not re.fullmatch(_REDIS_PARAMETERS.get(name, "(?!)"), value):
            # Before an @ it may be a password with a question mark in it.
            if "@" not in url.partition("?")[2] and re.fullmatch("[a-z_]{1,40}", name):
                raise PydanticCustomError(
                    SAYS_WHY, "its parameter {name} is not known there, or not with that value", {"name": name}
                )
            raise ValueError("parameter")
    return secret


def _folder(path: str) -> str:
    if path and (not path.strip() or "://" in path):
        raise ValueError(path)
    return path


def _folders(paths: tuple[str, ...]) -> tuple[str, ...]:
    for path in map(_folder, paths):
        # One that is not there may come: a disk, say.
        if not path or ("\0" not in path and os.path.exists(path) and not os.path.isdir(path)):
            raise ValueError(path)
    return paths


# The description of each type is what an error message says is allowed.
Switch = Annotated[bool, Field(description="true or false")]
Port = Annotated[int, Field(ge=1, le=65535, description="a port number from 1 to 65535")]
PortOrOff = Annotated[int, Field(ge=0, le=65535, description="a port number from 1 to 65535, or 0 for none")]
Host = Annotated[
    str,
    Field(
        min_length=1,
        pattern=r"^[^\s/@*\[\]\x01-\x1f\x7f]+$",
        description='an address to listen on, such as "0.0.0.0", "::" or "127.0.0.1"',
    ),
    AfterValidator(_listens),
]
Site = Annotated[
    str,
    Field(
        pattern=r"""^(https?://[^\s/?#@"'<>\\^`{|}\x00-\x1f\x7f]+)?$""",
        description='"https://HOST" or "http://HOST:PORT" without a path, or ""',
    ),
    AfterValidator(_address_or_none),
]
Origins = Annotated[
    tuple[str, ...],
    AfterValidator(_origins),
    Field(
        strict=False,
        description=(
            'a list of origins as browsers send them (in lower case, without a path, the usual port or "*" in a name), '
            'such as ["https://example.com", "http://localhost:3000"], or ["*"] for all'
        ),
    ),
]
Networks = Annotated[
    tuple[str, ...],
    AfterValidator(_networks),
    Field(strict=False, description='a list of addresses or networks, such as ["127.0.0.1", "10.0.0.0/8"]'),
]
Address = Annotated[
    str,
    Field(pattern=r"^(https?://\S+)?$", description='"http://HOST:PORT/PATH", or "" for none'),
    AfterValidator(_address_or_none),
]
StreamKeys = Annotated[
    Mapping[str, SecretStr],
    AfterValidator(_keys),
    Field(description='a table of NAME = "KEY": names of letters, digits and ._+~-, keys without space or "?", none twice'),
]
SharedSecret = Annotated[
    SecretStr,
    _at_least(LEAST_SHARED_SECRET),
    Field(strict=False, description=f'{LEAST_SHARED_SECRET} bytes or more, or "" for none'),
]
SigningSecret = Annotated[
    SecretStr,
    _at_least(LEAST_SIGNING_SECRET),
    Field(strict=False, description=f'{LEAST_SIGNING_SECRET} bytes or more, or "" for one of its own'),
]
Password = Annotated[
    SecretStr,
    Field(
        strict=False,
        max_length=LONGEST_PASSWORD,
        description=f'at most {LONGEST_PASSWORD} characters, or "" for one that is made',
    ),
]
DatabaseUrl = Annotated[
    SecretStr,
    AfterValidator(_database),
    Field(strict=False, description='"" or "sqlite:///FILE" for a file, "postgresql://USER:PASSWORD@HOST:PORT/NAME"'),
]
RedisUrl = Annotated[
    SecretStr,
    AfterValidator(_redis),
    Field(strict=False, description='"redis://HOST:PORT/NUMBER" ("rediss://" with TLS, "unix://FILE"), or "" for none'),
]
#: A slate that is made, not a file.
PLAIN = "plain"
Folder = Annotated[str, AfterValidator(_folder)]
Folders = Annotated[
    tuple[str, ...],
    AfterValidator(_folders),
    Field(strict=False, description='a list of folders, such as ["/srv/media"]; empty for none'),
]
File = Annotated[str, Field(description='the path of a file, or "" for none')]
Timeout = Annotated[float, Field(ge=0.1, le=3600, allow_inf_nan=False, description="seconds from 0.1 to 3600")]
Patience = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False, description="seconds from 0 to 3600")]
Span = Annotated[float, Field(ge=0.1, le=2_592_000, allow_inf_nan=False, description="seconds from 0.1 to 2592000")]
Days = Annotated[float, Field(ge=0, le=36500, allow_inf_nan=False, description="days from 0 to 36500")]
Count = Annotated[int, Field(ge=1, le=1_000_000, description="a whole number from 1 to 1000000")]
