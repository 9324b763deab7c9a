"""Addresses that users give, as far as they can be judged without asking a name server: the engine judges what names lead to."""

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from control.errors import invalid
from control.streams.own import literal
from mediaserver.errors import Refused

if TYPE_CHECKING:
    from control.webhooks.sender import Resolve


async def check_literal(resolve: "Resolve", urls: Mapping[str, str]) -> None:
    """Raises ControlError (422), which names each of the fields ``urls`` in which an IP address stands where the server may not
    go. Waits for nobody."""
    found: dict[str, str] = {}
    for name, url in urls.items():
        parts = urlsplit(url)
        if address := literal(parts.hostname or ""):
            try:
                await resolve(address, parts.port or 0)
            except Refused as refusal:
                found[name] = refusal.reason
    if found:
        raise invalid(**found)
