"""The address of a relay's target: what of it may be shown, and whether it leads back to this server."""

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

from mediaserver.errors import Refused

_PORTS = {"rtmp": 1935, "rtmps": 443}
#: Longest text of a peer's that is shown.
_MAX_TEXT = 200
#: A value in a query that is shorter gives nothing away, and would be blotted out of every sentence.
_SHORTEST_SECRET = 4


@dataclass(frozen=True, slots=True)
class RelayAddress:
    """``tc_url`` is what connect names, without the key; ``key`` is the last part, query included: a secret. So may be what
    follows ``?`` in ``app``."""

    scheme: str
    host: str
    port: int
    app: str = field(repr=False)
    key: str = field(repr=False)

    @property
    def encrypted(self) -> bool:
        return self.scheme == "rtmps"

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def tc_url(self) -> str:
        return f"{self.scheme}://{self.authority}/{self.app}"

    @property
    def shown(self) -> str:
        """The address for people: without the key and without any query."""
        return f"{self.scheme}://{self.authority}/{self.app.partition('?')[0]}"

    def redirected(self, tc_url: str) -> "RelayAddress":
        """The same key at ``tc_url``, which may be relative (RFC 3986) or empty for here. Raises Refused."""
        if not tc_url:
            return self
        if "://" not in tc_url:  # urljoin knows no scheme but the usual ones
            tc_url = self.scheme + urljoin(f"http{self.tc_url.removeprefix(self.scheme)}", tc_url).removeprefix("http")
        scheme, host, port, app = _split(tc_url)
        if self.encrypted and scheme != self.scheme:
            raise Refused("the target asks to go on without encryption")
        return RelayAddress(scheme, host, port, app.rstrip("/"), self.key)

    def redact(self, text: str) -> str:
        """``text``, which a peer wrote, fit to be shown: it may say the key back to us, or anything else."""
        name, _, query = self.key.partition("?")
        queries = f"{query}&{self.app.partition('?')[2]}"
        values = [part.partition("=")[2] for part in queries.split("&")]
        for secret in sorted({self.key, name, *values}, key=len, reverse=True):
            if len(secret) >= _SHORTEST_SECRET or secret == name != "":
                text = text.replace(secret, "…")
        return "".join(c for c in text[:_MAX_TEXT] if c.isprintable())


def parse(url: str) -> RelayAddress:
    """``rtmp[s]://HOST[:PORT]/APP…/KEY[?QUERY]``, or ``…/APP?QUERY/KEY`` as some platforms have it. Raises Refused."""
    scheme, host, port, tail = _split(url.strip())
    before = tail.partition("?")[0]
    # With a slash before the query, the query is the key's; with none, the application has it and the key comes behind.
    at = before.rfind("/") if "/" in before else tail.rfind("/")
    app, key = (tail[:at], tail[at + 1 :]) if at >= 0 else ("", tail)
    if not key.partition("?")[0]:
        raise Refused("a relay's address ends in the stream key, which is missing")
    return RelayAddress(scheme, host, port, app.strip("/"), key)


def _split(url: str) -> tuple[str, str, int, str]:
    """Scheme, host, port and what follows."""
    scheme, mark, rest = url.partition("://")
    scheme = scheme.lower()
    if not mark or scheme not in _PORTS:
        raise Refused("a relay's address begins with rtmp:// or rtmps://")
    if not all(character.isprintable() and not character.isspace() for character in rest):
        raise Refused("a relay's address holds characters that no address has")
    authority, _, tail = rest.partition("/")
    if "@" in authority:
        raise Refused("a user name in a relay's address is not supported")
    try:
        parts = urlsplit(f"//{authority}")
        host, port = parts.hostname or "", _PORTS[scheme] if parts.port is None else parts.port
    except ValueError:
        host, port = "", 0
    if not port or not re.fullmatch(r"[^\s/?#\\]+", host):
        raise Refused("a relay's address needs a host, and a port from 1 to 65535 if it names one")
    return scheme, host, port, tail


def is_literal(host: str) -> bool:
    """Whether ``host`` is an IP address, and no name."""
    return _plain(host) is not None


def is_own(address: str, port: int, ports: Collection[int]) -> bool:
    """Whether ``address`` (an IP address, with or without a zone) and ``port`` are where this server listens."""
    if port not in ports:
        return False
    there = _plain(address)
    if there is None or there.is_loopback or there.is_unspecified:
        return True
    import psutil  # noqa: PLC0415 - a server without relays does without it

    return any(_plain(own.address) == there for every in psutil.net_if_addrs().values() for own in every)


def _plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, ipaddress.IPv6Address) else parsed
