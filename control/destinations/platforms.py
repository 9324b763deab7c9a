"""Platforms that people know by name, and the address that each one's help pages give for RTMP."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from control.errors import invalid

#: Empty where the platform gives every user an address of their own.
ADDRESSES: Mapping[str, str] = {
    "youtube": "rtmp://a.rtmp.youtube.com/live2/",
    "twitch": "rtmp://live.twitch.tv/app/",
    "facebook": "rtmps://live-api-s.facebook.com:443/rtmp/",
    "linkedin": "",
    "kick": "",
    "x": "",
    "custom": "",
}

#: Of an address that names none (Adobe's RTMP specification, 1.0; with TLS it is HTTPS's, as platforms have it).
_PORTS = {"rtmp": 1935, "rtmps": 443}


def moved_address(before: Mapping[str, object], fields: Mapping[str, object]) -> str:
    """The address that comes with another platform; empty where it stays, as a user's own does.

    Raises ControlError (422) where the new platform has none that all of its users share.
    """
    platform, usual = str(fields.get("platform", before["platform"])), ADDRESSES.get(str(before["platform"]), "")
    if "rtmp_url" in fields or platform == before["platform"] or before["rtmp_url"] != usual:
        return ""
    if not ADDRESSES.get(platform, ""):
        raise invalid(rtmp_url="is required: this platform gives every user an address of their own")
    return ADDRESSES[platform]


def is_elsewhere(before: str, after: str) -> bool:
    """Whether somebody else gets what is sent to ``after``: only another path on the same server is nothing new to it."""
    return _server(before) != _server(after)


def _server(rtmp_url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(rtmp_url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def target_url(rtmp_url: str, stream_key: str) -> str:
    """Address and key as one URL. Some people paste the key into the address already, and give none."""
    return f"{rtmp_url.rstrip('/')}/{stream_key}" if stream_key else rtmp_url
