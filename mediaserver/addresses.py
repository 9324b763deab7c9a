"""Who is at the other end, where proxies stand in between."""

import functools
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network


def client_address(peer: str, forwarded: str, trusted: Sequence[Network]) -> str:
    """Who asks: ``peer``, or, where that is a trusted proxy, the last address in ``forwarded`` (X-Forwarded-For) that is not
    one. What stands left of that address was written by the client itself and counts for nothing. Empty where a trusted proxy
    names somebody whom nobody can make out: that is not the proxy, and is trusted by nobody."""
    address = peer
    for hop in reversed(forwarded.split(",")):
        if not is_trusted(address, trusted):
            break
        if not hop.strip():
            continue  # an element of a list may be empty (RFC 9110, 5.6.1)
        try:
            address = str(ip_address(hop.strip()))
        except ValueError:
            return ""
    return address


@functools.lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Whom ``address`` stands for where requests are counted: a household's IPv6 network (/64) is one, as its IPv4 address is."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return str(parsed) if parsed.version == 4 else str(ip_network((parsed, 64), strict=False))


def is_local(address: str) -> bool:
    """Whether a program of this machine is at ``address``."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Whether ``address`` is a trusted proxy's."""
    if not trusted:
        return False
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(parsed in network for network in trusted)
