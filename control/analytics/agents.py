"""What a User-Agent says of who sends it, as far as that is sure: the system, or the kind of device."""

import re
from functools import lru_cache

#: The first that is found counts: televisions and telephones name the system that theirs was made from as well.
_PLATFORMS = (
    ("tv", r"SmartTV|Smart-TV|Tizen|Web0S|webOS|Apple ?TV|tvOS|BRAVIA|\bAFT[A-Z]|Roku|CrKey|Google ?TV|Android TV|HbbTV"),
    ("console", r"PlayStation|Xbox|Nintendo"),
    ("ios", r"iPhone|iPad|iPod|\biOS\b"),
    ("android", r"Android"),
    ("chromeos", r"\bCrOS\b"),
    ("windows", r"Windows"),
    ("macos", r"Macintosh|Mac OS X|macOS|Darwin"),
    ("linux", r"X11|\bLinux\b"),
)
_TABLE = tuple((word, re.compile(pattern, re.IGNORECASE)) for word, pattern in _PLATFORMS)


@lru_cache(maxsize=2048)
def read_platform(text: str) -> str | None:
    """What ``text``, a User-Agent or an RTMP player's flashVer, says. None: nothing."""
    return next((word for word, pattern in _TABLE if pattern.search(text)), None)
