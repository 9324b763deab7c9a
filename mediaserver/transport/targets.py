"""Addresses that users give: where they really lead, and whether the server may go there."""

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mediaserver.errors import Refused, Unresolved

#: In IPv4: what Python's ``is_global`` lets through (3.11 all of it) although nobody's server is there: protocol assignments
#: (RFC 6890; the two that are anycast lead into the server's own network), 6to4 relays (RFC 7526).
_CLOSED_V4 = tuple(ipaddress.ip_network(text) for text in ("192.0.0.0/24", "192.88.99.0/24"))
#: In IPv6 only this is given out for servers (RFC 4291, 2.4) …
_UNICAST = ipaddress.ip_network("2000::/3")
#: … save what carries another address inside or is no address of anybody: Teredo and its like, documentation, the former 6bone
#: (RFC 3701).
_CLOSED_V6 = tuple(ipaddress.ip_network(text) for text in ("2001::/23", "2001:db8::/32", "3ffe::/16", "3fff::/20"))
#: NAT64 (RFC 6052): the last 32 bits are the address in IPv4 that is meant.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: ISATAP (RFC 5214): so are they behind this, whatever the first half says.
_ISATAP = (0x00005EFE, 0x02005EFE)

#: What ``connect`` gives, for those who are to know no sockets.
Connection = socket.socket
#: ``socket.getaddrinfo``, or a test's.
LookUp = Callable[..., list[Any]]


@dataclass(frozen=True, slots=True)
class Target:
    """One address that a name led to, to be connected to as it stands: a second look-up might answer otherwise."""

    family: socket.AddressFamily
    address: str
    port: int


def resolve(host: str, port: int, *, allow_private: bool, look_up: LookUp | None = None) -> tuple[Target, ...]:
    """Every address of ``host``. Raises Refused where there is none, or one is not public and ``allow_private`` is false.

    Blocking, for as long as name servers like: not for the loop.
    """
    try:
        found = (look_up or socket.getaddrinfo)(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        raise Unresolved(f"{host} cannot be resolved") from None
    targets = tuple(Target(family, str(address[0]), port) for family, _, _, _, address in found)
    return permitted(host, targets, allow_private=allow_private)


def permitted(host: str, targets: tuple[Target, ...], *, allow_private: bool) -> tuple[Target, ...]:
    """``targets``, to which ``host`` leads. Raises Refused as ``resolve`` does."""
    if not targets:
        raise Unresolved(f"{host} cannot be resolved")
    if not allow_private and not all(is_public(target.address) for target in targets):
        raise Refused(f"{host} is not a public address (server.allow_private_targets)")
    return targets


def connect(targets: tuple[Target, ...], timeout: float) -> Connection:
    """A TCP connection to the first of ``targets`` that takes it, and to nowhere else. Raises OSError."""
    failure: OSError = OSError("no address")
    for target in targets:
        connection = socket.socket(target.family, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            connection.connect((target.address, target.port))
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure


def is_public(address: str) -> bool:
    """Whether ``address`` (an IP address, with or without a zone) lies in the public internet.

    An address in IPv6 that stands for one in IPv4 (mapped, 6to4, NAT64, ISATAP) is as public as that.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return parsed.is_global and not parsed.is_multicast and not any(parsed in network for network in _CLOSED_V4)
    low = int(parsed) & 0xFFFFFFFF
    if parsed.ipv4_mapped is not None or parsed in _NAT64:
        return is_public(str(ipaddress.IPv4Address(low)))
    if parsed not in _UNICAST or any(parsed in network for network in _CLOSED_V6):
        return False
    if parsed.sixtofour is not None:
        return is_public(str(parsed.sixtofour))
    if int(parsed) >> 32 & 0xFFFFFFFF in _ISATAP:
        return is_public(str(ipaddress.IPv4Address(low)))
    return parsed.is_global
