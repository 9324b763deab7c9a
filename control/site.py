"""By which address this server was asked."""

import re
from ipaddress import AddressValueError, IPv6Address

from aiohttp import web

#: RFC 9110, 7.2: a host and a port. Of RFC 3986's reg-name (3.2.2) what names in the DNS are made of, and addresses of IPv4.
_HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,255})(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_LITERAL = re.compile(r"\[(?P<literal>[0-9A-Fa-f:.]{2,45})\](?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_LAST_PORT = 65535


def is_host(text: str) -> bool:
    """Whether ``text`` is a host, with or without a port: a client may write anything at all into that header."""
    found = _HOST.fullmatch(text) or _LITERAL.fullmatch(text)
    if found is None or int(found["port"] or 0) > _LAST_PORT:
        return False
    try:
        return "literal" not in found.groupdict() or bool(IPv6Address(found["literal"]).compressed)
    except AddressValueError:
        return False


def site(request: web.Request, public_url: str) -> str:
    """What addresses on this server begin with: ``public_url``; else how it was asked; else where it listens."""
    host = request.host if is_host(request.host) else _listening(request)
    return public_url or f"{request.scheme}://{host}"


def _listening(request: web.Request) -> str:
    name = None if request.transport is None else request.transport.get_extra_info("sockname")
    if not isinstance(name, tuple):
        return "localhost"  # it has gone
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
