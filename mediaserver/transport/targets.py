"""Addresses that users give: where they really lead, and whether the server may go there."""

import asyncio
import ipaddress
import socket
from dataclasses import dataclass

from mediaserver.errors import Refused

#: Addresses in IPv6 that stand for one in IPv4: mapped, 6to4, Teredo and NAT64 must not smuggle a private one in.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Target:
    """One address that a name led to, to be connected to as it stands: a second look-up might answer otherwise."""

    family: socket.AddressFamily
    address: str
    port: int


async def resolve(host: str, port: int, *, allow_private: bool) -> tuple[Target, ...]:
    """Every address of ``host``. Raises Refused where there is none, or one is not public and ``allow_private`` is false."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Refused(f"{host} cannot be resolved") from None
    targets = tuple(Target(family, str(address[0]), port) for family, _, _, _, address in found)
    if not targets:
        raise Refused(f"{host} cannot be resolved")
    if not allow_private and not all(is_public(target.address) for target in targets):
        raise Refused(f"{host} is not a public address (server.allow_private_targets)")
    return targets


def is_public(address: str) -> bool:
    """Whether ``address`` (an IP address, with or without a zone) lies in the public internet."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        teredo = parsed.teredo
        embedded = parsed.ipv4_mapped or parsed.sixtofour or (teredo[1] if teredo else None)
        if embedded is None and parsed in _NAT64:
            embedded = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if embedded is not None:
            return is_public(str(embedded))
    return parsed.is_global and not parsed.is_multicast
