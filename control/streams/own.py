"""Which addresses are this server's own: RTMP that leads there is pushed, not fetched."""

import platform
import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from mediaserver.config import Config

#: Adobe's RTMP specification, 1.0: the port of an address that names none.
RTMP_PORT = 1935

_NUMBER = re.compile(r"0x[0-9a-f]+|[0-9]+")


def is_own(config: "Config", parts: SplitResult, asked: str) -> bool:
    """Whether the RTMP address ``parts`` is where this server is pushed to. ``asked`` is the name (and port) by which the asker
    reached it."""
    host = _plain((parts.hostname or "").rstrip("."))
    known = host in _names(config, asked) or (not isinstance(host, str) and (host.is_loopback or host.is_unspecified))
    if parts.scheme == "rtmps":
        # Without a port for TLS of our own it is taken off in front of us, where and on which port is not ours to know.
        ours = not config.rtmp.tls_port or (parts.port or 443) == config.rtmp.tls_port
        return ours and (known or _leads_here(config, host))
    port = parts.port or RTMP_PORT
    # The usual port is ours too: that is where a container's is seen from outside, which is never at its own interfaces.
    return (known and port in {config.rtmp.port, RTMP_PORT}) or (port == config.rtmp.port and _leads_here(config, host))


def literal(host: str) -> str:
    """The IP address that ``host`` is, however that is written; empty for a name."""
    plain = _plain(host.rstrip("."))
    return "" if isinstance(plain, str) else str(plain)


def _names(config: "Config", asked: str) -> set[str | IPv4Address | IPv6Address]:
    """By which this server is known, whatever the machine says."""
    names = "localhost", urlsplit(config.server.public_url).hostname, config.rtmp.host.lower(), _host_in(asked)
    return {_plain(name) for name in names if name}


def _leads_here(config: "Config", host: str | IPv4Address | IPv6Address) -> bool:
    """Whether this machine is at ``host``, and the RTMP port is open at all of its addresses."""
    everywhere = _plain(config.rtmp.host)
    if isinstance(everywhere, str) or not everywhere.is_unspecified:
        return False
    if isinstance(host, str):
        return host == platform.node().lower().rstrip(".") != ""
    import psutil  # noqa: PLC0415 - an idle server does without it

    return any(_plain(own.address) == host for every in psutil.net_if_addrs().values() for own in every)


def _host_in(asked: str) -> str | None:
    try:
        return urlsplit(f"//{asked}").hostname
    except ValueError:
        return None  # what a client made up


def _plain(host: str) -> str | IPv4Address | IPv6Address:
    """An address without its zone, IPv4 as such where IPv6 holds it; a name as it is."""
    try:
        parsed = ip_address(host.partition("%")[0])
    except ValueError:
        return _of_numbers(host) or host
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _of_numbers(host: str) -> IPv4Address | None:
    """What systems take for IPv4 beside four decimal numbers (inet_aton of POSIX): ``127.1``, ``0x7f.1``, ``2130706433``."""
    words = host.split(".")
    if len(words) > 4 or not all(_NUMBER.fullmatch(word) for word in words):
        return None
    try:
        *first, last = (int(word, 16 if "x" in word else 8 if word.startswith("0") else 10) for word in words)
    except ValueError:
        return None  # an 8 or a 9 in what begins like an octal number
    if any(number > 0xFF for number in first) or last >= 1 << 8 * (4 - len(first)):
        return None
    return IPv4Address(last + sum(number << 8 * (3 - place) for place, number in enumerate(first)))
