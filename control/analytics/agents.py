"""What a User-Agent says of who sends it, as far as that is sure: the system or device, and the browser or player."""

import re
from functools import lru_cache
from typing import NamedTuple


class Agent(NamedTuple):
    """``platform``: the system or kind of device. ``player``: the browser or program. None: it does not say."""

    platform: str | None
    player: str | None


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
_PLAYERS = (
    ("vlc", r"VLC"),
    ("mpv", r"\bmpv\b"),
    ("kodi", r"Kodi"),
    # FFmpeg calls itself so by RTMP, on every system.
    ("ffmpeg", r"Lavf/|^LNX 9,0,124,2$"),
    ("gstreamer", r"GStreamer|souphttpsrc"),
    ("exoplayer", r"ExoPlayer|AndroidXMedia3"),
    ("apple", r"AppleCoreMedia"),
    ("obs", r"\bobs-|\bOBS\b"),
    ("edge", r"\bEdg(?:e|A|iOS)?/"),
    ("opera", r"\bOPR/|\bOpera\b"),
    ("samsung", r"SamsungBrowser"),
    ("firefox", r"Firefox/|FxiOS/"),
    ("chrome", r"Chrome/|Chromium/|CriOS/"),
    ("safari", r"Version/[\d.]+.*Safari/"),
    ("curl", r"^curl/"),
)


def _compiled(table: tuple[tuple[str, str], ...]) -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((word, re.compile(pattern, re.IGNORECASE)) for word, pattern in table)


_TABLES = _compiled(_PLATFORMS), _compiled(_PLAYERS)


@lru_cache(maxsize=2048)
def read_agent(text: str) -> Agent:
    """What ``text``, a User-Agent or an RTMP player's flashVer, says."""
    return Agent(*(next((word for word, pattern in table if pattern.search(text)), None) for table in _TABLES))
