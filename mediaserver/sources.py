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
    if not url:
        raise Refused("the address is empty")
    if len(url) > LONGEST_URL:
        raise Refused(f"an address has at most {LONGEST_URL} characters")
    if not url.isprintable():
        raise Refused("the address holds characters that no address has")
    if source.type is InputType.FILE:
        if not url.startswith("file:") and "://" in url:
            raise Refused("a file is named by its path")
        return url.rstrip("/").rpartition("/")[2][:64]
    if " " in url:
        raise Refused("an address holds no space: where one is meant it is written %20")
    if urlsplit(url.partition("//")[0]).scheme not in SCHEMES[source.type]:
        allowed = " or ".join(f"{scheme}://" for scheme in SCHEMES[source.type])
        raise Refused(f"an input of type {source.type.value} needs an address that begins with {allowed}")
    return _authority(url)


def _authority(url: str) -> str:
    """Host and port, as they are shown."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:  # a bracket that is not closed, say
        raise Refused("the address names a host that cannot be") from None
    if not host:
        raise Refused("the address names no host")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise Refused("the port in an address is a number from 1 to 65535")
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"
