"""What may stand in the address of something to fetch."""

from urllib.parse import urlsplit

from mediaserver.errors import Refused
from mediaserver.ports import InputType, PullSource

#: Schemes of each type's addresses. A file's may have none.
SCHEMES: dict[InputType, tuple[str, ...]] = {
    InputType.RTMP: ("rtmp", "rtmps"),
    InputType.RTSP: ("rtsp", "rtsps"),
    InputType.HTTP: ("http", "https"),
    InputType.HLS: ("http", "https"),
    InputType.FILE: ("", "file"),
    InputType.SRT: ("srt",),
}
#: Characters of an address.
LONGEST_URL = 4096


def address_of(source: PullSource) -> str:
    """Where ``source`` is, without passwords, keys and folders. Raises Refused for an address that cannot be."""
    url = source.url
    if not url or len(url) > LONGEST_URL or not url.isprintable():
        raise Refused("this is not an address")
    if source.type is InputType.FILE:
        if not url.startswith("file:") and "://" in url:
            raise Refused("a file is named by its path")
        return url.rstrip("/").rpartition("/")[2][:64]
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Refused("this is not an address") from None
    if parts.scheme not in SCHEMES[source.type] or not host or " " in url:
        allowed = " or ".join(f"{scheme}://" for scheme in SCHEMES[source.type])
        raise Refused(f"an input of type {source.type.value} needs an address that begins with {allowed}")
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"
